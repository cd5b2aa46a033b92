//! The heads of tasks with early stopping of their own, as they were at their best.

use model::{Group, Parameters};
use std::collections::BTreeMap;

/// By parameter.
#[derive(Debug, Default)]
pub(crate) struct BestHeads {
    of: BTreeMap<usize, Vec<f32>>,
}

impl BestHeads {
    /// Keeps the head of a task as it is now.
    pub(crate) fn keep(&mut self, parameters: &Parameters, task: &str) {
        for index in of_task(parameters, task) {
            self.of.insert(index, parameters.data(index));
        }
    }

    /// Puts what was kept of the head of a task in its place.
    ///
    /// # Panics
    /// When the parameters are not those that it was kept of.
    pub(crate) fn put_back(&self, parameters: &mut Parameters, task: &str) {
        for index in of_task(parameters, task) {
            if let Some(values) = self.of.get(&index) {
                parameters.set_data(index, values.clone()).expect("as many numbers as were kept");
            }
        }
    }

    /// Takes up what [`BestHeads::iter`] gave.
    pub(crate) fn put(&mut self, parameter: usize, values: Vec<f32>) {
        self.of.insert(parameter, values);
    }

    /// Every parameter of which something is kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.of.iter().map(|(parameter, values)| (*parameter, &values[..]))
    }
}

fn of_task(parameters: &Parameters, task: &str) -> Vec<usize> {
    let wanted = Group::Task(task.into());
    (0..parameters.len()).filter(|index| parameters.parameter(*index).group == wanted).collect()
}
