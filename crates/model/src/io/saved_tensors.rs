//! The weights of a saved model's trunk, tensor by tensor, so that nobody has to hold several models at once.

use super::names::Entry;
use super::tensor_reader::TensorReader;
use super::{CONFIG, DECODER, GgufReader, SHARING, SafetensorsReader, checkpoint};
use crate::error::ModelError;
use std::path::{Path, PathBuf};

/// The files with the weights of a trunk that [`super::save`] wrote, or of a checkpoint that [`super::open`] opens.
#[derive(Debug)]
pub struct SavedTensors {
    dir: PathBuf,
    files: Vec<Box<dyn TensorReader>>,
}

impl SavedTensors {
    /// Opens the GGUF file that `dir` stands for, or the files in `dir`: the backbone's, and the sharing scheme's and the decoder's where they are there.
    ///
    /// # Errors
    /// [`ModelError`]: a file that cannot be read, or is broken.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        if let Some(file) = gguf::of_model(dir).map_err(|error| super::gguf::from_gguf(dir, error))? {
            let (reader, _) = GgufReader::open(&file)?;
            return Ok(SavedTensors { dir: dir.to_owned(), files: vec![Box::new(reader)] });
        }
        // Matrices that are two factors are multiplied out.
        let backbone = match dir.join(CONFIG).is_file() {
            true => checkpoint(dir)?.0.open()?,
            false => Box::new(SafetensorsReader::open(dir)?),
        };
        let mut files = vec![backbone];
        for name in [SHARING, DECODER] {
            let path = dir.join(name);
            if path.is_file() {
                files.push(Box::new(SafetensorsReader::open_file(&path)?));
            }
        }
        Ok(SavedTensors { dir: dir.to_owned(), files })
    }

    /// The numbers of a parameter, stacked as its network has them; `None` where the files have no such tensor of its shape.
    ///
    /// # Errors
    /// [`ModelError`]: a file that cannot be read, numbers that are not finite.
    pub fn values(&self, entry: &Entry) -> Result<Option<Vec<f32>>, ModelError> {
        let mut stacked = Vec::with_capacity(entry.shape.iter().product());
        for name in &entry.hf_names {
            let Some(file) = self.files.iter().find(|file| file.shape(name).is_some()) else {
                return Ok(None);
            };
            if file.check(name, &entry.part_shape()).is_some() {
                return Ok(None);
            }
            if let Some(problem) = file.append(name, &mut stacked)? {
                let (path, problems) = (file.path().to_owned(), vec![problem]);
                let remedy = "another copy: nothing was written".into();
                return Err(ModelError::Weights { path, problems, remedy });
            }
        }
        Ok(Some(stacked))
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
