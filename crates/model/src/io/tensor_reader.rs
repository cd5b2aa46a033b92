//! Where a checkpoint's tensors come from: names and shapes at once, numbers when they are asked for.

use super::LowRankTensors;
use super::fewer_layers::FewerLayers;
use super::gguf::GgufReader;
use super::safetensors_reader::SafetensorsReader;
use crate::error::{ModelError, TensorProblem};
use crate::pruning::CutTensors;
use safetensors::Dtype;
use std::path::Path;

/// A file of tensors, or several that belong together. Names and shapes are those of a folder in Hugging Face layout.
pub(crate) trait TensorReader: std::fmt::Debug + Send + Sync {
    /// The file, or the index of several.
    fn path(&self) -> &Path;

    /// All tensors' names, sorted.
    fn names(&self) -> Vec<&str>;

    /// The shape of a tensor, rows first.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// The problem with a tensor's type or shape, if it is there and there is one.
    fn check(&self, name: &str, expected: &[usize]) -> Option<TensorProblem>;

    /// A tensor as it is carried from file to file: its type, its shape, and its bytes, little-endian. The name must be one of
    /// [`TensorReader::names`].
    fn raw(&self, name: &str) -> Result<(Dtype, Vec<usize>, Vec<u8>), ModelError>;

    /// Appends a tensor's numbers as f32; the name must be one of [`TensorReader::names`]. A number that is not finite is a problem
    /// and not an error, so that all are reported at once.
    fn append(&self, name: &str, values: &mut Vec<f32>) -> Result<Option<TensorProblem>, ModelError>;
}

impl TensorReader for SafetensorsReader {
    fn path(&self) -> &Path {
        self.path()
    }

    fn names(&self) -> Vec<&str> {
        self.names().collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shape(name)
    }

    fn check(&self, name: &str, expected: &[usize]) -> Option<TensorProblem> {
        self.problem(name, expected)
    }

    fn raw(&self, name: &str) -> Result<(Dtype, Vec<usize>, Vec<u8>), ModelError> {
        self.raw(name)
    }

    fn append(&self, name: &str, values: &mut Vec<f32>) -> Result<Option<TensorProblem>, ModelError> {
        self.append(name, values)
    }
}

/// The first number that is not finite, of those appended from `first` on.
pub(crate) fn not_finite(name: &str, values: &[f32], first: usize) -> Option<TensorProblem> {
    let index = values[first..].iter().position(|value| !value.is_finite())?;
    let found = values[first + index].to_string();
    Some(TensorProblem::NotFinite { name: name.to_owned(), index, found })
}

/// Where the weights of an opened checkpoint are.
#[derive(Debug)]
pub(crate) enum Weights<'a> {
    /// `model.safetensors`, or shards with an index, in this folder.
    Folder(&'a Path),
    /// The same with matrices that are two factors each.
    LowRank(&'a Path, Vec<Vec<String>>),
    /// A GGUF file, whose header has been read.
    Gguf(GgufReader),
    /// Those of a network of which something was cut.
    Cut(CutTensors),
    /// Only these layers of them.
    Layers(Box<Weights<'a>>, Vec<usize>),
}

impl Weights<'_> {
    /// Opens them.
    pub fn open(self) -> Result<Box<dyn TensorReader>, ModelError> {
        Ok(match self {
            Weights::Folder(dir) => Box::new(SafetensorsReader::open(dir)?),
            Weights::LowRank(dir, groups) => Box::new(LowRankTensors::open(dir, &groups)?),
            Weights::Gguf(reader) => Box::new(reader),
            Weights::Cut(tensors) => Box::new(tensors),
            Weights::Layers(all, kept) => Box::new(FewerLayers::new(all.open()?, &kept)),
        })
    }
}
