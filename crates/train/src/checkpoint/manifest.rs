//! The list of a checkpoint's files with their lengths and blake3 hashes, and its verification.

use crate::{checkpoint::digest::FileDigest, checkpoint::durable, error::TrainError};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io::ErrorKind, path::Path};

/// The name of the manifest inside a checkpoint.
pub(crate) const NAME: &str = "manifest.json";

/// The format of checkpoints that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// Every file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    files: BTreeMap<String, FileDigest>,
}

impl Manifest {
    /// Writes the manifest of the named files of `dir`.
    pub(crate) fn write(dir: &Path, names: &[&str]) -> Result<(), TrainError> {
        let entry = |name: &&str| {
            let path = dir.join(name);
            let digest = FileDigest::of(&path).map_err(|e| TrainError::io("reading back", &path, e))?;
            Ok(((*name).to_string(), digest))
        };
        let files = names.iter().map(entry).collect::<Result<_, TrainError>>()?;
        let text = serde_json::to_vec_pretty(&Manifest { format: FORMAT, files })
            .map_err(|e| TrainError::broken(dir, format!("its manifest cannot be written: {e}")))?;
        durable::write(&dir.join(NAME), &text)
    }

    /// Reads the named files of the checkpoint in `dir`, all of which the manifest must list with the lengths and
    /// hashes that they have. Files that are listed but not named are verified too.
    pub(crate) fn read<const N: usize>(dir: &Path, names: [&str; N]) -> Result<[Vec<u8>; N], TrainError> {
        let broken = |reason: String| TrainError::broken(dir, reason);
        let text = read_part(dir, NAME)?;
        let version = serde_json::from_slice::<Version>(&text)
            .map_err(|e| broken(format!("{NAME} is not what it should be: {e}")))?;
        if version.format != FORMAT {
            let found = version.format;
            return Err(broken(format!("found format {found}, this version reads format {FORMAT}")));
        }
        let manifest = serde_json::from_slice::<Manifest>(&text)
            .map_err(|e| broken(format!("{NAME} is not what it should be: {e}")))?;
        let mut found = BTreeMap::new();
        for (name, entry) in &manifest.files {
            if name.contains(['/', '\\']) || name == ".." {
                return Err(broken(format!("{NAME} lists `{name}`, which is no name of a file beside it")));
            }
            let bytes = read_part(dir, name)?;
            if bytes.len() as u64 != entry.bytes {
                let (found, expected) = (bytes.len(), entry.bytes);
                return Err(broken(format!("{name}: found {found} bytes, expected {expected}")));
            }
            if hash(&bytes) != entry.blake3 {
                return Err(broken(format!("{name}: its blake3 hash is not the one in {NAME}")));
            }
            found.insert(name.as_str(), bytes);
        }
        let mut out = [const { Vec::new() }; N];
        for (slot, name) in out.iter_mut().zip(names) {
            *slot = found.remove(name).ok_or_else(|| broken(format!("{NAME} does not list {name}")))?;
        }
        Ok(out)
    }
}

/// The part of a manifest that every format has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

fn read_part(dir: &Path, name: &str) -> Result<Vec<u8>, TrainError> {
    files::read(&dir.join(name)).map_err(|e| match e.kind() {
        // It is not there, or something else is.
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput => {
            TrainError::broken(dir, format!("{name} cannot be read: {e}"))
        }
        // A disk or permissions: what is in the file is not known.
        _ => TrainError::UnreadableCheckpoint { path: dir.into(), file: name.into(), source: e },
    })
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("a", b"one"), ("b", b"two")] {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        Manifest::write(dir.path(), &["a", "b"]).unwrap();
        dir
    }

    fn complaint(dir: &Path) -> String {
        Manifest::read(dir, ["a"]).unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = written();
        assert_eq!(Manifest::read(dir.path(), ["b", "a"]).unwrap(), [b"two".to_vec(), b"one".to_vec()]);
    }

    #[test]
    fn every_way_of_being_broken_is_named() {
        let dir = written();
        std::fs::write(dir.path().join("b"), b"tw0").unwrap();
        assert!(complaint(dir.path()).contains("b: its blake3 hash"));
        std::fs::write(dir.path().join("b"), b"tw").unwrap();
        assert!(complaint(dir.path()).contains("b: found 2 bytes, expected 3"));
        std::fs::remove_file(dir.path().join("b")).unwrap();
        assert!(complaint(dir.path()).contains("b cannot be read"));
        std::fs::write(dir.path().join(NAME), br#"{"format": 9, "files": []}"#).unwrap();
        assert!(complaint(dir.path()).contains("found format 9, this version reads format 1"));
        std::fs::write(dir.path().join(NAME), b"{").unwrap();
        assert!(complaint(dir.path()).contains("manifest.json is not what it should be"));
        let outside = r#"{"format": 1, "files": {"../a": {"bytes": 1, "blake3": ""}}}"#;
        std::fs::write(dir.path().join(NAME), outside).unwrap();
        assert!(complaint(dir.path()).contains("no name of a file beside it"));
    }

    #[test]
    fn a_file_that_is_not_listed_is_missed() {
        let dir = written();
        let message = Manifest::read(dir.path(), ["c"]).unwrap_err().to_string();
        assert!(message.contains("does not list c"), "{message}");
    }
}
