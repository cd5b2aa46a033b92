//! A run's directory belongs to one process at a time: it is made when its name is chosen, and locked while it is trained.
//!
//! The lock is the operating system's on the file `lock`, so that it ends with the process, however that ends. The file
//! itself stays in a run; it holds the number of the process that locked it last, for messages only.

use crate::failure::Failure;
use crate::terminal::output;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;
use train::RunDir;

/// The lock of a run. Dropped before anything was put into the directory, it takes back what it made.
pub struct RunLock {
    run: RunDir,
    /// Held open: the lock ends with it.
    _file: File,
    /// Whether the directory was empty before.
    was_empty: bool,
}

/// Why a directory cannot be locked for a run.
#[derive(Debug)]
enum Refusal {
    /// Another process, by its number where that can be read, has the lock.
    Trained(String),
    /// A directory with something in it.
    Occupied,
    Io(&'static str, io::Error),
}

impl RunLock {
    /// The directory of a new run: it is made, or empty.
    ///
    /// # Errors
    /// It holds something, another process trains in it, or it cannot be written.
    pub fn create(run: &RunDir) -> Result<RunLock, Failure> {
        RunLock::create_for(run, "--run")
    }

    /// As [`RunLock::create`], where another directory is given with another option.
    ///
    /// # Errors
    /// As [`RunLock::create`].
    pub fn create_for(run: &RunDir, option: &str) -> Result<RunLock, Failure> {
        claim(run).map_err(|refusal| {
            let root = run.root().display();
            match refusal {
                Refusal::Occupied if run.config().exists() && (run.metrics().exists() || run.lock().exists()) => {
                    Failure::refused([format!(
                        "{root} is a run already: go on with it (polytask train --resume {root}), or give another directory with {option}"
                    )])
                }
                Refusal::Occupied => Failure::refused([format!(
                    "{root} is not empty, and what is in it was not made by a run: give a directory that is empty or not there with {option}"
                )]),
                other => refused(run, other),
            }
        })
    }

    /// A new run in `folder`, called `name`, or `name-2`, `name-3`, ... where that is taken.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn numbered(folder: &Path, name: &str) -> Result<(RunDir, RunLock), Failure> {
        for number in 1.. {
            let name = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
            let run = RunDir::new(folder.join(name));
            match claim(&run) {
                Ok(lock) => return Ok((run, lock)),
                Err(Refusal::Occupied | Refusal::Trained(_)) => {}
                Err(other) => return Err(refused(&run, other)),
            }
        }
        unreachable!("some number is free")
    }

    /// The directory of a run that is there.
    ///
    /// # Errors
    /// Another process trains it, or it cannot be written.
    pub fn existing(run: &RunDir) -> Result<RunLock, Failure> {
        let file = lock(run).map_err(|refusal| refused(run, refusal))?;
        files::remove_temporary(run.root()).map_err(|e| Failure::io("cleaning up", run.root(), e))?;
        Ok(RunLock { run: run.clone(), _file: file, was_empty: false })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        if self.was_empty && is_empty(self.run.root()).unwrap_or(false) {
            let _ = files::remove_temporary(self.run.root());
            // Whoever has opened this file meanwhile finds that it is no longer the one of that name: `lock`.
            let _ = fs::remove_file(self.run.lock());
            let _ = fs::remove_dir(self.run.root());
        }
    }
}

fn refused(run: &RunDir, refusal: Refusal) -> Failure {
    let root = run.root().display();
    match refusal {
        Refusal::Trained(by) => Failure::refused([format!("{root} is being trained by {by}")]),
        Refusal::Occupied => Failure::refused([format!("{root} is not empty")]),
        Refusal::Io(doing, error) if error.kind() == ErrorKind::NotADirectory => {
            Failure::refused([format!("{doing} {root}: {error}; give another directory with --run")])
        }
        Refusal::Io(doing, error) => Failure::io(doing, run.root(), error),
    }
}

/// Makes the directory where it is not there, and locks it if it is empty.
fn claim(run: &RunDir) -> Result<RunLock, Refusal> {
    let root = run.root();
    match fs::create_dir(root) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(root).map_err(|e| Refusal::Io("making", e))?;
        }
        // It is looked at below. What is no directory, or a link to nothing, fails there.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        other => other.map_err(|e| Refusal::Io("making", e))?,
    }
    let empty = || match is_empty(root) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::Occupied),
        // Both files and links to nothing are in the way.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Err(Refusal::Io("making", io::Error::new(ErrorKind::NotADirectory, "a link to nothing is there")))
        }
        Err(e) => Err(Refusal::Io("reading", e)),
    };
    empty()?;
    let file = lock(run)?;
    // Another run may have begun and ended between the two.
    empty()?;
    files::remove_temporary(root).map_err(|e| Refusal::Io("cleaning up", e))?;
    Ok(RunLock { run: run.clone(), _file: file, was_empty: true })
}

/// Whether a directory holds nothing but a lock, and what a crash left before there was anything else.
fn is_empty(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if name != "lock" && !files::is_temporary(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Locks the file `lock`.
fn lock(run: &RunDir) -> Result<File, Refusal> {
    let path = run.lock();
    loop {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|e| Refusal::Io("locking", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Refusal::Trained(holder(&mut file))),
            Err(TryLockError::Error(error)) => {
                output::error(format_args!(
                    "warning: {} cannot be locked ({error}): train nothing else in this directory meanwhile",
                    run.root().display()
                ));
                return Ok(file);
            }
        }
        if is_same(&file, &path) {
            let number = format!("{}\n", std::process::id());
            let written = file.set_len(0).and_then(|()| file.write_all(number.as_bytes()));
            written.map_err(|e| Refusal::Io("locking", e))?;
            return Ok(file);
        }
    }
}

/// Whether the file that was opened still has its name: a process that gave up its claim removes it.
#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// A file that is open keeps its name.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> bool {
    true
}

/// The process that has locked a file, as far as that can be read.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(number)) => format!("process {number}"),
        _ => "another process".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one() {
        let dir = tempfile::tempdir().unwrap();
        let (first, lock) = RunLock::numbered(dir.path(), "job").unwrap();
        let (second, other) = RunLock::numbered(dir.path(), "job").unwrap();
        assert_eq!((first.root(), second.root()), (&*dir.path().join("job"), &*dir.path().join("job-2")));
        let message = RunLock::create(&first).err().unwrap().messages.join("");
        assert!(message.contains(&format!("trained by process {}", std::process::id())), "{message}");
        let message = RunLock::existing(&first).err().unwrap().messages.join("");
        assert!(message.contains("is being trained by process"), "{message}");
        drop(lock);
        assert!(!first.root().exists(), "nothing was put into it");
        fs::write(second.config(), "").unwrap();
        drop(other);
        assert!(second.config().exists() && second.lock().exists());
        RunLock::existing(&second).unwrap();
    }

    #[test]
    fn only_an_empty_directory_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("deep/run"));
        drop(RunLock::create(&run).unwrap());
        fs::create_dir_all(run.root()).unwrap();
        fs::write(run.root().join("lock"), "1").unwrap();
        fs::write(run.root().join(".writing-abc"), "half").unwrap();
        drop(RunLock::create(&run).unwrap());
        fs::create_dir_all(run.model()).unwrap();
        let refused = RunLock::create(&run).err().unwrap();
        assert!(refused.code == 2 && refused.messages[0].contains("is not empty"), "{refused:?}");
        assert!(run.model().is_dir());
        let file = RunDir::new(dir.path().join("file"));
        fs::write(file.root(), "").unwrap();
        let refused = RunLock::create(&file).err().unwrap();
        assert!(refused.code == 2 && refused.messages[0].contains("give another directory"), "{refused:?}");
    }
}
