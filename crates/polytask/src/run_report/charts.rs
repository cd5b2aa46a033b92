//! Charts of curves, of one run or of several over each other.

use super::run_files::RunFiles;
use crate::history::{CurveKind, History, Point};
use report::page::{Areas, Chart, Page, Series, SignedCell, SignedHeatMap};

/// Steps above which the loss of each step is drawn pale behind its running mean.
const SMOOTHED: usize = 60;
/// Marks that a chart has at most.
const MARKS: usize = 4;

/// The losses of every task in training and on validation rows.
pub fn losses(page: &mut Page, runs: &[RunFiles], tasks: &[String]) {
    let validation = CurveKind::Evaluation("validation".into());
    for task in tasks {
        let mut chart = Chart::new("step", "loss");
        for (i, run) in runs.iter().enumerate() {
            let curves = &run.history.curves;
            let (training, held_out) =
                (curves.get(&CurveKind::Training, "loss", task), curves.get(&validation, "loss", task));
            let colours = if runs.len() == 1 { [0, 1] } else { [i, i] };
            add_smoothed(
                &mut chart,
                &named(runs, run, "training"),
                training,
                [colours[0], 0],
                runs.len() == 1,
            );
            chart.line(Series::new(named(runs, run, "validation"), xy(held_out)).styled(colours[1], 1));
        }
        marks(&mut chart, runs);
        draw(page, &format!("{task}: loss"), chart);
    }
}

/// The scores of every task on validation rows: of one run all metrics, of several the primary one. Metrics that are no fractions,
/// such as perplexities and errors, have charts of their own.
pub fn scores(page: &mut Page, runs: &[RunFiles], tasks: &[String]) {
    let kind = CurveKind::Evaluation("validation".into());
    for task in tasks {
        let primary = runs.iter().find_map(|run| run.history.primary(task)).unwrap_or_default().to_owned();
        let mut metrics: Vec<String> = match runs {
            [one] => one
                .history
                .curves
                .metrics(&kind, task)
                .filter(|name| *name != "loss")
                .map(str::to_owned)
                .collect(),
            _ => vec![primary.clone()],
        };
        metrics.sort_by_key(|name| *name != primary);
        let is_fraction = |metric: &String| {
            let points = runs.iter().flat_map(|run| run.history.curves.get(&kind, metric, task));
            points.into_iter().all(|point| (-1.0..=1.0).contains(&point.value))
        };
        let (fractions, others): (Vec<String>, Vec<String>) = metrics.into_iter().partition(is_fraction);
        let mut chart = Chart::new("step", "score");
        for metric in &fractions {
            for run in runs {
                let name = if runs.len() == 1 { metric.clone() } else { run.name.clone() };
                chart.line(Series::new(name, xy(run.history.curves.get(&kind, metric, task))));
            }
        }
        marks(&mut chart, runs);
        let title = if runs.len() == 1 { format!("{task}: scores") } else { format!("{task}: {primary}") };
        draw(page, &title, chart);
        for metric in &others {
            let mut chart = Chart::new("step", metric);
            for run in runs {
                chart.line(Series::new(
                    named(runs, run, metric),
                    xy(run.history.curves.get(&kind, metric, task)),
                ));
            }
            marks(&mut chart, runs);
            draw(page, &format!("{task}: {metric}"), chart);
        }
    }
    let mut chart = Chart::new("step", "weighted mean of the primary scores");
    for run in runs {
        chart.line(Series::new(named(runs, run, "mean"), xy(run.history.curves.get(&kind, "mean", ""))));
    }
    marks(&mut chart, runs);
    draw(page, "mean of all tasks", chart);
}

/// One number of every task in one chart, of one run.
pub fn of_tasks(page: &mut Page, history: &History, title: &str, unit: &str, kind: &CurveKind, metric: &str) {
    let mut chart = Chart::new("step", unit);
    for (i, task) in history.tasks().iter().enumerate() {
        let points = history.curves.get(kind, metric, task);
        if !points.is_empty() {
            add_smoothed(&mut chart, task, points, [i, i], false);
        }
    }
    draw(page, title, chart);
}

/// The learning rate of the trunk, step by step; of one run also the factors of its heads.
pub fn learning_rates(page: &mut Page, runs: &[RunFiles]) {
    let kind = CurveKind::LearningRate;
    let mut chart = Chart::new("step", "rate");
    for run in runs {
        chart.line(Series::new(named(runs, run, "rate"), xy(run.history.curves.get(&kind, "rate", ""))));
    }
    draw(page, "learning rate of the trunk", chart);
    let [RunFiles { history, .. }] = runs else { return };
    let mut chart = Chart::new("step", "factor");
    for task in history.tasks() {
        chart.line(Series::new(task, xy(history.curves.get(&kind, "head_factor", task))));
    }
    draw(page, "factor of each head's learning rate", chart);
}

/// One number of the whole run, of one run or of several.
pub fn of_runs(page: &mut Page, runs: &[RunFiles], title: &str, unit: &str, kind: &CurveKind, metric: &str) {
    let mut chart = Chart::new("step", unit);
    for (i, run) in runs.iter().enumerate() {
        let points = run.history.curves.get(kind, metric, "");
        add_smoothed(&mut chart, &named(runs, run, metric), points, [i, i], runs.len() == 1);
    }
    draw(page, title, chart);
}

/// The share of the computation that each task had between two reports.
pub fn compute(page: &mut Page, history: &History) {
    let amounts = |metric: &str| -> Vec<(String, Vec<f64>)> {
        let of_task = |task: &String| {
            let points = history.curves.get(&CurveKind::Usage, metric, task);
            let before = std::iter::once(0.0).chain(points.iter().map(|point| point.value));
            (task.clone(), points.iter().zip(before).map(|(point, before)| point.value - before).collect())
        };
        history.tasks().iter().map(of_task).collect()
    };
    // A trunk without linear layers has no operations to divide.
    let operations = amounts("operations");
    let none = operations.iter().flat_map(|(_, amounts)| amounts).all(|amount| *amount == 0.0);
    let (title, layers) =
        if none { ("share of tokens", amounts("tokens")) } else { ("share of computation", operations) };
    let longest = history.tasks().iter().map(|task| history.curves.get(&CurveKind::Usage, "tokens", task));
    let at: Vec<f64> =
        longest.max_by_key(|points| points.len()).unwrap_or_default().iter().map(|p| p.step as f64).collect();
    if !at.is_empty() && history.tasks().len() > 1 {
        page.areas(title, &Areas { x: "step".into(), at, layers });
    }
}

/// Norms, conflicts and cosines of the tasks' gradients; nothing where the balancer does not look at them.
pub fn gradients(page: &mut Page, history: &History) {
    let conflicts = history.curves.get(&CurveKind::Gradient, "conflicts", "");
    if conflicts.is_empty() {
        return;
    }
    of_tasks(page, history, "norm of each task's gradient", "norm", &CurveKind::Gradient, "norm");
    let mut chart = Chart::new("step", "share of pairs of tasks");
    add_smoothed(&mut chart, "in conflict", conflicts, [0, 0], false);
    draw(page, "pairs of tasks in conflict", chart);
    cosines(page, history);
}

/// The mean cosine of the gradients of every two tasks.
fn cosines(page: &mut Page, history: &History) {
    let tasks = history.tasks();
    let mut any = false;
    let mut cell = |first: &String, second: &String| {
        let metric = format!("cosine with {second}");
        let points = history.curves.get(&CurveKind::Gradient, &metric, first);
        let (mean, error) = mean_and_error(points)?;
        any = true;
        Some(SignedCell {
            value: mean,
            uncertain: mean.abs() < 2.0 * error,
            text: format!("{mean:+.2}"),
            title: format!("{first} and {second}: {mean:+.3} ± {error:.3} in {} steps", points.len()),
        })
    };
    let mut matrix = vec![vec![None; tasks.len()]; tasks.len()];
    for (i, first) in tasks.iter().enumerate() {
        for (j, second) in tasks.iter().enumerate().skip(i + 1) {
            let found = cell(first, second).or_else(|| cell(second, first));
            (matrix[i][j], matrix[j][i]) = (found.clone(), found);
        }
    }
    if any {
        let rows = tasks.iter().cloned().zip(matrix).collect();
        let ends = ("conflict".to_owned(), "agreement".to_owned());
        page.signed_heat_map(
            "mean cosine of the tasks' gradients",
            &SignedHeatMap { columns: tasks.to_vec(), rows, ends },
        );
    }
}

/// The mean of a curve and its standard error, as if steps were independent.
fn mean_and_error(points: &[Point]) -> Option<(f64, f64)> {
    let n = points.len() as f64;
    if points.is_empty() {
        return None;
    }
    let mean = points.iter().map(|point| point.value).sum::<f64>() / n;
    let variance = points.iter().map(|point| (point.value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    // Of one step alone nothing is known about chance.
    Some((mean, if points.len() == 1 { f64::INFINITY } else { (variance / n).sqrt() }))
}

fn draw(page: &mut Page, title: &str, mut chart: Chart) {
    chart.series.retain(|series| !series.points.is_empty());
    if !chart.is_empty() {
        page.lines(title, &chart);
    }
}

/// A line; of many points a running mean, with the points pale behind it.
fn add_smoothed(chart: &mut Chart, name: &str, points: &[Point], style: [usize; 2], with_points: bool) {
    if points.len() <= SMOOTHED {
        chart.line(Series::new(name, xy(points)).styled(style[0], style[1]));
        return;
    }
    if with_points {
        chart.line(Series::new(name, xy(points)).styled(style[0], style[1]).pale());
    }
    chart.line(Series::new(name, running_mean(points)).styled(style[0], style[1]));
}

/// Of each point the mean over the fortieth of all points around it, so that the mean does not lag behind; at both ends over fewer.
/// Points that are not finite do not count.
fn running_mean(points: &[Point]) -> Vec<(f64, f64)> {
    let half = (points.len() / 80).max(2);
    let mut sums = vec![(0.0, 0.0)];
    for point in points {
        let (sum, number) = *sums.last().unwrap_or(&(0.0, 0.0));
        sums.push(if point.value.is_finite() { (sum + point.value, number + 1.0) } else { (sum, number) });
    }
    let mean = |(i, point): (usize, &Point)| {
        let reach = half.min(i).min(points.len() - 1 - i);
        let (before, until) = (sums[i - reach], sums[i + reach + 1]);
        (point.step as f64, (until.0 - before.0) / (until.1 - before.1))
    };
    points.iter().enumerate().map(mean).collect()
}

pub(super) fn xy(points: &[Point]) -> impl Iterator<Item = (f64, f64)> {
    points.iter().map(|point| (point.step as f64, point.value))
}

/// What a line is called: of several runs with the name of its run.
fn named(runs: &[RunFiles], run: &RunFiles, what: &str) -> String {
    if runs.len() == 1 { what.to_owned() } else { format!("{}, {what}", run.name) }
}

/// The best evaluation, and where phases begin and the run was resumed; of several runs nothing.
fn marks(chart: &mut Chart, runs: &[RunFiles]) {
    let [RunFiles { history, .. }] = runs else { return };
    if let Some(best) = history.best() {
        chart.mark("best", best.step as f64);
    }
    let phases = history.phases.iter().filter(|phase| phase.step > 0);
    let phases = phases.map(|phase| (format!("phase {}", phase.phase), phase.step));
    let resumed = history.resumed_after.iter().map(|step| ("resumed".to_owned(), *step));
    for (name, step) in phases.chain(resumed).take(MARKS) {
        chart.mark(&name, step as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: impl IntoIterator<Item = f64>) -> Vec<Point> {
        values.into_iter().enumerate().map(|(step, value)| Point { step, epoch: 1, value }).collect()
    }

    #[test]
    fn a_running_mean_of_a_straight_line_is_the_line() {
        let line = points((0..200).map(|i| 3.0 - 0.01 * f64::from(i)));
        let mean = running_mean(&line);
        assert!(mean.iter().zip(&line).all(|(mean, point)| (mean.1 - point.value).abs() < 1e-9));
        // A point that is not finite is left out; where nothing else is, there is a gap.
        let mean = running_mean(&points([1.0, f64::NAN, 3.0, 4.0, f64::INFINITY]));
        assert_eq!((mean[1].1, mean[2].1), (2.0, 8.0 / 3.0));
        assert!(mean[4].1.is_nan());
    }

    #[test]
    fn a_mean_has_the_error_of_its_points() {
        let (mean, error) = mean_and_error(&points([1.0, 2.0, 3.0, 4.0])).unwrap();
        // The standard deviation of 1, 2, 3, 4 is sqrt(5 / 3).
        assert!((mean - 2.5).abs() < 1e-12 && (error - (5.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert!(mean_and_error(&points([0.5])).unwrap().1.is_infinite() && mean_and_error(&[]).is_none());
    }
}
