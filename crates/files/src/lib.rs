//! Files that are there whole or not at all, also after a crash or a power cut: written under a temporary name beside their
//! own, synced, renamed, and the folder synced.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// Reads a whole file. What is no regular file (a folder, a pipe, a device) is refused with
/// [`io::ErrorKind::InvalidInput`]: to open it could wait for ever, and to read it never end.
///
/// # Errors
/// Those of the file system.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file for reading. Refuses what [`read`] refuses.
///
/// # Errors
/// Those of the file system.
pub fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(path)
}

/// Replaces a file by what `fill` writes. The folder must exist. The permissions are those of any file that the user makes.
///
/// # Errors
/// Those of `fill`, and of the file system; the file is then as it was before.
pub fn replace(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut temporary = temporary_beside(path)?;
    fill(temporary.as_file_mut())?;
    persist(temporary, path)
}

/// Replaces a file by these bytes: [`replace`].
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |file| file.write_all(bytes))
}

/// How names of temporary files begin.
const TEMPORARY: &str = ".writing-";

/// Whether a name is that of a temporary file of [`replace`], which only a crash leaves.
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

/// Removes the temporary files that a crash in [`replace`] has left in a folder. Nobody else may be writing there.
///
/// # Errors
/// Those of the file system.
pub fn remove_temporary(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if is_temporary(&entry.file_name()) && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A temporary file in the folder of `path`, which [`persist`] gives its name.
fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder(path))
}

/// Whether a file of this name could be written: its folder takes a temporary file.
///
/// # Errors
/// Those of the file system.
pub fn check_folder(path: &Path) -> io::Result<()> {
    temporary_beside(path).map(drop)
}

/// Syncs a temporary file in the folder of `path`, gives it this name, and syncs the folder.
///
/// # Errors
/// Those of the file system.
pub fn persist(temporary: NamedTempFile, path: &Path) -> io::Result<()> {
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync(folder(path))
}

/// Syncs a file or folder. Where folders cannot be opened (Windows) there is nothing to sync.
///
/// # Errors
/// Those of the file system.
pub fn sync(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) && path.is_dir() {
        return Ok(());
    }
    File::open(path)?.sync_all()
}

/// The folder that a file or folder is in.
pub fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, b"old").unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "full");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn what_a_crash_leaves_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let left = temporary_beside(&dir.path().join("file")).unwrap().keep().unwrap().1;
        std::fs::write(dir.path().join("file"), b"").unwrap();
        std::fs::create_dir(dir.path().join(".writing-folder")).unwrap();
        assert!(is_temporary(left.file_name().unwrap()));
        remove_temporary(dir.path()).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".writing-folder", "file"]);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_as_readable_as_any() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let [ours, plain] = ["ours", "plain"].map(|name| dir.path().join(name));
        write(&ours, b"").unwrap();
        std::fs::write(&plain, b"").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn a_name_alone_lies_in_the_current_folder() {
        assert_eq!(folder(Path::new("name")), Path::new("."));
        assert_eq!(folder(Path::new("a/b")), Path::new("a"));
    }
}
