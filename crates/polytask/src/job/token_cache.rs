//! The folder that keeps tokenized corpora: that of `[data] cache`, or one in the user's folder for caches.
//!
//! Nobody has configured the latter, so that it stops no run: where it cannot be written the corpora are tokenized without it.
//! It is kept below a size; what was used last stays.

use crate::terminal::output;
use data::DataError;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The size of the user's folder, in bytes.
const MOST_BYTES: u64 = 4 << 30;
/// Age of a temporary file whose writer cannot be at work any more.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder for tokenized corpora, if there is one.
pub struct TokenCache {
    folder: Option<PathBuf>,
    /// Whether the config names it.
    configured: bool,
    /// Whether writing it has failed.
    failed: Cell<bool>,
}

impl TokenCache {
    /// The configured folder, or the user's.
    pub fn of(configured: Option<&str>) -> TokenCache {
        let folder = configured.map(PathBuf::from).or_else(user_folder);
        let cache = TokenCache { folder, configured: configured.is_some(), failed: Cell::new(false) };
        if let Some(folder) = cache.folder.as_deref().filter(|_| !cache.configured) {
            // Whatever cannot be removed stays.
            let _ = prune(folder, MOST_BYTES, SystemTime::now());
        }
        cache
    }

    /// Does some work with the folder; once more without it where only the user's folder fails.
    pub fn with<T>(
        &self,
        work: impl Fn(Option<&Path>) -> Result<T, Vec<DataError>>,
    ) -> Result<T, Vec<DataError>> {
        let folder = self.folder.as_deref().filter(|_| !self.failed.get());
        let done = work(folder);
        let (Err(errors), Some(folder), false) = (&done, folder, self.configured) else { return done };
        let [DataError::Io { path, source }] = &errors[..] else { return done };
        if !path.starts_with(folder) {
            return done;
        }
        output::error(format_args!(
            "warning: {}: {source}; corpora are tokenized without this cache (set data.cache to keep them elsewhere)",
            folder.display()
        ));
        self.failed.set(true);
        work(None)
    }
}

/// `polytask/` in the user's folder for caches, if there is one that can be made.
fn user_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    let folder = caches.join("polytask");
    fs::create_dir_all(&folder).is_ok().then_some(folder)
}

/// Removes what crashes have left, and the files that were not used for longest until the rest has at most so many bytes.
fn prune(folder: &Path, most: u64, now: SystemTime) -> std::io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (metadata, path) = (entry.metadata()?, entry.path());
        let used = metadata.modified()?;
        let old = now.duration_since(used).unwrap_or_default() > DAY;
        // Those of older versions begin with `.tokens-`.
        let temporary = files::is_temporary(&entry.file_name())
            || entry.file_name().to_string_lossy().starts_with(".tokens-");
        if temporary && old {
            fs::remove_file(path)?;
        } else if path.extension().is_some_and(|extension| extension == "tokens") {
            files.push((used, metadata.len(), path));
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= most {
            break;
        }
        fs::remove_file(path)?;
        total -= bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_was_used_last_stays() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        for (name, days) in [
            ("a.tokens", 5),
            ("b.tokens", 3),
            ("c.tokens", 1),
            (".tokens-x", 2),
            (".writing-y", 0),
            ("other", 9),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(now - days * DAY).unwrap();
        }
        prune(dir.path(), 25, now).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".writing-y", "b.tokens", "c.tokens", "other"]);
    }

    #[test]
    fn only_a_folder_that_is_configured_stops_a_run() {
        let full = |folder: Option<&Path>| match folder {
            Some(folder) => {
                let source = std::io::ErrorKind::StorageFull.into();
                Err(vec![DataError::Io { path: folder.join("x.tokens"), source }])
            }
            None => Ok(()),
        };
        let cache =
            |configured| TokenCache { folder: Some("/cache".into()), configured, failed: Cell::new(false) };
        assert!(cache(true).with(full).is_err());
        let users = cache(false);
        assert!(users.with(full).is_ok() && users.failed.get());
        assert!(users.with(|folder| if folder.is_some() { Err(vec![]) } else { Ok(()) }).is_ok());
    }
}
