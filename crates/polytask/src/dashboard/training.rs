//! The display of a training in its own process, on a thread of its own. The training does not know of it.

use super::app::{App, Owner};
use super::screen::{Screen, is_screen, restore};
use super::show;
use crate::terminal::output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use train::RunDir;

/// Shows a run until it is dropped; then the terminal is as it was, and what was said meanwhile is written there.
pub struct TrainingDashboard {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TrainingDashboard {
    /// Takes the terminal for a run. `stop` asks the run to stop, and the second time ends the program. Where there is no terminal that is
    /// said, and there is no display.
    pub fn begin(run: &RunDir, stop: fn()) -> Option<TrainingDashboard> {
        if !is_screen() {
            output::error("--dashboard: standard output is no terminal; progress is told in lines");
            return None;
        }
        let mut screen = match Screen::open() {
            Ok(screen) => screen,
            Err(error) => {
                output::error(format_args!("--dashboard: {error}; progress is told in lines"));
                return None;
            }
        };
        let mut app = App::new(run.root(), Owner::Training);
        let end = Arc::new(AtomicBool::new(false));
        let is_over = end.clone();
        let thread = thread::spawn(move || {
            // A terminal that has gone is nobody to tell; the training goes on.
            let _ = show(&mut app, &mut screen, &is_over, &stop);
        });
        Some(TrainingDashboard { end, thread: Some(thread) })
    }
}

impl Drop for TrainingDashboard {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it has said so already.
            let _ = thread.join();
        }
        restore();
    }
}
