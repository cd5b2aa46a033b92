//! The Hub's cache on disk: blobs, links to them, and refs.

use super::{INDEX, TOKENIZERS, WEIGHTS, shards};
use crate::error::ModelError;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// One model's part of the cache.
pub(super) struct Repository {
    root: PathBuf,
}

impl Repository {
    pub fn new(cache: &Path, repository: &str) -> Self {
        Self { root: cache.join(format!("models--{}", repository.replace('/', "--"))) }
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// A commit's folder, if `revision` is a commit and everything needed is there.
    pub fn complete(&self, revision: &str) -> Result<Option<PathBuf>, ModelError> {
        let snapshot = self.snapshot(revision);
        let has = |file: &str| snapshot.join(file).is_file();
        let has_tokenizer = || TOKENIZERS.iter().any(|files| files.iter().all(|file| has(file)));
        if !is_commit(revision) || !has("config.json") || !has_tokenizer() {
            return Ok(None);
        }
        let weights =
            has(WEIGHTS) || has(INDEX) && shards(&snapshot.join(INDEX))?.iter().all(|shard| has(shard));
        Ok(weights.then_some(snapshot))
    }

    /// The commit that a revision stood for the last time.
    pub fn commit(&self, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes what a revision stands for.
    pub fn point(&self, revision: &str, commit: &str) -> Result<(), ModelError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(ModelError::io(folder, "create"))?;
        files::write(&path, commit.as_bytes()).map_err(ModelError::io(&path, "write"))
    }

    /// The folder of files by content, made if need be.
    pub fn blobs(&self) -> Result<PathBuf, ModelError> {
        let blobs = self.root.join("blobs");
        fs::create_dir_all(&blobs).map_err(ModelError::io(&blobs, "create"))?;
        Ok(blobs)
    }

    /// Puts a downloaded file in its place and links it into the commit's folder.
    pub fn add(
        &self,
        commit: &str,
        file: &str,
        blob: &str,
        temporary: NamedTempFile,
    ) -> Result<(), ModelError> {
        let target = self.blobs()?.join(blob);
        files::persist(temporary, &target).map_err(ModelError::io(&target, "write"))?;
        let snapshot = self.snapshot(commit);
        fs::create_dir_all(&snapshot).map_err(ModelError::io(&snapshot, "create"))?;
        let link = snapshot.join(file);
        // A link whose file is gone stands in the way of a new one.
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).map_err(ModelError::io(&link, "replace"))?;
        }
        link_blob(&target, blob, &link).map_err(ModelError::io(&link, "create"))
    }
}

/// Forty hexadecimal digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(unix)]
fn link_blob(_: &Path, blob: &str, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(blob), link)
}

/// Where links need privileges the Hub's own tools copy as well.
#[cfg(not(unix))]
fn link_blob(target: &Path, _: &str, link: &Path) -> std::io::Result<()> {
    std::fs::copy(target, link).map(drop)
}
