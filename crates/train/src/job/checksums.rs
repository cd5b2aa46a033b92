//! The lengths and hashes of a saved model's files in its `polytask.json`, which has a hash of itself.
//!
//! ```text
//! "files": { "heads.safetensors": { "bytes": 1234, "blake3": "..." }, "adapters/TASK/adapter_config.json": ... },
//! "blake3": the hash of polytask.json without this entry, as compact JSON
//! ```
//!
//! A model that an older version saved has neither, and is opened unchecked. So is one from which both were removed: that is
//! the way for somebody who changes the files on purpose.

use crate::{checkpoint::digest::FileDigest, error::TrainError, job::export::ModelManifest};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

const FILES: &str = "files";
const OWN: &str = "blake3";

/// Whether the files of a model could be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// They are what was saved.
    Yes,
    /// Its `polytask.json` has no hashes.
    NoHashes,
}

/// Adds the digests of all files in `dir` to a manifest, and its own.
pub(super) fn seal(dir: &Path, manifest: &mut ModelManifest) -> Result<(), TrainError> {
    digests(dir, "", &mut manifest.files)?;
    // As it will be read: the hash is of the numbers that come out of the text.
    let text = serde_json::to_string(manifest).and_then(|text| serde_json::from_str::<Value>(&text));
    manifest.blake3 = Some(own_hash(&text.map_err(|e| TrainError::saved(dir, e))?));
    Ok(())
}

/// Adds the digests of all files in `dir` and its folders, whose names have `prefix` in front.
fn digests(dir: &Path, prefix: &str, files: &mut BTreeMap<String, FileDigest>) -> Result<(), TrainError> {
    for entry in std::fs::read_dir(dir).map_err(|e| TrainError::io("reading", dir, e))? {
        let path = entry.map_err(|e| TrainError::io("reading", dir, e))?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            digests(&path, &format!("{name}/"), files)?;
        } else {
            let digest = FileDigest::of(&path).map_err(|e| TrainError::io("reading back", &path, e))?;
            files.insert(name, digest);
        }
    }
    Ok(())
}

/// Whether a name is that of a file beside the manifest, or in a folder there.
fn is_inside(name: &str) -> bool {
    !name.contains('\\') && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Checks the JSON of a manifest, and the files beside it, by the digests in it.
///
/// # Errors
/// A file is missing, or is not the one that was saved.
pub(super) fn check(path: &Path, manifest: &Value) -> Result<Checked, TrainError> {
    let (own, files) = match (manifest.get(OWN), manifest.get(FILES)) {
        (Some(own), Some(files)) => (own, files),
        (None, None) => return Ok(Checked::NoHashes),
        _ => return Err(TrainError::saved(path, format!("has only one of \"{FILES}\" and \"{OWN}\""))),
    };
    if *own != Value::String(own_hash(manifest)) {
        return Err(changed(path, path));
    }
    let files = BTreeMap::<String, FileDigest>::deserialize(files);
    for (name, digest) in files.map_err(|e| TrainError::saved(path, format!("{FILES}: {e}")))? {
        if !is_inside(&name) {
            return Err(TrainError::saved(
                path,
                format!("lists `{name}`, which is no name of a file beside it"),
            ));
        }
        let file = path.with_file_name(name);
        let read = FileDigest::of(&file).map_err(|e| TrainError::io("reading", &file, e))?;
        if read != digest {
            return Err(changed(&file, path));
        }
    }
    Ok(Checked::Yes)
}

/// Checks the files of a folder that may be a saved model: `None` where it has no manifest.
///
/// # Errors
/// As [`check`].
pub fn check_model_files(dir: &Path) -> Result<Option<Checked>, TrainError> {
    let path = dir.join(super::export::MANIFEST);
    let text = match files::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| TrainError::io("reading", &path, e))?,
    };
    let manifest = serde_json::from_slice(&text).map_err(|e| TrainError::saved(&path, e))?;
    check(&path, &manifest).map(Some)
}

fn changed(file: &Path, manifest: &Path) -> TrainError {
    let reason = format!(
        "it is not the file that was saved: its hash is another one. It was damaged, or changed after training.\n  Copy it again \
         from where it is whole. If it was changed on purpose, remove \"{FILES}\" and \"{OWN}\" from {} to use the model unchecked",
        manifest.display()
    );
    TrainError::saved(file, reason)
}

/// The hash of a manifest without the entry for it.
fn own_hash(manifest: &Value) -> String {
    let mut manifest = manifest.clone();
    if let Some(entries) = manifest.as_object_mut() {
        entries.shift_remove(OWN);
    }
    blake3::hash(manifest.to_string().as_bytes()).to_hex().to_string()
}
