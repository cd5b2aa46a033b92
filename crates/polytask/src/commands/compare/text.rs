//! A comparison as tables for the terminal.

use super::analysis::{Comparison, ContestantFigures, Interval, ScoreFigures, TaskFigures};
use crate::study::derive::Budget;
use crate::terminal::figures::{bytes, change, count, counted, duration, points, short};
use crate::terminal::table::Table;
use crate::terminal::wrap::wrapped;
use std::time::Duration;

/// All of it.
pub(super) fn tables(comparison: &Comparison) -> String {
    let mut out = String::new();
    out += &format!("\n  {}\n\n{}\n", heading(comparison), scores(comparison, false));
    if comparison.tasks.iter().any(|task| task.out_of_domain) {
        let heading = "Rows of other domains, on which nothing was trained or chosen";
        out += &format!("  {heading}\n\n{}\n", scores(comparison, true));
    }
    out += &format!("  What they cost, all models together\n\n{}\n", costs(comparison));
    let notes = notes(comparison);
    out + &notes.iter().map(|note| wrapped("  ", note, 110)).collect::<String>()
}

fn heading(comparison: &Comparison) -> String {
    let seeds = counted(comparison.seeds.len(), "seed");
    format!(
        "Scores in points of a hundred over {seeds}, differences to `{}`; labelled rows trained on and scored",
        comparison.reference
    )
}

fn scores(comparison: &Comparison, out_of_domain: bool) -> String {
    let mut table = Table::new(&[
        "task",
        "metric",
        "trained",
        "scored",
        "models",
        "score",
        "difference",
        "95 % interval",
        "verdict",
    ]);
    let wanted = comparison.tasks.iter().enumerate().filter(|(_, task)| task.out_of_domain == out_of_domain);
    for (position, (index, task)) in wanted.enumerate() {
        if position > 0 {
            table.rule();
        }
        let mut first = true;
        for contestant in &comparison.contestants {
            let Some(score) = &contestant.scores[index] else { continue };
            let mut cells = match std::mem::take(&mut first) {
                true => vec![task_name(task), metric(task), count(task.train_rows), count(task.rows)],
                false => vec![String::new(); 4],
            };
            cells.extend([contestant.name.clone(), score_text(score)]);
            if let Some(found) = &score.difference {
                cells.extend([change(found.mean), interval_text(found), found.verdict.to_owned()]);
            }
            table.row(cells);
        }
    }
    table.render()
}

/// A score with its deviation over the seeds.
pub(super) fn score_text(score: &ScoreFigures) -> String {
    let deviation = score.deviation.map(|found| format!(" ± {}", points(found))).unwrap_or_default();
    points(score.mean) + &deviation
}

/// The interval of a difference of scores.
pub(super) fn interval_text(found: &Interval) -> String {
    let [low, high] = found.interval.map(change);
    format!("{low} to {high}")
}

/// A task, with the corpus where that is not its own.
pub(super) fn task_name(task: &TaskFigures) -> String {
    if task.out_of_domain { format!("{} on {}", task.task, task.corpus) } else { task.task.clone() }
}

/// The metric, and the split where it is not that of the test.
fn metric(task: &TaskFigures) -> String {
    if task.split == "test" { task.metric.clone() } else { format!("{} ({})", task.metric, task.split) }
}

fn costs(comparison: &Comparison) -> String {
    let (header, rows) = costs_rows(comparison);
    let mut table = Table::new(&header);
    rows.into_iter().for_each(|row| {
        table.row(row);
    });
    table.render()
}

/// What each contestant costs, with its header.
pub(super) fn costs_rows(comparison: &Comparison) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let counted = comparison.contestants.iter().any(|one| one.operations > 0.0);
    let mut header =
        vec!["models", "number", "Delta-m", "95 % interval", "mean rank", "parameters", "on disk", "tokens"];
    header.extend(counted.then_some("operations"));
    header.extend(["training", "memory", "use"]);
    let row = |one: &ContestantFigures| {
        let (delta, interval) = match &one.delta_m {
            Some(found) => delta(found),
            None => ("–".into(), String::new()),
        };
        // Of models that were made of trained ones nobody knows what all trainings took.
        let known = |text: String| if one.tokens > 0.0 { text } else { "–".into() };
        let mut cells = vec![
            one.name.clone(),
            count(one.models),
            delta,
            interval,
            one.mean_rank.map_or("–".into(), |rank| format!("{rank:.2}")),
            short(one.parameters),
            if one.bytes > 0.0 { bytes(one.bytes as usize) } else { "–".into() },
            known(short(one.tokens as usize)),
        ];
        cells.extend(counted.then(|| known(format!("{:.3}e12", one.operations / 1e12))));
        cells.extend([
            known(duration(Duration::from_secs_f64(one.seconds))),
            one.peak_bytes.map_or("–".into(), bytes),
            use_time(one),
        ]);
        cells
    };
    (header, comparison.contestants.iter().map(row).collect())
}

fn delta(found: &Interval) -> (String, String) {
    let [low, high] = found.interval;
    (format!("{:+.2} %", found.mean), format!("{low:+.2} to {high:+.2}"))
}

/// Milliseconds for 1,000 tokens.
fn use_time(one: &ContestantFigures) -> String {
    format!("{:.1} ms", 1e3 * one.use_seconds)
}

/// How to read it, a sentence or two each.
pub(super) fn notes(comparison: &Comparison) -> Vec<String> {
    let reference = &comparison.reference;
    let (verdicts, seeds) = (comparison.verdicts(), comparison.seeds.len());
    let mut notes = vec![
        format!(
            "Delta-m: the mean over tasks of (score - score of {reference}) / score of {reference}; positive is better."
        ),
        "Intervals: seeds crossed with a paired bootstrap over the scored rows; a verdict where 0 lies outside.".into(),
    ];
    if comparison.no_training {
        notes.push("All models were trained before: what they were trained with is not held equal. Use: for 1,000 tokens, all tasks.".into());
    } else {
        notes.push(format!(
            "Budget: {}. Training: seconds of steps{}. Memory: of one training. Use: for 1,000 tokens, all tasks.",
            comparison.budget.describe(),
            match comparison.budget {
                Budget::Steps => "; the smaller batches of models for fewer tasks take longer for the same tokens",
                Budget::Epochs | Budget::Compute => "",
            }
        ));
        notes.push(tuning(comparison));
    }
    notes.extend(match (seeds, verdicts) {
        (1, _) => Some("One seed: how scores vary between seeds is not known, and the intervals are of the rows alone.".into()),
        (2, _) => Some("Two seeds tell little of how scores vary between seeds: one in ten such intervals misses. Take three or more.".into()),
        (_, 2..) => Some(format!(
            "Of {verdicts} verdicts about {:.1} would name a difference where there is none.",
            0.05 * verdicts as f64
        )),
        _ => None,
    });
    notes
}

/// How much was tried for each model.
fn tuning(comparison: &Comparison) -> String {
    let chance = "the best of the table is favoured by chance. Choose by validation, then compare the one chosen with other seeds.";
    let grid = match comparison.has_grid {
        true => format!(
            " The models for all tasks were tried with each setting of the grid, the others were not: {chance}"
        ),
        false => String::new(),
    };
    let Some(first) = comparison.tuned.first() else {
        return format!("Tuning: none; every model has the settings of the config.{grid}");
    };
    let chosen: Vec<String> =
        comparison.tuned.iter().map(|tuned| format!("{}: {}", tuned.model, tuned.setting)).collect();
    format!(
        "Tuning: of {} each model has the one that was best in validation with the first seed ({}).{grid}",
        counted(first.tried, "setting"),
        chosen.join("; ")
    )
}
