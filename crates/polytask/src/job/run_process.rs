//! Which process trains a run, as far as this machine can tell: the one that holds its file `lock` open. Nothing is locked for it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use train::RunDir;

/// The process that trains a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunProcess {
    /// A process of this machine, by its number.
    Here(u32),
    /// The process that the run names is not on this machine, or does something else: it ended, or is elsewhere.
    NotHere,
    /// The system does not tell.
    Unknown,
}

impl RunProcess {
    /// That of a run, by the number in its lock and by the files that this process has open, as Linux tells them.
    pub fn of(run: &RunDir) -> RunProcess {
        let number = fs::read_to_string(run.lock()).ok().and_then(|text| text.trim().parse().ok());
        match number {
            Some(number) => holder_of(&run.lock(), number),
            None => RunProcess::Unknown,
        }
    }
}

fn holder_of(lock: &Path, number: u32) -> RunProcess {
    let Ok(lock) = lock.canonicalize() else { return RunProcess::Unknown };
    if !Path::new("/proc/self/fd").exists() {
        return RunProcess::Unknown;
    }
    let open = match fs::read_dir(format!("/proc/{number}/fd")) {
        Ok(open) => open,
        Err(error) if error.kind() == ErrorKind::NotFound => return RunProcess::NotHere,
        // A process of another user.
        Err(_) => return RunProcess::Unknown,
    };
    let is_lock = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|path| path == lock);
    match open.flatten().any(is_lock) {
        true => RunProcess::Here(number),
        false => RunProcess::NotHere,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::job::run_lock::RunLock;

    #[test]
    fn who_holds_the_lock_trains_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("run"));
        let lock = RunLock::create(&run).unwrap();
        assert_eq!(RunProcess::of(&run), RunProcess::Here(std::process::id()));
        fs::write(run.config(), "").unwrap();
        drop(lock);
        assert_eq!(
            RunProcess::of(&run),
            RunProcess::NotHere,
            "the process is there, and does something else"
        );
        fs::write(run.lock(), "no number").unwrap();
        assert_eq!(RunProcess::of(&run), RunProcess::Unknown);
    }
}
