//! What `train.affinity_steps` measured during a run: cosines and affinities of the tasks, and their course.

use super::charts::xy;
use crate::history::{CurveKind, History, Point};
use crate::terminal::figures::counted;
use metrics::{BlockMeans, block_means};
use report::page::{Chart, Page, Series, SignedCell, SignedHeatMap};

/// The most lines of a chart.
const LINES: usize = 8;

/// The section; nothing where nothing was measured.
pub(super) fn section(page: &mut Page, history: &History) {
    let (pairs, measurements) = (cosines(history), measurements(history));
    if measurements == 0 {
        return;
    }
    page.section(
        "Which tasks help which",
        &format!(
            "By {} during the training, on rows drawn for them. Cosine: whether steps on two tasks move the shared parameters alike (above 0) or \
             against each other. Affinity: what a step on the task of the row takes off the loss of the task of the column, in percent, without \
             what the optimizer's momentum does in any case. A figure whose 95 % interval holds 0 is pale. Neither says what comes of it in the \
             end: `polytask compare` does.",
            counted(measurements, "measurement")
        ),
    );
    let both = |first: &str, second: &str| {
        let found = points(history, "cosine with", first, second);
        if found.is_empty() { points(history, "cosine with", second, first) } else { found }
    };
    let cosine = Figures { scale: 1.0, digits: 2, most: Some(1.0) };
    cosine.draw(page, "cosine of gradients", history, ("against", "alike"), |from, to| both(from, to));
    let affinity = Figures { scale: 100.0, digits: 2, most: None };
    affinity.draw(page, "affinity, percent of the loss", history, ("hurts", "helps"), |from, to| {
        points(history, "affinity to", from, to)
    });
    course(page, pairs);
}

/// Measurements of which any figure is left.
fn measurements(history: &History) -> usize {
    let of_affinity = history.curves.iter().filter(|(key, _)| key.kind == CurveKind::Affinity);
    of_affinity.map(|(_, points)| points.len()).max().unwrap_or(0)
}

fn points<'a>(history: &'a History, metric: &str, task: &str, other: &str) -> &'a [Point] {
    history.curves.get(&CurveKind::Affinity, &format!("{metric} {other}"), task)
}

fn mean_of(points: &[Point]) -> Option<BlockMeans> {
    block_means(&[points.iter().map(|point| point.value).collect()])
}

/// How figures of a matrix are written.
struct Figures {
    scale: f64,
    digits: usize,
    /// What has the full colour; the greatest figure by default.
    most: Option<f64>,
}

impl Figures {
    fn draw<'a>(
        &self,
        page: &mut Page,
        title: &str,
        history: &History,
        ends: (&str, &str),
        points: impl Fn(&str, &str) -> &'a [Point],
    ) {
        let tasks = history.tasks();
        let means = |from: &String| -> Vec<Option<BlockMeans>> {
            tasks.iter().map(|to| mean_of(points(from, to))).collect()
        };
        let means: Vec<Vec<Option<BlockMeans>>> = tasks.iter().map(means).collect();
        let all = means.iter().flatten().flatten().map(|found| found.mean.abs());
        let most = self.most.unwrap_or(all.fold(f64::MIN_POSITIVE, f64::max));
        let row = |(from, means): (&String, &Vec<Option<BlockMeans>>)| {
            let cell =
                |(to, found): (&String, &Option<BlockMeans>)| self.cell((from, to), found.as_ref()?, most);
            (from.clone(), tasks.iter().zip(means).map(cell).collect())
        };
        let rows = tasks.iter().zip(&means).map(row).collect();
        let ends = (ends.0.to_owned(), ends.1.to_owned());
        page.signed_heat_map(title, &SignedHeatMap { columns: tasks.to_vec(), rows, ends });
    }

    fn cell(&self, (from, to): (&str, &str), found: &BlockMeans, most: f64) -> Option<SignedCell> {
        let digits = self.digits;
        let write = |value: f64| format!("{:+.digits$}", self.scale * value);
        let interval =
            found.interval.map(|[low, high]| format!(", 95 % interval {} to {}", write(low), write(high)));
        Some(SignedCell {
            value: found.mean / most,
            uncertain: found.interval.is_none_or(|[low, high]| low <= 0.0 && high >= 0.0),
            text: write(found.mean),
            title: format!("{from} → {to}: {}{}", write(found.mean), interval.unwrap_or_default()),
        })
    }
}

/// The cosine of every two tasks.
fn cosines(history: &History) -> Vec<(String, &[Point])> {
    let tasks = history.tasks();
    let of = |(at, first): (usize, &String)| -> Vec<(String, &[Point])> {
        let with = |second: &String| {
            let name = format!("{first}, {second}");
            let found = points(history, "cosine with", first, second);
            (name, if found.is_empty() { points(history, "cosine with", second, first) } else { found })
        };
        tasks[at + 1..].iter().map(with).collect()
    };
    tasks.iter().enumerate().flat_map(of).filter(|(_, points)| !points.is_empty()).collect()
}

/// The pairs with the greatest means, to either side, over the training.
fn course(page: &mut Page, mut pairs: Vec<(String, &[Point])>) {
    let size = |points: &[Point]| mean_of(points).map_or(0.0, |found| found.mean.abs());
    pairs.sort_by(|(_, a), (_, b)| size(b).total_cmp(&size(a)));
    let all = pairs.len();
    let mut chart = Chart::new("step", "cosine");
    for (name, points) in pairs.into_iter().take(LINES) {
        chart.line(Series::new(name, xy(points)));
    }
    if chart.is_empty() {
        return;
    }
    let which = if all > LINES { ", the pairs with the greatest means" } else { "" };
    page.lines(&format!("cosine of gradients over training{which}"), &chart);
}
