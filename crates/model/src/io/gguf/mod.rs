//! A GGUF file read as if it were a folder in Hugging Face layout: a config.json of its metadata, and tensors under the names that
//! transformers gives them, with what llama.cpp's converter (`convert_hf_to_gguf.py`) did to them undone.

mod adapter;
mod architecture;
mod config;
mod rope;
mod write;

use super::tensor_reader::{TensorReader, not_finite};
use crate::error::{ModelError, TensorProblem};
pub use adapter::save_gguf_adapter;
use architecture::{Architecture, Place};
use gguf::{Gguf, GgufError};
use safetensors::Dtype;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
pub(crate) use write::GgufModel;
pub use write::{GgufQuantization, save_gguf};

/// An opened file: its tensors by their names in Hugging Face layout.
#[derive(Debug)]
pub(crate) struct GgufReader {
    file: Gguf,
    /// By the name in Hugging Face layout: the name in the file, and what has to be undone.
    tensors: BTreeMap<String, (String, Undo)>,
}

/// What the converter did to a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    /// Nothing.
    Nothing,
    /// In every one of so many heads the pairs of rotated rows were laid side by side.
    Permuted { heads: usize },
    /// A one was added, so that the norm multiplies by what is stored.
    AddedOne,
}

impl GgufReader {
    /// Opens a file, and gives what its config.json would be.
    ///
    /// # Errors
    /// [`ModelError`]: a file that cannot be read or is broken; an architecture, a key or a tensor that is not known.
    pub fn open(path: &Path) -> Result<(Self, Value), ModelError> {
        let file = Gguf::open(path).map_err(|error| from_gguf(path, error))?;
        let architecture = Architecture::of(&file)?;
        let config = config::json(&file, architecture)?;
        let heads = |key: &str| config[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
        let heads = (heads("num_attention_heads"), heads("num_key_value_heads"));
        let tensors = tensors(&file, architecture, heads)?;
        Ok((GgufReader { file, tensors }, config))
    }

    fn undo(&self, name: &str, values: &mut [f32], undo: Undo) {
        match undo {
            Undo::Nothing => {}
            Undo::AddedOne => values.iter_mut().for_each(|value| *value -= 1.0),
            Undo::Permuted { heads } => {
                let rows = self.shape(name).and_then(|shape| shape.first().copied()).unwrap_or(1);
                unpermute(values, rows, heads);
            }
        }
    }
}

/// Puts rows back where transformers has them: the converter did `reshape(heads, 2, rows / heads / 2, columns).swapaxes(1, 2)`.
fn unpermute(values: &mut [f32], rows: usize, heads: usize) {
    let (columns, of_head) = (values.len() / rows, rows / heads);
    let half = of_head / 2;
    let mut ordered = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (head, within) = (row / of_head, row % of_head);
        let source = head * of_head + (within % half) * 2 + within / half;
        ordered.extend_from_slice(&values[source * columns..][..columns]);
    }
    values.copy_from_slice(&ordered);
}

/// Lays rows as the converter does: the inverse of [`unpermute`].
fn permute(values: &mut [f32], rows: usize, heads: usize) {
    let (columns, of_head) = (values.len() / rows, rows / heads);
    let half = of_head / 2;
    let mut ordered = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (head, within) = (row / of_head, row % of_head);
        let source = head * of_head + (within % 2) * half + within / 2;
        ordered.extend_from_slice(&values[source * columns..][..columns]);
    }
    values.copy_from_slice(&ordered);
}

/// Names every tensor of a file as transformers does. A tensor without a place is refused: it would change what the network computes.
fn tensors(
    file: &Gguf,
    architecture: &Architecture,
    (heads, kv_heads): (usize, usize),
) -> Result<BTreeMap<String, (String, Undo)>, ModelError> {
    let (mut tensors, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, info) in file.tensors() {
        let (hf_name, tensor) = match architecture.place(name) {
            Place::Tensor(hf_name, tensor) => (hf_name, tensor),
            Place::Ignored => continue,
            Place::Unknown => {
                problems.push(TensorProblem::Unknown { name: name.clone(), found: info.shape.clone() });
                continue;
            }
        };
        let permuted = |heads: usize| {
            let rows = info.shape[0];
            let fits = heads > 0 && rows % (2 * heads) == 0;
            fits.then_some(Undo::Permuted { heads }).ok_or_else(|| {
                config::wrong(
                    file,
                    &format!("{}.attention.head_count", architecture.name),
                    format!("{heads} heads for the {rows} rows of {name}"),
                    "heads of an even number of rows",
                )
            })
        };
        let undo = match tensor {
            "attn_q" if architecture.permuted => permuted(heads)?,
            "attn_k" if architecture.permuted => permuted(kv_heads)?,
            _ if architecture.norms_add_one && tensor.ends_with("norm") => Undo::AddedOne,
            _ => Undo::Nothing,
        };
        tensors.insert(hf_name, (name.clone(), undo));
    }
    if problems.is_empty() {
        return Ok(tensors);
    }
    let remedy = format!("a file of a plain {} model", architecture.name);
    Err(ModelError::Weights { path: file.path().to_owned(), problems, remedy })
}

impl TensorReader for GgufReader {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        let (name, _) = self.tensors.get(name)?;
        Some(self.file.tensors().get(name)?.shape.as_slice())
    }

    fn check(&self, name: &str, expected: &[usize]) -> Option<TensorProblem> {
        let (in_file, _) = self.tensors.get(name)?;
        let info = self.file.tensors().get(in_file)?;
        let name = name.to_owned();
        if info.shape != expected {
            let (found, expected) = (info.shape.clone(), expected.to_vec());
            return Some(TensorProblem::Shape { name, found, expected });
        }
        let unreadable = || TensorProblem::Type {
            name,
            found: info.kind.name().into(),
            expected: gguf::TensorType::readable(),
        };
        (!info.kind.is_readable()).then(unreadable)
    }

    fn raw(&self, name: &str) -> Result<(Dtype, Vec<usize>, Vec<u8>), ModelError> {
        let mut values = Vec::new();
        self.append(name, &mut values)?;
        let shape = self.shape(name).unwrap_or_default().to_vec();
        Ok((Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
    }

    fn append(&self, name: &str, values: &mut Vec<f32>) -> Result<Option<TensorProblem>, ModelError> {
        let (in_file, undo) = self.tensors.get(name).expect("the name is one of the file's");
        let first = values.len();
        self.file.read_f32(in_file, values).map_err(|error| from_gguf(self.file.path(), error))?;
        self.undo(name, &mut values[first..], *undo);
        Ok(not_finite(name, values, first))
    }
}

pub(in crate::io) fn from_gguf(path: &Path, error: GgufError) -> ModelError {
    match error {
        GgufError::Io { path, source } => ModelError::Io { path, action: "read", source },
        GgufError::Broken { path, reason, remedy } => ModelError::Broken { path, reason, remedy },
        other => {
            let remedy = "a file with tensors of the types that are read".into();
            ModelError::Broken { path: path.to_owned(), reason: other.to_string(), remedy }
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod written_tests;
