//! What of each parameter stays when structures are cut, and the tensors that are left as a checkpoint to be opened.

use crate::backbones::BackboneSpec;
use crate::error::{ModelError, TensorProblem};
use crate::io::{TensorReader, not_finite};
use crate::parameters::Parameters;
use safetensors::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows and columns of parameters that go, by the indices of these.
#[derive(Debug, Default)]
pub(super) struct Removed {
    rows: BTreeMap<usize, BTreeSet<usize>>,
    columns: BTreeMap<usize, BTreeSet<usize>>,
}

/// What of a parameter is cut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CutWeights {
    /// Its index.
    pub parameter: usize,
    /// Rows of a matrix, or numbers of a vector; rising.
    pub rows: Vec<usize>,
    /// Columns of a matrix; rising.
    pub columns: Vec<usize>,
}

impl CutWeights {
    /// Sets the numbers that are cut, of a matrix of so many columns (a vector has one), to zero.
    pub fn zero(&self, values: &mut [f32], width: usize) {
        for row in &self.rows {
            values[row * width..(row + 1) * width].fill(0.0);
        }
        if self.columns.is_empty() {
            return;
        }
        for row in values.chunks_mut(width) {
            self.columns.iter().for_each(|column| row[*column] = 0.0);
        }
    }
}

impl Removed {
    /// By parameter.
    pub fn weights(self) -> Vec<CutWeights> {
        let mut found: BTreeMap<usize, CutWeights> = BTreeMap::new();
        for (parameter, rows) in self.rows {
            found.entry(parameter).or_default().rows = rows.into_iter().collect();
        }
        for (parameter, columns) in self.columns {
            found.entry(parameter).or_default().columns = columns.into_iter().collect();
        }
        found.into_iter().map(|(parameter, of)| CutWeights { parameter, ..of }).collect()
    }

    /// Some rows of a matrix, or numbers of a vector, go.
    pub fn rows(&mut self, parameter: usize, rows: impl IntoIterator<Item = usize>) {
        self.rows.entry(parameter).or_default().extend(rows);
    }

    /// Some columns of a matrix go.
    pub fn columns(&mut self, parameter: usize, columns: impl IntoIterator<Item = usize>) {
        self.columns.entry(parameter).or_default().extend(columns);
    }

    /// What is left of the numbers of a parameter, and its shape.
    fn left_of(&self, index: usize, parameters: &Parameters) -> (Vec<usize>, Vec<f32>) {
        let (mut shape, values) = (parameters.shape(index), parameters.data(index));
        let kept = |of: &BTreeMap<usize, BTreeSet<usize>>, count: usize| -> Vec<usize> {
            let removed = of.get(&index);
            (0..count).filter(|at| removed.is_none_or(|removed| !removed.contains(at))).collect()
        };
        let width = shape.get(1).copied().unwrap_or(1);
        let (rows, columns) = (kept(&self.rows, shape[0]), kept(&self.columns, width));
        if rows.len() == shape[0] && columns.len() == width {
            return (shape, values);
        }
        let left = rows.iter().flat_map(|row| columns.iter().map(move |column| row * width + column));
        let left = left.map(|at| values[at]).collect();
        shape[0] = rows.len();
        shape.iter_mut().skip(1).for_each(|width| *width = columns.len());
        (shape, left)
    }
}

/// The tensors of a network of which something was cut, under the names that they have in files.
#[derive(Debug)]
pub(crate) struct CutTensors {
    path: PathBuf,
    tensors: BTreeMap<String, CutTensor>,
}

#[derive(Debug)]
struct CutTensor {
    shape: Vec<usize>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// Of the network.
    Numbers(Vec<f32>),
    /// What it carries from file to file.
    Carried(Dtype, Arc<[u8]>),
}

impl CutTensors {
    /// What is left of a network; `path` is what it is called in errors. Where the width of states was cut, of which there were `width`
    /// dimensions, what the network carries along without using it goes if it has that size (a pooler).
    pub(super) fn new(
        spec: &BackboneSpec,
        parameters: &Parameters,
        (removed, width): (&Removed, Option<usize>),
        path: &Path,
    ) -> Self {
        let mut tensors = BTreeMap::new();
        for entry in spec.names.entries() {
            let index = parameters.find(&entry.name).expect("its network made the parameters in this table");
            let (mut shape, values) = removed.left_of(index, parameters);
            shape[0] /= entry.hf_names.len();
            let size = shape.iter().product::<usize>().max(1);
            for (name, part) in entry.hf_names.iter().zip(values.chunks(size)) {
                let tensor = CutTensor { shape: shape.clone(), values: Values::Numbers(part.to_vec()) };
                tensors.insert(name.clone(), tensor);
            }
        }
        let stays = |shape: &[usize]| width.is_none_or(|width| !shape.contains(&width));
        for kept in spec.passthrough.iter().filter(|kept| stays(&kept.shape)) {
            let values = Values::Carried(kept.dtype, kept.bytes.clone());
            tensors.insert(kept.name.clone(), CutTensor { shape: kept.shape.clone(), values });
        }
        CutTensors { path: path.to_owned(), tensors }
    }
}

impl TensorReader for CutTensors {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &tensor.shape[..])
    }

    fn check(&self, name: &str, expected: &[usize]) -> Option<TensorProblem> {
        let found = self.shape(name)?;
        (found != expected).then(|| TensorProblem::Shape {
            name: name.to_owned(),
            found: found.to_vec(),
            expected: expected.to_vec(),
        })
    }

    fn raw(&self, name: &str) -> Result<(Dtype, Vec<usize>, Vec<u8>), ModelError> {
        let CutTensor { shape, values } = &self.tensors[name];
        Ok(match values {
            Values::Numbers(values) => {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                (Dtype::F32, shape.clone(), bytes)
            }
            Values::Carried(dtype, bytes) => (*dtype, shape.clone(), bytes.to_vec()),
        })
    }

    fn append(&self, name: &str, values: &mut Vec<f32>) -> Result<Option<TensorProblem>, ModelError> {
        let first = values.len();
        if let Values::Numbers(numbers) = &self.tensors[name].values {
            values.extend_from_slice(numbers);
        }
        Ok(not_finite(name, values, first))
    }
}
