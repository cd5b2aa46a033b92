//! Copies of the backbone's weights that tasks, or groups of tasks, have for themselves.

use super::TrunkShape;
use super::build::parameter_name;
use super::targets::freeze_base;
use crate::parameters::{Depth, Level, MatrixId, Owner, ParameterTensor, Parameters, Stack, VectorId};
use burn::tensor::Tensor;
use std::collections::BTreeMap;

/// For each owner, by the task that it is called by, the copy of each of some parameters of the backbone.
#[derive(Debug, Clone, Default)]
pub struct WeightCopies(BTreeMap<String, BTreeMap<usize, usize>>);

impl WeightCopies {
    /// Copies of `wanted` for each task, or with `shared` none. With `frozen` nothing else of the backbone is trained.
    pub(super) fn for_tasks(
        scheme: &'static str,
        (tasks, shared, frozen): (&[String], bool, bool),
        wanted: &[usize],
        parameters: &mut Parameters,
    ) -> Self {
        let mut copies = WeightCopies::default();
        if !shared {
            for task in tasks {
                copies.add(scheme, std::slice::from_ref(task), wanted, parameters);
            }
        }
        if frozen {
            freeze_base(parameters);
        }
        // What has copies is read by nobody.
        wanted.iter().for_each(|index| parameters.set_trainable(*index, shared));
        copies
    }

    /// Copies what `wanted` names of the backbone for a task or a group of tasks.
    pub(super) fn add(
        &mut self,
        scheme: &'static str,
        tasks: &[String],
        wanted: &[usize],
        parameters: &mut Parameters,
    ) {
        let Some(first) = tasks.first() else { return };
        let of = self.0.entry(first.clone()).or_default();
        for index in wanted {
            // Layers that have the same weights name them again.
            if of.contains_key(index) {
                continue;
            }
            let name = parameter_name(scheme, Some(first), &parameters.parameter(*index).name);
            of.insert(*index, parameters.add_copy(*index, name, Owner::Tasks(tasks.to_vec())));
        }
    }

    /// All copies of a task.
    pub(super) fn of(&self, task: &str) -> impl Iterator<Item = usize> {
        self.0.get(task).into_iter().flat_map(|of| of.values().copied())
    }

    /// Lets a task have the copies of another.
    pub(super) fn alias(&mut self, task: &str, of: &str, parameters: &[usize]) {
        let found: Vec<(usize, usize)> =
            parameters.iter().filter_map(|index| Some((*index, self.get(of, *index)?))).collect();
        self.0.entry(task.to_owned()).or_default().extend(found);
    }

    /// Whether a task has a copy of a parameter of the backbone.
    pub fn has_copies_of(&self, index: usize) -> bool {
        self.0.values().any(|copies| copies.contains_key(&index))
    }

    /// The copy of a parameter.
    pub(super) fn get(&self, task: &str, index: usize) -> Option<usize> {
        self.0.get(task)?.get(&index).copied()
    }

    /// What stands for a matrix of the backbone in the lane or column of a task; `None`: the backbone's.
    pub fn matrix(&self, task: &str, id: MatrixId, parameters: &Parameters) -> Option<Tensor<2>> {
        match parameters.parameter(self.get(task, id.index())?).value() {
            ParameterTensor::Matrix(matrix) => Some(matrix.clone()),
            ParameterTensor::Vector(_) => None,
        }
    }

    /// What stands for a vector of the backbone in the lane or column of a task; `None`: the backbone's.
    pub fn vector(&self, task: &str, id: VectorId, parameters: &Parameters) -> Option<Tensor<1>> {
        match parameters.parameter(self.get(task, id.index())?).value() {
            ParameterTensor::Vector(vector) => Some(vector.clone()),
            ParameterTensor::Matrix(_) => None,
        }
    }

    /// The copies of a task, as what they stand for.
    pub(super) fn merged(&self, task: &str, parameters: &Parameters) -> Vec<(usize, ParameterTensor)> {
        let of = self.0.get(task).into_iter().flatten();
        of.map(|(base, copy)| (*base, parameters.parameter(*copy).value().clone())).collect()
    }

    /// For each parameter of the backbone its copies, in the order of the owners' names.
    pub(super) fn by_parameter(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (base, copy) in self.0.values().flatten() {
            found.entry(*base).or_default().push(*copy);
        }
        found
    }
}

/// The backbone's parameters in the layers from `first` on, and above the last.
pub(super) fn parameters_from(first: usize, trunk: &TrunkShape, parameters: &Parameters) -> Vec<usize> {
    let is_there = |index: &usize| {
        let parameter = parameters.parameter(*index);
        parameter.is_base()
            && match parameter.depth {
                Some(Depth { stack: Stack::Encoder, level: Level::Layer(layer) }) => {
                    (first..trunk.layers.len()).contains(&usize::from(layer))
                }
                Some(Depth { stack: Stack::Encoder, level: Level::Output }) => true,
                _ => false,
            }
    };
    (0..parameters.len()).filter(is_there).collect()
}
