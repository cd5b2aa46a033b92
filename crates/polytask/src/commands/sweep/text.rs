//! A sweep as a table for the terminal.

use super::{Candidate, Found, Tried};
use crate::study::SweepConfig;
use crate::terminal::figures::{count, counted, duration, points};
use crate::terminal::table::Table;
use std::path::Path;
use std::time::Duration;

/// Rows of the table.
const SHOWN: usize = 20;

/// The best trials.
pub(super) fn table(found: &Found, root: &Path) -> String {
    let (header, rows) = rows(found);
    let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows.into_iter().take(SHOWN) {
        table.row(row);
    }
    let more = found.trials.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("  and {} more in sweep.json\n", count(more)) } else { String::new() };
    format!(
        "\n  By {} on the validation split, points of a hundred\n\n{}{more}\n{}",
        found.criterion,
        table.render(),
        closing(found, root)
    )
}

/// The table as rows with their header.
pub(super) fn rows(found: &Found) -> (Vec<String>, Vec<Vec<String>>) {
    let tasks: Vec<&String> =
        found.trials.first().map(|best| best.validation.keys().collect()).unwrap_or_default();
    let mut header: Vec<String> = vec!["trial".into()];
    header.extend(found.keys.iter().cloned());
    header.push("value".into());
    header.extend(tasks.iter().map(|task| (*task).clone()));
    header.extend(["epochs".into(), "training".into()]);
    let row = |one: &Tried| {
        let mut cells = vec![one.name.trim_start_matches("trial-").to_owned()];
        cells.extend(one.settings.iter().cloned());
        cells.push(one.value.map_or("–".into(), points));
        cells.extend(tasks.iter().map(|task| one.validation.get(*task).copied().map_or("–".into(), points)));
        cells.extend([count(one.epochs), duration(Duration::from_secs_f64(one.seconds))]);
        cells
    };
    (header, found.trials.iter().map(row).collect())
}

fn closing(found: &Found, root: &Path) -> String {
    let Some(best) = found.trials.first().filter(|best| best.value.is_some()) else {
        return "  no training had a value\n".into();
    };
    let test: Vec<String> =
        best.test.iter().map(|(task, value)| format!("{task} {}", points(*value))).collect();
    let test = if test.is_empty() {
        String::new()
    } else {
        format!("; on held-out rows, by which nothing was chosen: {}", test.join(", "))
    };
    format!(
        "  best: {}{test}\n  its config: {}; figures: {}\n  The best of {} is favoured by chance: `polytask compare {}` holds it against others.\n",
        best.name,
        root.join("best.toml").display(),
        root.join("report.html").display(),
        counted(found.trials.len(), "training"),
        root.join("best.toml").display()
    )
}

/// What would be tried.
pub(super) fn settings(sweep: &SweepConfig, candidates: &[Candidate]) -> String {
    let keys: Vec<String> = sweep.ranges().unwrap_or_default().into_iter().map(|(key, _)| key).collect();
    let mut header = vec!["trial"];
    header.extend(keys.iter().map(String::as_str));
    let mut table = Table::new(&header);
    for one in candidates {
        let name = one.trial.name.trim_start_matches("trial-").to_owned();
        table.row(std::iter::once(name).chain(one.settings.iter().cloned()));
    }
    table.render()
}
