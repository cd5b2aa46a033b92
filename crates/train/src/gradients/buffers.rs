//! The numbers that a balancer keeps for every task and shared parameter (`balance::Rows::keeps_buffers`): smoothed gradients,
//! sums of squares. They take in what gradients are finite; a step that is refused for anything later (a direction beyond f32's
//! range) leaves them as they are.

use std::collections::BTreeMap;

/// By parameter, then by task.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    of: BTreeMap<usize, Vec<Vec<f32>>>,
}

impl Buffers {
    /// The buffers of a parameter, one a task, of so many numbers; zeros before the first step.
    pub(crate) fn of(&mut self, parameter: usize, tasks: usize, numbers: usize) -> &mut [Vec<f32>] {
        self.of.entry(parameter).or_insert_with(|| vec![vec![0.0; numbers]; tasks])
    }

    /// Takes up what [`Buffers::iter`] gave.
    pub(crate) fn put(&mut self, parameter: usize, tasks: Vec<Vec<f32>>) {
        self.of.insert(parameter, tasks);
    }

    /// The buffers of every parameter that has some, one a task.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[Vec<f32>])> {
        self.of.iter().map(|(parameter, tasks)| (*parameter, &tasks[..]))
    }
}
