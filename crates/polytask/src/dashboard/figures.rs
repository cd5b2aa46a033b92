//! The numbers of a run in words: its lines above the tables, and what each task stands at.

use super::live_run::LiveRun;
use crate::history::{CurveKind, History, Point, RunningMean};
use crate::terminal::escape::one_line;
use crate::terminal::figures::{bytes, change, count, duration, points};
use std::time::Duration;

/// The columns of the table of tasks, and how soon each is left out on a narrow screen: the greatest first.
pub const COLUMNS: [(&str, u8); 8] = [
    ("task", 0),
    ("loss", 1),
    ("metric", 6),
    ("score", 2),
    ("best", 3),
    ("change", 4),
    ("weight", 5),
    ("compute", 7),
];

/// The last value of the running mean of a training curve.
pub fn running_mean(points: &[Point]) -> Option<f64> {
    // Older points weigh less than a float can hold.
    let recent = &points[points.len().saturating_sub(800)..];
    let mut mean = RunningMean::default();
    recent.iter().for_each(|point| mean.add(point.value));
    (!points.is_empty()).then(|| mean.value())
}

/// The validation scores of a task by its primary metric, and that metric.
pub fn scores<'a>(history: &'a History, task: &'a str) -> Option<(&'a str, &'a [Point])> {
    let primary = history.evaluations_of("validation").filter_map(|found| found.primary.get(task)).last()?;
    Some((primary, history.curves.get(&CurveKind::Evaluation("validation".into()), primary, task)))
}

/// A row for each task, cell by cell as [`COLUMNS`] has them; empty where a number is not known.
pub fn task_cells(history: &History) -> Vec<[String; COLUMNS.len()]> {
    let last = |kind: CurveKind, metric: &str, task: &str| {
        history.curves.get(&kind, metric, task).last().map(|point| point.value)
    };
    let cells = |task: &String| {
        let loss = running_mean(history.curves.get(&CurveKind::Training, "loss", task));
        let (metric, scores) = scores(history, task).unwrap_or(("", &[]));
        let best = scores.iter().map(|point| point.value).reduce(f64::max);
        let moved = match scores {
            [.., before, now] => change(now.value - before.value),
            _ => String::new(),
        };
        let is_done = history.tasks_done.iter().any(|done| done.task == *task);
        let name = one_line(task).into_owned();
        [
            if is_done { format!("{name} (done)") } else { name },
            loss.map(number).unwrap_or_default(),
            one_line(metric).into_owned(),
            scores.last().map(|point| points(point.value)).unwrap_or_default(),
            best.map(points).unwrap_or_default(),
            moved,
            last(CurveKind::Balance, "weight", task).map(number).unwrap_or_default(),
            last(CurveKind::Usage, "compute_share", task)
                .map(|share| format!("{:.1} %", 100.0 * share))
                .unwrap_or_default(),
        ]
    };
    history.tasks().iter().map(cells).collect()
}

/// How far a run is, piece by piece; the most important pieces first.
pub fn run_pieces(run: &LiveRun) -> Vec<String> {
    let history = run.history();
    let Some(started) = &history.started else { return Vec::new() };
    let last = history.last;
    let mut pieces = vec![
        format!("step {}/{}", count(last.step), count(history.steps)),
        format!("epoch {}/{}", last.epoch, started.epochs.len()),
    ];
    let seconds = |seconds: f64| duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    pieces.push(format!("elapsed {}", seconds(last.elapsed)));
    if run.standing().is_open() {
        pieces.extend(history.seconds_left().map(|left| format!("left {}", seconds(left))));
    }
    pieces.extend(history.tokens_per_second().map(|speed| format!("{} tokens/s", count(speed as usize))));
    pieces.extend(run.memory().map(|memory| format!("memory {}", bytes(memory))));
    if let Some(best) = history.best() {
        pieces.push(format!("mean score at best {} (step {})", points(best.mean), count(best.step)));
    }
    pieces
}

/// How far a run is, in lines of at most `width` columns.
pub fn run_lines(run: &LiveRun, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in run_pieces(run) {
        match lines.last_mut() {
            Some(line) if line.len() + 3 + piece.len() <= width => *line += &format!("   {piece}"),
            _ => lines.push(piece),
        }
    }
    lines
}

/// How far a run is, 0 to 1; 1 of one that is finished, however early.
pub fn fraction(history: &History) -> f64 {
    if matches!(history.state, crate::history::RunState::Finished(_)) {
        return 1.0;
    }
    (history.last.step as f64 / history.steps.max(1) as f64).min(1.0)
}

/// A number of any size in few signs: `0.482`, `12.3`, `1.2e-5`.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
