//! Writing that survives a crash: every file synced, whole directories put into place by a rename.

use crate::error::TrainError;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// Writes a file and syncs it to the disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| TrainError::io("writing", path, e))
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TrainError> {
    files::read(path).map_err(|e| TrainError::io("reading", path, e))
}

/// Makes a directory and its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(path).map_err(|e| TrainError::io("making the directory", path, e))
}

/// Removes a directory and all it holds; nothing happens where there is none.
pub(crate) fn remove_dir(path: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(TrainError::io("removing", path, e)),
        _ => Ok(()),
    }
}

/// Removes a file; nothing happens where there is none.
pub(crate) fn remove_file(path: &Path) -> Result<(), TrainError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(TrainError::io("removing", path, e)),
        _ => Ok(()),
    }
}

/// Renames a file or directory and syncs the directory that holds it.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), TrainError> {
    fs::rename(from, to).map_err(|e| TrainError::io("renaming", from, e))?;
    sync(files::folder(to))
}

/// Makes `to` whole or not at all: `fill` writes into an empty sibling directory, whose files are synced before
/// it takes the name `to`. A directory that had the name gives way; a half-written sibling of an earlier crash
/// is removed.
pub(crate) fn replace_dir(
    to: &Path,
    fill: impl FnOnce(&Path) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let (new, old) = (sibling(to, "writing"), sibling(to, "old"));
    remove_dir(&new)?;
    make_dir(&new)?;
    fill(&new)?;
    sync_tree(&new)?;
    remove_dir(&old)?;
    if to.exists() {
        rename(to, &old)?;
    }
    rename(&new, to)?;
    remove_dir(&old)
}

/// Mends what a crash between the two renames of [`replace_dir`] leaves: the old directory takes its name back.
pub(crate) fn recover_dir(to: &Path) -> Result<(), TrainError> {
    let old = sibling(to, "old");
    if !to.exists() && old.exists() {
        rename(&old, to)?;
    }
    Ok(())
}

/// `DIR/NAME` as `DIR/.NAME.SUFFIX`
fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{suffix}"))
}

fn sync_tree(dir: &Path) -> Result<(), TrainError> {
    let entries = fs::read_dir(dir).map_err(|e| TrainError::io("reading", dir, e))?;
    for entry in entries {
        let path = entry.map_err(|e| TrainError::io("reading", dir, e))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(dir)
}

/// Syncs a file or directory.
fn sync(path: &Path) -> Result<(), TrainError> {
    files::sync(path).map_err(|e| TrainError::io("syncing", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fill_leaves_the_old_directory() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("model");
        replace_dir(&to, |dir| write(&dir.join("a"), b"1")).unwrap();
        let failed = replace_dir(&to, |dir| {
            write(&dir.join("a"), b"2")?;
            Err(TrainError::NothingToTrain)
        });
        assert!(failed.is_err());
        assert_eq!(read(&to.join("a")).unwrap(), b"1");
        replace_dir(&to, |dir| write(&dir.join("b"), b"3")).unwrap();
        let names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["model"], "no leftovers");
        assert!(!to.join("a").exists() && to.join("b").exists());
    }

    #[test]
    fn a_crash_between_the_renames_is_mended() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("model");
        make_dir(&sibling(&to, "old")).unwrap();
        recover_dir(&to).unwrap();
        assert!(to.exists());
    }
}
