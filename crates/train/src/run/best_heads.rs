//! The private parameters of tasks with early stopping of their own, heads above all, as they were at their best.

use model::{Parameters, Role};
use std::collections::BTreeMap;

/// By parameter.
#[derive(Debug, Default)]
pub(crate) struct BestHeads {
    of: BTreeMap<usize, Vec<f32>>,
}

impl BestHeads {
    /// Keeps the private parameters of a task as they are now.
    pub(crate) fn keep(&mut self, parameters: &Parameters, task: &str) {
        for index in of_task(parameters, task) {
            self.of.insert(index, parameters.data(index));
        }
    }

    /// Restores the private parameters of a task as they were kept.
    ///
    /// # Panics
    /// When the parameters are not those that were kept.
    pub(crate) fn restore(&self, parameters: &mut Parameters, task: &str) {
        for index in of_task(parameters, task) {
            if let Some(values) = self.of.get(&index) {
                parameters.set_data(index, values.clone()).expect("as many values as were kept");
            }
        }
    }

    /// Inserts what [`BestHeads::iter`] gave.
    pub(crate) fn put(&mut self, parameter: usize, values: Vec<f32>) {
        self.of.insert(parameter, values);
    }

    /// Every parameter of which something is kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.of.iter().map(|(parameter, values)| (*parameter, &values[..]))
    }
}

/// The head that is named after the task, and what is private to it in the trunk.
fn of_task(parameters: &Parameters, task: &str) -> Vec<usize> {
    let is_of_task = |index: &usize| {
        let parameter = parameters.parameter(*index);
        let own = parameter.role == Role::Head || !parameter.is_shared();
        own && parameter.owner.first_task() == Some(task)
    };
    (0..parameters.len()).filter(is_of_task).collect()
}
