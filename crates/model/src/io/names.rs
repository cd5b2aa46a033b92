//! The parameters of a network as data, by their names here and in a checkpoint: one table serves making, loading and saving.

use crate::init::Init;
use crate::parameters::{Depth, MatrixId, Owner, ParameterSpec, Parameters, Role, VectorId};

/// Which tensors of a file make up one parameter, and what the parameter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The parameter's name in [`Parameters`].
    pub name: String,
    /// Its tensors' names in `model.safetensors`, stacked along the first dimension in this order, in equal parts
    /// (query, key and value make up one matrix here).
    pub hf_names: Vec<String>,
    /// The parameter's shape; a part's is the same with the first number divided by the number of parts.
    pub shape: Vec<usize>,
    /// What it does in the network; for a table of files alone it says nothing.
    pub role: Role,
    /// Where it stands.
    pub depth: Option<Depth>,
}

impl Entry {
    /// The shape of each of its tensors in the file.
    pub fn part_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first /= self.hf_names.len().max(1);
        }
        shape
    }
}

/// All parameters of a network by both names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameTable(Vec<Entry>);

impl NameTable {
    /// Adds a parameter of this shape that is the tensors `hf_names` stacked.
    pub fn push<S: Into<String>>(
        &mut self,
        name: impl Into<String>,
        hf_names: impl IntoIterator<Item = S>,
        shape: &[usize],
        (role, depth): (Role, Depth),
    ) {
        let hf_names = hf_names.into_iter().map(Into::into).collect();
        self.0.push(Entry { name: name.into(), hf_names, shape: shape.to_vec(), role, depth: Some(depth) });
    }

    /// Adds a parameter that has the same name in its file.
    pub(crate) fn push_plain(&mut self, name: &str, shape: &[usize]) {
        let (name, hf_names, shape) = (name.to_owned(), vec![name.to_owned()], shape.to_vec());
        self.0.push(Entry { name, hf_names, shape, role: Role::Head, depth: None });
    }

    /// The entries in the order of the parameters.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Every name that the file has for them.
    pub fn hf_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|entry| entry.hf_names.iter().map(String::as_str))
    }
}

/// Makes the parameters of a table: shape, role and depth come from the table, first values from `first` (name, usual values),
/// which a checkpoint replaces by its own.
pub(crate) struct ParameterBuilder<'a> {
    pub parameters: &'a mut Parameters,
    pub table: &'a NameTable,
    pub first: &'a mut dyn FnMut(&str, Init) -> Init,
}

impl ParameterBuilder<'_> {
    fn spec<'t>(table: &'t NameTable, name: &str, init: Init) -> ParameterSpec<'t> {
        let entry = table.0.iter().find(|entry| entry.name == name);
        let Entry { name, shape, role, depth, .. } =
            entry.expect("a network makes the parameters that its own table names");
        let (owner, role, depth) = (Owner::Trunk, *role, *depth);
        ParameterSpec { name: name.as_str().into(), shape, owner, role, depth, init }
    }

    pub fn matrix(&mut self, name: &str, init: Init) -> MatrixId {
        let init = (self.first)(name, init);
        let spec = Self::spec(self.table, name, init);
        self.parameters.add_matrix(spec)
    }

    pub fn vector(&mut self, name: &str, init: Init) -> VectorId {
        let init = (self.first)(name, init);
        let spec = Self::spec(self.table, name, init);
        self.parameters.add_vector(spec)
    }
}
