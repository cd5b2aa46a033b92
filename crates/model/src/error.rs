//! What can be wrong with a model on disk or in a config, said in the words of the person who has to repair it.

use std::fmt;
use std::path::PathBuf;

/// Everything that opening, building, saving or fetching a model can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The operating system refused a read or a write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as a verb: "read", "create", "rename".
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A folder was given that does not look like a model.
    #[error("{}: no model here: {reason}. Try: {remedy}", path.display())]
    NotAModel {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// `config.json` (or an index) says something that cannot be, or that this program does not support.
    #[error("{}: {key}: found {found}, expected {expected}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key inside it.
        key: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// A safetensors file or an index whose bytes are broken.
    #[error("{}: {reason}. Try: {remedy}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// The file is sound, but its tensors are not the ones that the model needs.
    #[error("{}: {} of the weights do not fit:{}\n  Try: {remedy}", path.display(), problems.len(), list(problems))]
    Weights {
        /// The weights' file, or the folder of a sharded checkpoint.
        path: PathBuf,
        /// Every problem found.
        problems: Vec<TensorProblem>,
        /// What to do about it.
        remedy: String,
    },
    /// A size in `[model]` out of its range.
    #[error("model.backbone.{key}: found {found}, expected {expected}")]
    Size {
        /// The key below `[model] backbone`.
        key: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// A setting of `[model] decoder` out of its range, or a decoder where there can be none.
    #[error("model.{key}: found {found}, expected {expected}")]
    Decoder {
        /// The key below `[model]`.
        key: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// More layers are to be frozen than there are.
    #[error("model.freeze.layers: found {found}, expected at most {most}, the layers of the backbone")]
    Layers {
        /// How many are to be frozen.
        found: usize,
        /// How many there are.
        most: usize,
    },
    /// Another number of layers is to be kept than can be.
    #[error("layers: found {found}, expected {expected}")]
    KeptLayers {
        /// How many are to be kept.
        found: usize,
        /// How many can be.
        expected: String,
    },
    /// Layers are to be frozen whose weights others have, too.
    #[error(
        "model.freeze.layers: found {found}: layers of this backbone above and below have the same weights; freeze 0 layers, which are the embeddings, or all {most}"
    )]
    RepeatedLayers {
        /// How many are to be frozen.
        found: usize,
        /// How many there are.
        most: usize,
    },
    /// Vectors of corpora stand below every layer, among what is to be frozen.
    #[error(
        "model.freeze: the embeddings are to be frozen, and the vectors of corpora with them; leave out `freeze` or `dataset_embeddings`"
    )]
    FrozenDatasets,
    /// Layers are to be frozen that tasks have for themselves.
    #[error(
        "model.freeze.layers: found {found}: `[sharing.{scheme}]` gives tasks layers of their own from layer {most} on, which would never differ; freeze at most {most} layers"
    )]
    FrozenSharing {
        /// How many layers were to be frozen.
        found: usize,
        /// The sharing scheme.
        scheme: &'static str,
        /// How many layers can be.
        most: usize,
    },
    /// Values of the wrong number were given for a parameter.
    #[error("parameter {name}: found {found} values, expected {expected}")]
    Length {
        /// The parameter.
        name: String,
        /// How many values came.
        found: usize,
        /// How many it has.
        expected: usize,
    },
    /// A setting of a sharing scheme that does not fit the trunk.
    #[error("sharing.{key}: found {found}, expected {expected}")]
    Sharing {
        /// The key below `[sharing]`.
        key: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// Structures that cannot be cut out of a network.
    #[error("{what}: {reason}")]
    NotCut {
        /// What was to be cut: layers, heads, ffn.
        what: &'static str,
        /// What stands in the way.
        reason: String,
    },
    /// A model that cannot be written for other programs.
    #[error("{format}: {reason}. Try: {remedy}")]
    NoExport {
        /// The format.
        format: &'static str,
        /// What stands in the way.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// Two heads that cannot be one.
    #[error(
        "the shared head has no such parameter {name}: found {}, expected the shape {expected:?}",
        shape(found)
    )]
    Shared {
        /// The parameter of the head that is shared.
        name: String,
        /// Its shape; `None` where there is no such parameter.
        found: Option<Vec<usize>>,
        /// The shape that is wanted.
        expected: Vec<usize>,
    },
    /// A model on the Hugging Face Hub that cannot be had.
    #[error("{what}: {reason}. Try: {remedy}")]
    Hub {
        /// The model or the address.
        what: String,
        /// What happened.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
}

impl ModelError {
    pub(crate) fn io(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }

    /// A size below `model.decoder`, not `model.backbone`.
    pub(crate) fn of_decoder(self) -> Self {
        match self {
            Self::Size { key, found, expected } => {
                Self::Decoder { key: format!("decoder.{key}"), found, expected }
            }
            other => other,
        }
    }
}

/// What is wrong with one tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorProblem {
    /// The model needs it and the file lacks it.
    Missing {
        /// Its name in the file.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// It has another shape than the sizes in `config.json` demand.
    Shape {
        /// Its name in the file.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// Its numbers are of a type that cannot be read as weights.
    Type {
        /// Its name in the file.
        name: String,
        /// The type in the file.
        found: String,
        /// The types that are read.
        expected: String,
    },
    /// It stands where only the network's own tensors stand, and the network has none of that name.
    Unknown {
        /// Its name in the file.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// One of its numbers is NaN or infinite.
    NotFinite {
        /// Its name in the file.
        name: String,
        /// Where in the tensor, counted flat from 0.
        index: usize,
        /// The number, or how many of that sort there are.
        found: String,
    },
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, expected } => write!(f, "{name}: missing, expected shape {expected:?}"),
            Self::Shape { name, found, expected } => {
                write!(f, "{name}: found shape {found:?}, expected {expected:?}")
            }
            Self::Type { name, found, expected } => {
                write!(f, "{name}: found numbers of type {found}, expected {expected}")
            }
            Self::Unknown { name, found } => {
                write!(
                    f,
                    "{name}: found with shape {found:?}, but the sizes in config.json leave no place for it"
                )
            }
            Self::NotFinite { name, index, found } => {
                write!(f, "{name}: found {found} at index {index}, expected finite numbers")
            }
        }
    }
}

/// The first twenty, one a line, and how many more there are.
fn list(problems: &[TensorProblem]) -> String {
    const MAX_LISTED: usize = 20;
    let mut text: String = problems.iter().take(MAX_LISTED).map(|p| format!("\n  {p}")).collect();
    if problems.len() > MAX_LISTED {
        text += &format!("\n  and {} more", problems.len() - MAX_LISTED);
    }
    text
}

fn shape(found: &Option<Vec<usize>>) -> String {
    found.as_ref().map_or("nothing".into(), |shape| format!("the shape {shape:?}"))
}
