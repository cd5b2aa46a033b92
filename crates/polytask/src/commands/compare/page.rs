//! A comparison as a page: `report.html`.

use super::analysis::{Comparison, Interval, TaskFigures};
use super::contestants::{Contestants, trial_name};
use super::text::{costs_rows, interval_text, notes, score_text, task_name};
use crate::config::Config;
use crate::run_report::{environment::Environment, origin};
use crate::study::StudyDir;
use crate::study::progress::validation_curves;
use crate::terminal::figures::{change, count, counted};
use report::page::{Align, Chart, Effect, Interval as Estimate, Intervals, Page, Series};
use std::collections::BTreeMap;
use train::RunDir;

use Align::{Figures, Words};

/// The page as HTML.
pub(super) fn page(
    comparison: &Comparison,
    contestants: &Contestants,
    (config, environment): (&Config, Option<&Environment>),
    dir: &StudyDir,
) -> String {
    let tasks = comparison.tasks.iter().filter(|task| !task.out_of_domain).count();
    let subtitle = format!(
        "{}, {}, {}; differences to “{}”",
        counted(tasks, "task"),
        counted(comparison.contestants.len(), "contestant"),
        counted(comparison.seeds.len(), "seed"),
        comparison.reference
    );
    let mut page = Page::new("Did sharing help?", &subtitle);
    verdicts(&mut page, comparison);
    scores(&mut page, comparison, false);
    if comparison.tasks.iter().any(|task| task.out_of_domain) {
        scores(&mut page, comparison, true);
    }
    curves(&mut page, comparison, contestants, dir);
    costs(&mut page, comparison);
    origin(&mut page, environment, &config.resolved_toml());
    page.finish()
}

fn verdicts(page: &mut Page, comparison: &Comparison) {
    page.section("Verdicts", "Above 0 the contestant is better than the reference. The bars are 95 % confidence intervals over seeds and rows.");
    page.points(sentences(comparison).iter().map(|text| (text.as_str(), &[][..])));
    for out_of_domain in [false, true] {
        let items: Vec<Estimate> = comparison
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, task)| task.out_of_domain == out_of_domain)
            .flat_map(|(index, task)| estimates(comparison, index, task))
            .collect();
        if items.is_empty() {
            continue;
        }
        let caption = if out_of_domain {
            "Difference on other domains"
        } else {
            "Difference to the reference, by task"
        };
        let axis = "points of a hundred".into();
        page.intervals(caption, &Intervals { axis, words: words(), items });
    }
    let items: Vec<Estimate> = comparison
        .contestants
        .iter()
        .filter_map(|one| {
            let found = one.delta_m.as_ref()?;
            Some(estimate(&one.name, "", found, 1.0, format!("{}: {:+.2} %", one.name, found.mean)))
        })
        .collect();
    if !items.is_empty() {
        let axis = "mean relative change of the scores, %".into();
        page.intervals("Delta-m, over all tasks", &Intervals { axis, words: words(), items });
    }
}

fn words() -> [String; 3] {
    ["helps", "hurts", "not shown"].map(String::from)
}

/// The verdicts in words: what helps and hurts, then the rest.
fn sentences(comparison: &Comparison) -> Vec<String> {
    let mut said = Vec::new();
    for one in &comparison.contestants {
        let mut unclear: Vec<String> = Vec::new();
        for (task, score) in comparison.tasks.iter().zip(&one.scores) {
            let Some(found) = score.as_ref().and_then(|score| score.difference.as_ref()) else { continue };
            match effect(found) {
                Effect::Unclear => unclear.push(task_name(task)),
                _ => said.push(format!(
                    "`{}` {} {}: {} points, 95 % interval {}; {} labelled training rows.",
                    one.name,
                    found.verdict,
                    task_name(task),
                    change(found.mean),
                    interval_text(found),
                    count(task.train_rows)
                )),
            }
        }
        if !unclear.is_empty() {
            said.push(format!("`{}`: no difference shown for {}.", one.name, unclear.join(", ")));
        }
    }
    said
}

fn estimates(comparison: &Comparison, index: usize, task: &TaskFigures) -> Vec<Estimate> {
    let several = comparison.contestants.len() > 2;
    let of = |one: &super::ContestantFigures| {
        let score = one.scores[index].as_ref()?;
        let found = score.difference.as_ref()?;
        let title = format!(
            "{}, {}: {} points, 95 % interval {}, p = {:.3}",
            task_name(task),
            one.name,
            change(found.mean),
            interval_text(found),
            found.p_value
        );
        Some(match several {
            true => estimate(&one.name, &task_name(task), found, 100.0, title),
            false => estimate(&task_name(task), "", found, 100.0, title),
        })
    };
    comparison.contestants.iter().filter_map(of).collect()
}

fn estimate(label: &str, group: &str, found: &Interval, scale: f64, title: String) -> Estimate {
    // As in the table: more digits say nothing, and what is not 0 by the rounding of sums is 0. Adding 0 makes -0 one.
    let rounded = |value: f64| (100.0 * scale * value).round() / 100.0 + 0.0;
    let [low, high] = found.interval.map(rounded);
    Estimate {
        label: label.to_owned(),
        group: group.to_owned(),
        value: rounded(found.mean),
        interval: Some((low, high)),
        effect: effect(found),
        title,
    }
}

fn effect(found: &Interval) -> Effect {
    match found.verdict {
        "helps" => Effect::Helps,
        "hurts" => Effect::Hurts,
        _ => Effect::Unclear,
    }
}

fn scores(page: &mut Page, comparison: &Comparison, out_of_domain: bool) {
    let (heading, about) = match out_of_domain {
        false => (
            "Scores",
            "Points of a hundred, mean and standard deviation over the seeds, on rows that nothing was trained or chosen on.",
        ),
        true => ("Other domains", "Rows of corpora that nothing was trained or chosen on."),
    };
    page.section(heading, about);
    let mut header = vec![("task", Words), ("metric", Words), ("trained", Figures), ("scored", Figures)];
    header.extend(comparison.contestants.iter().map(|one| (one.name.as_str(), Figures)));
    let wanted = comparison.tasks.iter().enumerate().filter(|(_, task)| task.out_of_domain == out_of_domain);
    let rows: Vec<Vec<String>> = wanted
        .map(|(index, task)| {
            let mut cells =
                vec![task_name(task), task.metric.clone(), count(task.train_rows), count(task.rows)];
            let score =
                |one: &super::ContestantFigures| one.scores[index].as_ref().map_or("–".into(), score_text);
            cells.extend(comparison.contestants.iter().map(score));
            cells
        })
        .collect();
    page.table(&header, &rows);
}

/// The validation score of each task over training, the mean over the seeds of each contestant that does it.
fn curves(page: &mut Page, comparison: &Comparison, contestants: &Contestants, dir: &StudyDir) {
    let mut lines: BTreeMap<&str, Vec<Series>> = BTreeMap::new();
    for one in &contestants.list {
        for (model, tasks) in &one.models {
            let runs = (0..comparison.seeds.len() as u64)
                .map(|seed| validation_curves(&RunDir::new(dir.trial(&trial_name(model, seed)))));
            let runs: Vec<_> = runs.collect();
            for task in tasks {
                let points = mean_curve(&runs.iter().filter_map(|run| run.get(task)).collect::<Vec<_>>());
                if let (Some(task), false) =
                    (contestants.tasks.iter().find(|name| *name == task), points.is_empty())
                {
                    lines.entry(task).or_default().push(Series::new(&one.name, points));
                }
            }
        }
    }
    if lines.is_empty() {
        return;
    }
    page.section(
        "Validation",
        "The primary score of each task while its model is trained, the mean over the seeds.",
    );
    for task in &contestants.tasks {
        let Some(lines) = lines.remove(task.as_str()) else { continue };
        page.lines(task, &Chart { series: lines, ..Chart::new("step", "points of a hundred") });
    }
}

/// The mean of curves that were measured at the same steps, as far as all go.
fn mean_curve(curves: &[&Vec<(usize, f64)>]) -> Vec<(f64, f64)> {
    let length = curves.iter().map(|curve| curve.len()).min().unwrap_or(0);
    let mean = |at: usize| {
        let points = || curves.iter().map(|curve| curve[at]);
        let n = curves.len() as f64;
        let step = points().map(|(step, _)| step as f64).sum::<f64>() / n;
        (step, 100.0 * points().map(|(_, score)| score).sum::<f64>() / n)
    };
    (0..length).map(mean).collect()
}

fn costs(page: &mut Page, comparison: &Comparison) {
    page.section("What they cost", "All models of a contestant together.");
    let (header, rows) = costs_rows(comparison);
    let header: Vec<(&str, Align)> =
        header.iter().enumerate().map(|(i, name)| (*name, if i == 0 { Words } else { Figures })).collect();
    page.table(&header, &rows);
    for note in notes(comparison) {
        page.paragraph(&note);
    }
}
