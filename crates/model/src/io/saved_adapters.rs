//! The bottleneck adapters of a saved model, apart from its network and heads.

use super::{SHARING, SafetensorsReader, read_json};
use crate::error::ModelError;
use crate::sharing::SharingConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a folder of a saved model has in `sharing.safetensors`, with the table that says what it is.
#[derive(Clone)]
pub(crate) struct SavedAdapters {
    dir: PathBuf,
    reader: Arc<SafetensorsReader>,
    /// The model's `[sharing]`.
    pub(crate) sharing: SharingConfig,
}

/// What the names of adapters begin with.
const PREFIX: &str = "sharing.adapters.";

impl SavedAdapters {
    /// Opens a folder that `polytask train` wrote.
    pub(crate) fn open(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("polytask.json");
        let json = read_json(&path)?;
        let sharing = json.get("sharing").cloned().unwrap_or_default();
        let sharing = serde_json::from_value(sharing.clone()).map_err(|error| ModelError::Config {
            path,
            key: "sharing".into(),
            found: sharing.to_string(),
            expected: format!("a sharing scheme: {error}"),
        })?;
        let reader = Arc::new(SafetensorsReader::open_file(&dir.join(SHARING))?);
        Ok(SavedAdapters { dir: dir.to_owned(), reader, sharing })
    }

    /// Each task that has adapters, their width and their lowest layer. Adapters of all tasks have no task: the folder's name stands for it.
    pub(crate) fn tasks(&self) -> Vec<(String, usize, usize)> {
        let mut found: Vec<(String, usize, usize)> = Vec::new();
        for name in self.reader.names() {
            let Some((task, layer)) = name
                .strip_prefix(PREFIX)
                .and_then(|name| name.strip_suffix(".feed_forward.down.bias"))
                .and_then(|name| name.rsplit_once(".layer."))
            else {
                continue;
            };
            let (Ok(layer), Some(width)) =
                (layer.parse::<usize>(), self.reader.info(name).map(|i| i.shape[0]))
            else {
                continue;
            };
            let task = task.replace("..", ".");
            match found.iter_mut().find(|(known, ..)| *known == task) {
                Some((_, _, lowest)) => *lowest = layer.min(*lowest),
                None => found.push((task, width, layer)),
            }
        }
        found.sort();
        found
    }

    /// The values of a task's adapter in a layer: down and its bias, up and its bias.
    pub(crate) fn values(
        &self,
        task: &str,
        layer: usize,
        [hidden, width]: [usize; 2],
    ) -> Result<[Vec<f32>; 4], ModelError> {
        let of = |part: &str, expected: &[usize]| {
            let name = format!("{PREFIX}{}.layer.{layer}.feed_forward.{part}", task.replace('.', ".."));
            let problem = match self.reader.info(&name) {
                None => {
                    let expected = expected.to_vec();
                    Some(crate::error::TensorProblem::Missing { name: name.clone(), expected })
                }
                Some(info) => super::safetensors_reader::check(&name, info, expected),
            };
            let mut values = Vec::new();
            let problem = match problem {
                Some(problem) => Some(problem),
                None => self.reader.append(&name, &mut values)?,
            };
            match problem {
                None => Ok(values),
                Some(problem) => Err(ModelError::Weights {
                    path: self.dir.join(SHARING),
                    problems: vec![problem],
                    remedy: "adapters that were trained on the checkpoint that this run begins with".into(),
                }),
            }
        };
        Ok([
            of("down.weight", &[width, hidden])?,
            of("down.bias", &[width])?,
            of("up.weight", &[hidden, width])?,
            of("up.bias", &[hidden])?,
        ])
    }
}
