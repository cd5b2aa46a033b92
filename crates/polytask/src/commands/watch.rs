//! `polytask watch`: a run, or the runs in a directory, while they are trained elsewhere.

use crate::cli;
use crate::dashboard::{self, LiveRun, RunList};
use crate::failure::Failure;
use crate::terminal::output;
use crate::terminal::table::Table;
use std::path::Path;
use std::time::Duration;

/// Shows it until it is left; without a terminal, once, as tables.
pub fn watch(args: &cli::Watch) -> Result<u8, Failure> {
    let path = &args.path;
    let is_folder = dashboard::is_folder(path);
    if !is_folder && !LiveRun::is_run(path) && !is_prepared(path) {
        return Err(Failure::refused([format!(
            "{} is no run and has none in it: give the directory of a run (`train` says which), of a study, or one with runs",
            path.display()
        )]));
    }
    if args.once || !dashboard::is_screen() {
        output::text(if is_folder { list(path) } else { run(path) });
        return Ok(0);
    }
    dashboard::watch(path).map_err(|error| {
        Failure::failed(format!(
            "the terminal: {error}; --once prints where things stand, without taking the screen"
        ))
    })?;
    Ok(0)
}

/// Whether a training has locked the directory, and has nothing written yet.
fn is_prepared(path: &Path) -> bool {
    path.join("lock").is_file()
}

fn run(path: &Path) -> String {
    let mut run = LiveRun::new(path);
    run.refresh();
    let mut out = format!("  {}: {}\n", run.name(), run.describe());
    for line in dashboard::run_lines(&run, 100) {
        out += &format!("  {line}\n");
    }
    for problem in run.problems() {
        out += &format!("  warning: {problem}\n");
    }
    let cells = dashboard::task_cells(run.history());
    if cells.is_empty() { out } else { format!("{out}\n{}", table(&dashboard::TASK_COLUMNS, cells)) }
}

fn list(path: &Path) -> String {
    let mut list = RunList::new(path);
    list.refresh(Duration::MAX);
    let cells = list.entries().iter().map(|entry| entry.cells.clone());
    format!("  {}\n\n{}", list.describe(), table(&dashboard::LIST_COLUMNS, cells))
}

fn table<const N: usize>(columns: &[(&str, u8); N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new(&columns.map(|(name, _)| name));
    for row in rows {
        table.row(row);
    }
    table.render()
}
