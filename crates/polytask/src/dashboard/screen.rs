//! The terminal, which is given back as it was whatever happens: at the end, after an error, a panic or a signal.

use super::app::App;
use super::draw;
use crate::terminal::output;
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::{Hide, Show};
use ratatui_crossterm::crossterm::event::{self, Event};
use ratatui_crossterm::crossterm::execute;
use ratatui_crossterm::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::io::{self, BufWriter, IsTerminal, Stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, TryLockError};
use std::thread;
use std::time::Duration;

/// Whether the terminal is taken.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Held while a frame is written.
static DRAWING: Mutex<()> = Mutex::new(());

/// Whether standard output is a terminal that can show a screen.
pub fn is_screen() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
}

/// The terminal as long as it is taken.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal. What the program has to say is held back from now on.
    ///
    /// # Errors
    /// The terminal does not let itself be controlled.
    pub fn open() -> io::Result<Screen> {
        restore_on_panic();
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout())))?;
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        output::hold();
        // From here on dropping it gives all back.
        let screen = Screen { terminal };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// The terminal was given back meanwhile, or has gone.
    pub fn draw(&mut self, app: &mut App) -> io::Result<()> {
        let _drawing = DRAWING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        taken()?;
        self.terminal.draw(|frame| draw(app, frame)).map(drop)
    }

    /// What was typed, and new sizes; waits for the first for `most`.
    ///
    /// # Errors
    /// As of [`Screen::draw`].
    pub fn events(&mut self, most: Duration) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut wait = most;
        while events.len() < 256 && event::poll(wait)? {
            events.push(event::read()?);
            wait = Duration::ZERO;
        }
        taken().map(|()| events)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn taken() -> io::Result<()> {
    match TAKEN.load(Ordering::SeqCst) {
        true => Ok(()),
        false => Err(io::Error::other("the terminal was given back")),
    }
}

/// Gives the terminal back, and writes what was held back. Does nothing where it is not taken.
pub fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A frame of another thread is finished first. This may be the thread that was drawing: then nobody is waited for.
        let _drawing = (0..20).find_map(|_| match DRAWING.try_lock() {
            Ok(drawing) => Some(drawing),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                thread::sleep(Duration::from_millis(10));
                None
            }
        });
        // Where that fails the terminal has gone.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        output::release();
    }
}

/// Before a panic says anything the terminal is as it was. To be called before data is read: a hook that keeps panics of other crates
/// silent (`data/foreign.rs`) then lies around this one.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            print(info);
        }));
    });
}
