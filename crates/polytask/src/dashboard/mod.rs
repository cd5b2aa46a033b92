//! Runs as they are trained, on the whole screen of a terminal: `polytask watch`, and `polytask train --dashboard`.
//!
//! [`LiveRun`] and [`RunList`] read the files of runs, bit by bit; nothing here is told by a training itself, which therefore waits for
//! nothing. [`App`] is what is shown of them and what keys do; [`draw`] draws it; `screen` has the terminal and gives it back. Texts
//! out of data and configs are escaped where they become cells.

mod app;
mod charts;
mod draw;
mod figures;
mod live_run;
mod run_list;
mod screen;
mod training;

pub use app::{Action, App, Owner, View};
pub use draw::draw;
pub use figures::{COLUMNS as TASK_COLUMNS, run_lines, task_cells};
pub use live_run::{LiveRun, RunStanding};
pub use run_list::{COLUMNS as LIST_COLUMNS, RunList, is_folder};
pub use screen::{Screen, is_screen, restore as restore_terminal};
pub use training::TrainingDashboard;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The least time between two readings of files.
const EVERY: Duration = Duration::from_millis(500);
/// How long a key may wait, and an end that is asked for.
const KEY: Duration = Duration::from_millis(100);
/// Reading and drawing take at most one part in so many of a processor's time.
const SHARE: u32 = 20;

/// Shows a run, or a directory of runs, until it is left or a signal comes.
///
/// # Errors
/// The terminal cannot be controlled, or has gone.
pub fn watch(path: &Path) -> io::Result<()> {
    static END: AtomicBool = AtomicBool::new(false);
    // Fails only where a handler is set already.
    let _ = ctrlc::set_handler(|| END.store(true, Ordering::Relaxed));
    let mut screen = Screen::open()?;
    show(&mut App::new(path, Owner::Watch), &mut screen, &END, &|| ())
}

/// Shows an app until it is left, or `end` is set. `stop` is what a wish to stop the training does.
fn show(app: &mut App, screen: &mut Screen, end: &AtomicBool, stop: &dyn Fn()) -> io::Result<()> {
    let mut next = Instant::now();
    while !end.load(Ordering::Relaxed) {
        let began = Instant::now();
        if began >= next {
            app.refresh();
            screen.draw(app)?;
            next = Instant::now() + EVERY.max(began.elapsed() * SHARE);
        }
        for event in screen.events(KEY)? {
            match app.take(&event) {
                Action::Stay => {}
                Action::Stop => stop(),
                Action::Leave => return Ok(()),
            }
            // Keys of one burst are drawn together, and a new size is.
            next = Instant::now();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
