//! What each task got of a run, and what it gave: rows, computation, time, and its scores.

use super::run_files::RunFiles;
use crate::terminal::figures::{count, duration, points};
use crate::terminal::table::Table;
use std::time::Duration;

/// What a task got and gave.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOutcome {
    /// The task.
    pub task: String,
    /// Its primary metric; empty where it was never evaluated.
    pub metric: String,
    /// Rows that carried its label, repeated ones each time.
    pub rows: u64,
    /// These rows by its labelled rows; `None` where their number is not known.
    pub epochs: Option<f64>,
    /// Their tokens.
    pub tokens: u64,
    /// Its share of the operations, 0 to 1.
    pub compute_share: f64,
    /// Its share of the time.
    pub seconds: f64,
    /// The primary score of the first validation, of the best one for this task, and of the last.
    pub validation: Option<[Scored; 3]>,
    /// The primary score on the test split, where `evaluate` scored it.
    pub test: Option<f64>,
}

/// A score and its step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The score, a fraction.
    pub score: f64,
    /// Steps done.
    pub step: usize,
}

/// Of every task of a run, in the order of the config.
pub fn outcomes(files: &RunFiles) -> Vec<TaskOutcome> {
    let history = &files.history;
    let of_task = |task: &String| {
        let usage = history.usage.as_ref();
        let used = usage.and_then(|usage| usage.tasks.get(task)).copied().unwrap_or_default();
        let share = usage.and_then(|usage| usage.shares.get(task)).copied().unwrap_or(0.0);
        let test = files.test.as_ref().and_then(|found| found.tasks.get(task));
        TaskOutcome {
            task: task.clone(),
            metric: history.primary(task).unwrap_or_default().to_owned(),
            rows: used.rows,
            epochs: files.labelled(task).map(|rows| used.rows as f64 / rows as f64),
            tokens: used.tokens,
            compute_share: share,
            seconds: used.seconds,
            validation: validation(files, task),
            test: test.and_then(|found| found.scores.get(&found.primary)).copied(),
        }
    };
    history.tasks().iter().map(of_task).collect()
}

/// The first, the best and the last validation of a task.
fn validation(files: &RunFiles, task: &str) -> Option<[Scored; 3]> {
    let scored = |found: &train::Evaluated| {
        let score = *found.scores.get(task)?.get(found.primary.get(task)?)?;
        Some(Scored { score, step: found.step })
    };
    let all: Vec<Scored> = files.history.evaluations_of("validation").filter_map(scored).collect();
    let better = |best: Scored, next: &Scored| if next.score > best.score { *next } else { best };
    let first = *all.first()?;
    Some([first, all.iter().fold(first, better), *all.last()?])
}

/// As a table for a terminal, with how often each corpus was drawn.
pub fn table(files: &RunFiles) -> String {
    let header = ["task", "metric", "rows", "epochs", "tokens", "compute", "time", "first", "best", "last"];
    let mut table = Table::new(&header);
    for found in outcomes(files) {
        let [first, best, last] = match found.validation {
            Some(scored) => scored.map(|scored| points(scored.score)),
            None => [const { String::new() }; 3],
        };
        table.row([
            found.task,
            found.metric,
            count(found.rows as usize),
            found.epochs.map_or("–".into(), |epochs| format!("{epochs:.1}")),
            count(found.tokens as usize),
            format!("{:.1} %", 100.0 * found.compute_share),
            duration(Duration::from_secs_f64(found.seconds)),
            first,
            best,
            last,
        ]);
    }
    let mut out = format!(
        "\n  what each task got, and what it gave: validation scores at first, at best, at last, in points of a hundred\n\n{}\n",
        table.render()
    );
    if let Some(usage) = &files.history.usage {
        let mut corpora = Table::new(&["corpus", "rows", "draws", "times through"]);
        for (corpus, drawn) in &usage.corpora {
            corpora.row([
                corpus.clone(),
                count(drawn.rows),
                count(drawn.draws as usize),
                format!("{:.2}", drawn.draws as f64 / drawn.rows.max(1) as f64),
            ]);
        }
        out += &corpora.render();
    }
    out
}
