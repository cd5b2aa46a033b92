//! A directory of runs, or of a study, as a list.

use super::figures::fraction;
use super::live_run::{LiveRun, RunStanding};
use crate::terminal::escape::one_line;
use crate::terminal::figures::{count, duration, points};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The columns of the list, and how soon each is left out on a narrow screen: the greatest first.
pub const COLUMNS: [(&str, u8); 7] =
    [("run", 0), ("state", 1), ("step", 4), ("done", 2), ("elapsed", 6), ("left", 5), ("mean score", 3)];

/// A directory's runs in the order of their names.
pub struct RunList {
    root: PathBuf,
    is_study: bool,
    entries: Vec<Entry>,
    error: Option<String>,
}

/// What a line of the list stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A run.
    Run,
    /// A training of a study that has not begun.
    Waiting,
    /// A directory of runs.
    Folder,
}

/// A line of the list.
pub struct Entry {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Its cells, as [`COLUMNS`] has them.
    pub cells: [String; COLUMNS.len()],
    /// Where a run stands, once it is read.
    pub standing: Option<RunStanding>,
    /// Kept while more is to come of it, so that only that is read.
    run: Option<LiveRun>,
    /// Size and time of its metrics when they were read.
    read: Option<(u64, SystemTime)>,
}

/// Whether a directory has runs in it, or is one of a study or of groups of tasks.
pub fn is_folder(root: &Path) -> bool {
    !LiveRun::is_run(root) && (root.join("study.json").exists() || !children(root).is_empty())
}

/// The runs in a directory; of a study, the names of all that it trains.
fn children(root: &Path) -> Vec<PathBuf> {
    let of_study = root.join("study.json").exists();
    let folder = if of_study { root.join("trials") } else { root.to_path_buf() };
    let names = |folder: &Path| -> Vec<OsString> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
    };
    let mut found: BTreeSet<OsString> =
        names(&folder).into_iter().filter(|name| holds_runs(&folder.join(name))).collect();
    if of_study {
        let configs = names(&root.join("configs")).into_iter();
        found.extend(configs.filter_map(|file| Some(OsString::from(file.to_str()?.strip_suffix(".toml")?))));
    }
    found.into_iter().map(|name| folder.join(name)).collect()
}

/// Whether a directory is a run, of a study or of groups.
fn holds_runs(path: &Path) -> bool {
    LiveRun::is_run(path) || path.join("study.json").exists() || path.join("groups.toml").exists()
}

impl RunList {
    /// The runs of a directory, not read yet.
    pub fn new(root: &Path) -> RunList {
        let is_study = root.join("study.json").exists();
        RunList { root: root.to_path_buf(), is_study, entries: Vec::new(), error: None }
    }

    /// Looks for new runs, and reads what was written since: as many runs as `within` allows, at least one. Returns whether all are read.
    pub fn refresh(&mut self, within: Duration) -> bool {
        let began = Instant::now();
        self.error = fs::read_dir(&self.root)
            .err()
            .map(|e| format!("reading {}: {e}", one_line(&self.root.to_string_lossy())));
        let found = children(&self.root);
        self.entries.retain(|entry| found.contains(&entry.path));
        for path in found {
            if let Err(at) = self.entries.binary_search_by(|entry| entry.path.cmp(&path)) {
                self.entries.insert(at, Entry::new(path));
            }
        }
        // Those that were never read come first, so that each has its turn.
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|i| self.entries[*i].read.is_some());
        for (nth, entry) in order.into_iter().enumerate() {
            if nth > 0 && began.elapsed() > within {
                return false;
            }
            self.entries[entry].refresh();
        }
        true
    }

    /// Its lines.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What cannot be read.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What is in it, in a line.
    pub fn describe(&self) -> String {
        let name = self.root.to_string_lossy();
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for entry in &self.entries {
            let state = entry.cells[1].as_str();
            match counts.iter_mut().find(|(name, _)| *name == state) {
                Some((_, n)) => *n += 1,
                None => counts.push((state, 1)),
            }
        }
        let counts: Vec<String> = counts.iter().map(|(state, n)| format!("{n} {state}")).collect();
        let what = if self.is_study { "study" } else { "runs" };
        match counts.is_empty() {
            true => format!("{}: no runs yet", one_line(&name)),
            false => format!("{} ({what}): {}", one_line(&name), counts.join(", ")),
        }
    }
}

impl Entry {
    fn new(path: PathBuf) -> Entry {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut cells = [const { String::new() }; COLUMNS.len()];
        cells[0] = one_line(&name).into_owned();
        cells[1] = "…".into();
        Entry { path, kind: EntryKind::Waiting, cells, standing: None, run: None, read: None }
    }

    fn refresh(&mut self) {
        if !LiveRun::is_run(&self.path) {
            if self.path.is_dir() && is_folder(&self.path) {
                self.kind = EntryKind::Folder;
                self.cells[1] = format!("{} runs", count(children(&self.path).len()));
            } else {
                self.kind = EntryKind::Waiting;
                self.cells[1] = "waiting".into();
            }
            return;
        }
        self.kind = EntryKind::Run;
        let metadata = fs::metadata(self.path.join("metrics.jsonl")).ok();
        let now = metadata.and_then(|found| Some((found.len(), found.modified().ok()?)));
        // What has ended and is as it was is not read again.
        if self.run.is_none() && self.read.is_some() && self.read == now {
            return;
        }
        let run = self.run.get_or_insert_with(|| LiveRun::new(&self.path));
        run.refresh();
        self.read = now;
        self.standing = Some(run.standing());
        self.cells = cells(run);
        if !run.standing().is_open() {
            self.run = None;
        }
    }
}

fn cells(run: &LiveRun) -> [String; COLUMNS.len()] {
    let (history, standing) = (run.history(), run.standing());
    let name = run.name().to_owned();
    let state = standing.short().to_owned();
    if history.started.is_none() {
        return [name, state, String::new(), String::new(), String::new(), String::new(), String::new()];
    }
    let time = |seconds: f64| duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let left = history.seconds_left().filter(|_| standing == RunStanding::Training);
    [
        name,
        state,
        format!("{}/{}", count(history.last.step), count(history.steps)),
        format!("{:.0} %", 100.0 * fraction(history)),
        time(history.last.elapsed),
        left.map(time).unwrap_or_default(),
        history.best().map(|best| points(best.mean)).unwrap_or_default(),
    ]
}
