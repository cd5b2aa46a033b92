//! Models by name from the Hugging Face hub, for builds with the feature `hub`.

use crate::failure::Failure;
use std::path::PathBuf;

/// Downloads `owner/name` or `owner/name@revision` into the standard cache, unless it is there already.
///
/// Reads `HF_HUB_CACHE`, `HF_HOME` and `HF_ENDPOINT` as the Python libraries do.
#[cfg(feature = "hub")]
pub fn fetch(spec: &str) -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let cache = variable("HF_HUB_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("HF_HOME").map(|home| PathBuf::from(home).join("hub")))
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/huggingface/hub")))
        .ok_or_else(|| Failure::refused(["no cache for models: set HF_HOME to a directory"]))?;
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
    model::hub::fetch(spec, &cache, &endpoint).map_err(|error| Failure::refused([error]))
}

/// Says how to get a build that can download.
#[cfg(not(feature = "hub"))]
pub fn fetch(spec: &str) -> Result<PathBuf, Failure> {
    Err(Failure::refused([format!(
        "model.backbone = \"hf:{spec}\": this build cannot download; build it with `--features hub`, or give the \
         directory of a checkpoint"
    )]))
}
