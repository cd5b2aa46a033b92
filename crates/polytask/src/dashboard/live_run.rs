//! A run that may be trained at this moment, by its files.

use crate::failure::Failure;
use crate::history::{History, HistoryReader, RunState};
use crate::job::run_process::RunProcess;
use crate::memory;
use crate::terminal::escape::one_line;
use crate::terminal::figures::{count, duration};
use std::path::Path;
use std::time::Duration;
use train::RunDir;

/// Seconds without an event after which that is said, at the least.
const SILENCE: f64 = 60.0;
/// Or as many steps of the latest length.
const SILENT_STEPS: f64 = 10.0;

/// A run, read as far as it is written.
pub struct LiveRun {
    run: RunDir,
    /// Its name, escaped.
    name: String,
    reader: HistoryReader,
    process: RunProcess,
    memory: Option<usize>,
    /// Since the last event.
    silent: Duration,
    error: Option<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RunStanding {
    /// There are no events yet; whether a process prepares it.
    NotBegun(bool),
    /// It is trained.
    Training,
    /// It should be trained, and there was no event for so many seconds.
    Silent(f64, RunProcess),
    /// It was asked to stop.
    Interrupted,
    /// Its model is written; whether it was stopped early.
    Finished(bool),
}

impl RunStanding {
    /// One or a few words, for a list.
    pub fn short(self) -> &'static str {
        match self {
            RunStanding::NotBegun(false) => "not begun",
            RunStanding::NotBegun(true) => "preparing",
            RunStanding::Training => "training",
            RunStanding::Silent(_, RunProcess::Here(_)) => "no new events",
            RunStanding::Silent(..) => "killed?",
            RunStanding::Interrupted => "interrupted",
            RunStanding::Finished(false) => "finished",
            RunStanding::Finished(true) => "stopped early",
        }
    }

    /// Whether events are to be expected.
    pub fn is_open(self) -> bool {
        matches!(self, RunStanding::NotBegun(_) | RunStanding::Training | RunStanding::Silent(..))
    }
}

impl LiveRun {
    /// The run in a directory, of which nothing is read yet.
    pub fn new(root: &Path) -> LiveRun {
        let run = RunDir::new(root);
        let name = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
        LiveRun {
            name: one_line(&name).into_owned(),
            reader: HistoryReader::new(run.metrics()),
            run,
            process: RunProcess::Unknown,
            memory: None,
            silent: Duration::ZERO,
            error: None,
        }
    }

    /// Whether a directory is one of a run, perhaps of one that only prepares its data. A study has a config, too.
    pub fn is_run(root: &Path) -> bool {
        let run = RunDir::new(root);
        run.metrics().exists() || (run.config().exists() && !root.join("study.json").exists())
    }

    /// Reads what was written since.
    pub fn refresh(&mut self) {
        self.process = RunProcess::of(&self.run);
        self.memory = match self.process {
            RunProcess::Here(process) => memory::resident(process),
            _ => None,
        };
        self.error = None;
        let metadata = match std::fs::metadata(self.run.metrics()) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Of a run that was removed, and perhaps is begun again, nothing counts any more.
                self.reader = HistoryReader::new(self.run.metrics());
                return;
            }
            Err(error) => return self.fail(Failure::io("reading", &self.run.metrics(), error)),
        };
        self.silent = metadata.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
        if let Err(failure) = self.reader.read_more() {
            self.fail(failure);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.error = Some(one_line(&failure.messages.join("; ")).into_owned());
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was read.
    pub fn history(&self) -> &History {
        self.reader.history()
    }

    /// Resident memory of its process, where it is on this machine and the system tells it.
    pub fn memory(&self) -> Option<usize> {
        self.memory
    }

    /// Where it stands.
    pub fn standing(&self) -> RunStanding {
        let history = self.history();
        let is_here = matches!(self.process, RunProcess::Here(_));
        if history.started.is_none() {
            return RunStanding::NotBegun(is_here);
        }
        match history.state {
            RunState::Finished(_) => RunStanding::Finished(history.stopped_early.is_some()),
            RunState::Interrupted(_) => RunStanding::Interrupted,
            RunState::Open => {
                let silent = self.silent.as_secs_f64();
                match silent > SILENCE.max(SILENT_STEPS * history.pace.seconds.value()) {
                    true => RunStanding::Silent(silent, self.process),
                    false => RunStanding::Training,
                }
            }
        }
    }

    /// Where it stands, in a sentence.
    pub fn describe(&self) -> String {
        let history = self.history();
        let after = || format!("after step {}", count(history.last.step));
        match self.standing() {
            RunStanding::NotBegun(false) => "not begun: no event yet".into(),
            RunStanding::NotBegun(true) => "preparing: reading data and model".into(),
            RunStanding::Training => "training".into(),
            RunStanding::Interrupted => format!("interrupted {}; its state is saved", after()),
            RunStanding::Finished(false) => "finished".into(),
            RunStanding::Finished(true) => format!("finished: stopped early {}", after()),
            RunStanding::Silent(seconds, process) => {
                let for_long = format!("no new event for {}", duration(Duration::from_secs_f64(seconds)));
                match process {
                    RunProcess::Here(number) => format!("{for_long}; process {number} is there"),
                    RunProcess::NotHere => {
                        format!("{for_long}, and its process is not on this machine: was it killed?")
                    }
                    RunProcess::Unknown => format!("{for_long}: was it killed?"),
                }
            }
        }
    }

    /// What is wrong with its files, in words.
    pub fn problems(&self) -> Vec<String> {
        let history = self.history();
        let mut problems: Vec<String> = self.error.iter().cloned().collect();
        if let Some(first) = history.damaged.first() {
            let lines = history.damaged.len();
            problems.push(format!(
                "metrics.jsonl: {} damaged and left out, the first is line {}",
                if lines == 1 { "1 line is".into() } else { format!("{} lines are", count(lines)) },
                count(*first)
            ));
        }
        if !history.unknown.is_empty() {
            problems.push("metrics.jsonl has events of another version, which are left out".into());
        }
        if let Some(last) = history.nonfinite_steps.last() {
            problems.push(format!(
                "{} skipped: loss or gradient not finite, last in step {}",
                crate::terminal::figures::counted(history.nonfinite_steps.len(), "step"),
                count(*last)
            ));
        }
        problems
    }
}
