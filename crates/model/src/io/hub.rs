//! Models from the Hugging Face Hub, in its standard cache.
//!
//! What is fetched lies where the Hub's own tools look for it, and what they fetched is used:
//!
//! ```text
//! CACHE/models--owner--name/
//!   refs/main                      the commit that the revision stood for when it was last asked
//!   snapshots/COMMIT/config.json   links into blobs/
//!   blobs/ETAG                     the files; of large ones the name is their SHA-256, which is checked
//! ```
//!
//! A file appears in `blobs` whole or not at all; a link only after its file; a ref only after all links. Nothing of an
//! interrupted download is used. This module sends no token: models behind a login have to be fetched by the Hub's own
//! tool first.

mod cache;
mod client;

use super::read_json;
use crate::error::ModelError;
use cache::Repository;
use client::Client;
use std::path::{Path, PathBuf};

/// The Hub's address, for callers without another.
pub const ENDPOINT: &str = "https://huggingface.co";

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files of a tokenizer, of which a model has one sort: those that `data::Tokenizer::of_model` reads, in its order.
const TOKENIZERS: &[&[&str]] = &[
    &["tokenizer.json"],
    &["vocab.json", "merges.txt"],
    &["sentencepiece.bpe.model"],
    &["spiece.model"],
    &["spm.model"],
    &["tokenizer.model"],
    &["vocab.txt"],
];
/// What is said of a tokenizer beside tokenizer.json.
const TOKENIZER_SETTINGS: &[&str] = &["tokenizer_config.json", "special_tokens_map.json"];

/// A model on the Hub: `owner/name@revision`; without a revision it is `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModelId {
    /// `owner/name`, or `name` of the oldest models.
    pub repository: String,
    /// A branch, a tag, or a commit.
    pub revision: String,
}

impl HubModelId {
    /// Reads `owner/name@revision`, with or without `hf:` before it.
    ///
    /// # Errors
    /// [`ModelError::Hub`] where it is not of that form.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let (repository, revision) =
            text.strip_prefix("hf:").unwrap_or(text).split_once('@').unwrap_or((text, "main"));
        let repository = repository.strip_prefix("hf:").unwrap_or(repository);
        let sound = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && !part.contains("..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let of_repository = repository.split('/').count() <= 2 && repository.split('/').all(sound);
        if of_repository && !repository.contains("--") && revision.split('/').all(sound) {
            return Ok(Self { repository: repository.into(), revision: revision.into() });
        }
        Err(ModelError::Hub {
            what: text.into(),
            reason: "found no name of a model on the Hugging Face Hub, expected owner/name@revision".into(),
            remedy: "\"hf:sentence-transformers/all-MiniLM-L6-v2@main\", or a folder".into(),
        })
    }
}

/// Fetches what of a model is not in the cache yet (config.json, tokenizer.json or the files of another tokenizer, and model.safetensors
/// or its index and shards) and gives the folder of its snapshot, for [`crate::open`]. `spec` is `owner/name@revision`, `cache` the Hub's cache
/// (usually `~/.cache/huggingface/hub`), `endpoint` an address such as [`ENDPOINT`].
///
/// A commit whose files are all in the cache is not asked for again. Where the Hub cannot be reached, the commit that the
/// revision stood for the last time serves, if its files are all there.
///
/// # Errors
/// [`ModelError::Hub`] with what to do: no such model or revision, no access, no weights as safetensors, damaged on the way.
/// [`ModelError::Io`] where the cache cannot be written.
pub fn fetch(spec: &str, cache: &Path, endpoint: &str) -> Result<PathBuf, ModelError> {
    let spec = HubModelId::parse(spec)?;
    let repository = Repository::new(cache, &spec.repository);
    if let Some(snapshot) = repository.complete(&spec.revision)? {
        return Ok(snapshot);
    }
    let client = Client::new(endpoint, &spec);
    let (commit, files) = match client.describe() {
        Ok(found) => found,
        Err(failure) if failure.unreachable => {
            let last =
                repository.commit(&spec.revision).map(|commit| repository.complete(&commit)).transpose()?;
            return last.flatten().ok_or(failure.error);
        }
        Err(failure) => return Err(failure.error),
    };
    let get = |file: &str| -> Result<PathBuf, ModelError> {
        let link = repository.snapshot(&commit).join(file);
        if !link.exists() {
            let (blob, temporary) = client.download(&commit, file, &repository.blobs()?)?;
            repository.add(&commit, file, &blob, temporary)?;
        }
        Ok(link)
    };
    let has = |file: &str| files.iter().any(|f| f == file);
    if !has("config.json") {
        let remedy = "another model: this one is in no format of transformers";
        return Err(client.error("the model has no config.json".into(), remedy).error);
    }
    get("config.json")?;
    let Some(tokenizer) = TOKENIZERS.iter().find(|files| files.iter().all(|file| has(file))) else {
        let remedy = "a model with a tokenizer of a known format, or saving one in Python: AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)";
        return Err(client.error("the model has no tokenizer.json".into(), remedy).error);
    };
    let own = *tokenizer == TOKENIZERS[0];
    for file in TOKENIZER_SETTINGS.iter().filter(|file| !own && has(file)).chain(*tokenizer) {
        get(file)?;
    }
    if has(WEIGHTS) {
        get(WEIGHTS)?;
    } else if has(INDEX) {
        for shard in shards(&get(INDEX)?)? {
            get(&shard)?;
        }
    } else {
        let remedy =
            "another revision, or converting in Python: AutoModel.from_pretrained(NAME).save_pretrained(DIR)";
        return Err(client.error("the model has no weights as safetensors".into(), remedy).error);
    }
    repository.point(&spec.revision, &commit)?;
    Ok(repository.snapshot(&commit))
}

/// The files that an index names, each once; only files beside it.
fn shards(index: &Path) -> Result<Vec<String>, ModelError> {
    let json = read_json(index)?;
    let named = json.get("weight_map").and_then(|map| map.as_object()).into_iter().flatten();
    let mut files: Vec<String> = named.filter_map(|(_, file)| Some(file.as_str()?.to_owned())).collect();
    files.sort();
    files.dedup();
    let plain =
        |file: &String| file.ends_with(".safetensors") && !file.contains(['/', '\\', '\0', '%', '?', '#']);
    if files.is_empty() || !files.iter().all(plain) {
        let (path, remedy) =
            (index.to_owned(), "another revision: opening this one would read other files".into());
        let reason = "its weight_map does not name safetensors files beside it".into();
        return Err(ModelError::Broken { path, reason, remedy });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_checked() {
        let spec = |text| HubModelId::parse(text).map(|s| (s.repository, s.revision)).ok();
        let of = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(spec("hf:a/b"), of("a/b", "main"));
        assert_eq!(spec("a/b.c_d-e@v1.0"), of("a/b.c_d-e", "v1.0"));
        assert_eq!(spec("hf:bert-base-uncased@refs/pr/3"), of("bert-base-uncased", "refs/pr/3"));
        for bad in [
            "",
            "a/b/c",
            "a/../b",
            "../a",
            "a/b@",
            "a/b@../c",
            "a b",
            "a//b",
            "/a",
            "a/b@x//y",
            "a--b/c",
            "a/b?c",
            "a/b@v/../../x",
        ] {
            assert_eq!(spec(bad), None, "{bad:?}");
        }
    }
}
