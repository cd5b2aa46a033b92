//! What is shown, and what keys do.

use super::live_run::LiveRun;
use super::run_list::{EntryKind, RunList, is_folder};
use crate::terminal::output;
use ratatui_crossterm::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::path::Path;
use std::time::Duration;

/// How long reading a directory of runs may take before what is known is shown.
const READING: Duration = Duration::from_millis(300);

/// The charts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Loss of each task.
    Losses,
    /// Validation scores.
    Scores,
    /// Weights and gradients.
    Balance,
    /// Computation and learning rates.
    Compute,
}

impl View {
    /// All, in their order.
    pub const ALL: [View; 4] = [View::Losses, View::Scores, View::Balance, View::Compute];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            View::Losses => "losses",
            View::Scores => "scores",
            View::Balance => "balance",
            View::Compute => "compute",
        }
    }
}

/// Whose screen it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// `watch`: leaving ends nothing but itself.
    Watch,
    /// The training: leaving stops it.
    Training,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing beyond the screen.
    Stay,
    /// To leave.
    Leave,
    /// To stop the training.
    Stop,
}

/// What is on the screen.
pub enum Page {
    /// A run.
    Run(Box<LiveRun>),
    /// A directory of runs; which line is selected, and whether all are read.
    List(RunList, usize, bool),
}

/// The state of a display.
pub struct App {
    owner: Owner,
    /// The page that is shown is the last; those before it are gone back to.
    pages: Vec<Page>,
    view: View,
    /// How many tasks and charts are skipped; drawing takes it back to the greatest that there is.
    pub(super) scroll: usize,
    /// Whether a key asked to stop the training, and is to be confirmed.
    is_asking: bool,
    has_stopped: bool,
    /// The last lines that the training had to say.
    messages: Vec<String>,
}

impl App {
    /// A display of a run, or of a directory of runs.
    pub fn new(path: &Path, owner: Owner) -> App {
        let page = page(path, owner);
        App {
            owner,
            pages: vec![page],
            view: View::Losses,
            scroll: 0,
            is_asking: false,
            has_stopped: false,
            messages: Vec::new(),
        }
    }

    /// Reads what was written since.
    pub fn refresh(&mut self) {
        match self.pages.last_mut().expect("a page is shown") {
            Page::Run(run) => run.refresh(),
            Page::List(list, selected, is_read) => {
                *is_read = list.refresh(READING);
                *selected = (*selected).min(list.entries().len().saturating_sub(1));
            }
        }
        // From the first step on, tables and curves say all but what is not as it should be.
        let is_trained = matches!(self.page(), Page::Run(run) if run.history().last.step > 0);
        self.messages = output::held_lines(3, is_trained);
    }

    /// The page that is shown.
    pub fn page(&self) -> &Page {
        self.pages.last().expect("a page is shown")
    }

    /// Which charts.
    pub fn view(&self) -> View {
        self.view
    }

    /// What the training said last.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// What the last line says: keys, or a question.
    pub fn footer(&self) -> &'static str {
        match (self.page(), self.owner) {
            _ if self.has_stopped => "stopping after this step   Ctrl-C again: at once, without saving",
            _ if self.is_asking => {
                "stop after this step, with its state saved?   q y: yes   any other key: no"
            }
            (Page::List(..), _) => "↑ ↓ select   Enter open   Esc back   q leave",
            (Page::Run(_), Owner::Watch) if self.pages.len() > 1 => {
                "← → views   ↑ ↓ scroll   Esc back   q leave"
            }
            (Page::Run(_), Owner::Watch) => "← → Tab views   ↑ ↓ scroll   q leave (the run goes on)",
            (Page::Run(_), Owner::Training) => "← → Tab views   ↑ ↓ scroll   q Ctrl-C stop and save",
        }
    }

    /// Takes what the terminal says.
    pub fn take(&mut self, event: &Event) -> Action {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            _ => Action::Stay,
        }
    }

    fn key(&mut self, key: &KeyEvent) -> Action {
        let is_interrupt =
            key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'C'));
        if is_interrupt {
            return self.leave(true);
        }
        if self.is_asking {
            self.is_asking = false;
            if let KeyCode::Char('q' | 'Q' | 'y' | 'Y') = key.code {
                return self.leave(true);
            }
            return Action::Stay;
        }
        match key.code {
            KeyCode::Char('q' | 'Q') => return self.leave(false),
            KeyCode::Esc if self.pages.len() > 1 => {
                self.pages.pop();
                self.scroll = 0;
            }
            KeyCode::Esc => return self.leave(false),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Up => self.step(-1),
            KeyCode::Down => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Enter => self.open(),
            _ => {}
        }
        Action::Stay
    }

    /// `is_sure`: no question is asked before a training is stopped.
    fn leave(&mut self, is_sure: bool) -> Action {
        match (self.owner, is_sure || self.has_stopped) {
            (Owner::Watch, _) => Action::Leave,
            // To end it at once, only Ctrl-C will do.
            (Owner::Training, true) if is_sure => {
                self.has_stopped = true;
                Action::Stop
            }
            (Owner::Training, true) => Action::Stay,
            (Owner::Training, false) => {
                self.is_asking = true;
                Action::Stay
            }
        }
    }

    fn turn(&mut self, by: usize) {
        let now = View::ALL.iter().position(|view| *view == self.view).expect("one of all");
        self.view = View::ALL[(now + by) % View::ALL.len()];
        self.scroll = 0;
    }

    fn step(&mut self, by: isize) {
        match self.pages.last_mut().expect("a page is shown") {
            Page::Run(_) => self.scroll = self.scroll.saturating_add_signed(by),
            Page::List(list, selected, _) => {
                *selected = selected.saturating_add_signed(by).min(list.entries().len().saturating_sub(1));
            }
        }
    }

    fn open(&mut self) {
        let Page::List(list, selected, _) = self.page() else { return };
        let Some(entry) = list.entries().get(*selected) else { return };
        if entry.kind != EntryKind::Waiting {
            let mut opened = page(&entry.path, self.owner);
            if let Page::Run(run) = &mut opened {
                run.refresh();
            }
            self.pages.push(opened);
            self.scroll = 0;
        }
    }
}

fn page(path: &Path, owner: Owner) -> Page {
    match owner == Owner::Watch && is_folder(path) {
        true => Page::List(RunList::new(path), 0, false),
        false => Page::Run(Box::new(LiveRun::new(path))),
    }
}
