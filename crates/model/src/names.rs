//! The names of parameters here and in a checkpoint, as data: one table serves making, loading and saving.

use crate::init::Init;
use crate::parameters::{Group, Matrix, Parameters, Vector};

/// Which tensors of a file make up one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The parameter's name in [`Parameters`].
    pub ours: String,
    /// Its tensors' names in `model.safetensors`, stacked along the first dimension in this order, in equal parts
    /// (query, key and value make up one matrix here).
    pub theirs: Vec<String>,
    /// The parameter's shape; a part's is the same with the first number divided by the number of parts.
    pub shape: Vec<usize>,
}

impl Entry {
    /// The shape of each of its tensors in the file.
    pub fn part_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first /= self.theirs.len().max(1);
        }
        shape
    }
}

/// All parameters of a backbone by both names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameTable(Vec<Entry>);

impl NameTable {
    /// Adds a parameter of this shape that is `theirs` stacked.
    pub fn push<S: Into<String>>(
        &mut self,
        ours: impl Into<String>,
        theirs: impl IntoIterator<Item = S>,
        shape: &[usize],
    ) {
        let theirs = theirs.into_iter().map(Into::into).collect();
        self.0.push(Entry { ours: ours.into(), theirs, shape: shape.to_vec() });
    }

    /// The entries in the order of the parameters.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Every name that the file has for them.
    pub fn theirs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|entry| entry.theirs.iter().map(String::as_str))
    }
}

/// Makes a table's parameters: shapes come from the table, first values from `first` (name, usual values), which a
/// checkpoint replaces by its own.
pub(crate) struct Maker<'a> {
    pub parameters: &'a mut Parameters,
    pub table: &'a NameTable,
    pub first: &'a mut dyn FnMut(&str, Init) -> Init,
}

impl Maker<'_> {
    fn shape(&self, ours: &str) -> &[usize] {
        let entry = self.table.0.iter().find(|entry| entry.ours == ours);
        &entry.expect("a backbone makes the parameters that its own table names").shape
    }

    pub fn matrix(&mut self, ours: &str, init: Init) -> Matrix {
        let shape = self.shape(ours).try_into().expect("the table gives matrices two sizes");
        self.parameters.matrix(&Group::Trunk, ours, shape, (self.first)(ours, init))
    }

    pub fn vector(&mut self, ours: &str, init: Init) -> Vector {
        let [len] = self.shape(ours).try_into().expect("the table gives vectors one size");
        self.parameters.vector(&Group::Trunk, ours, len, (self.first)(ours, init))
    }
}
