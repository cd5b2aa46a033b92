//! A trunk for each task from a layer on, all of which run on all rows: the states of the tasks lie side by side.

use super::TrunkShape;
use super::build::check_own_layers;
use super::copies::{WeightCopies, parameters_from};
use crate::error::ModelError;
use crate::parameters::{Owner, Parameters};
use burn::tensor::Tensor;

/// The columns of a scheme.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// The lowest layer that each task has for itself.
    pub(super) first_layer: usize,
    /// The task of each column.
    pub(super) tasks: Vec<String>,
    /// The weights of the columns but for the first, which has the backbone's.
    pub(super) copies: WeightCopies,
}

impl Default for Columns {
    fn default() -> Self {
        Columns { first_layer: usize::MAX, tasks: Vec::new(), copies: WeightCopies::default() }
    }
}

impl Columns {
    /// A column for each task, all of which begin as the backbone. What the tasks have for themselves is needed by all of them.
    pub(super) fn build(
        scheme: &'static str,
        first_layer: usize,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<Self, ModelError> {
        check_own_layers(scheme, first_layer, trunk)?;
        let wanted = parameters_from(first_layer, trunk, parameters);
        let mut copies = WeightCopies::default();
        for task in tasks.iter().skip(1) {
            copies.add(scheme, std::slice::from_ref(task), &wanted, parameters);
            // The sums between the columns let every task train every column.
            copies.of(task).for_each(|copy| parameters.set_owner(copy, Owner::Trunk));
        }
        Ok(Columns { first_layer, tasks: tasks.to_vec(), copies })
    }

    /// The states that enter the columns, once for each.
    pub(super) fn begin(&self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        match layer == self.first_layer {
            true => kernels::join_columns(vec![x; self.tasks.len()]),
            false => x,
        }
    }

    /// The states of a task's column; of no task: of the first.
    pub(super) fn of_task(&self, task: Option<&str>, states: Tensor<2>) -> Tensor<2> {
        let width = states.dims()[1] / self.tasks.len();
        let column = self.tasks.iter().position(|own| Some(own.as_str()) == task).unwrap_or(0);
        kernels::take_columns(states, column * width..(column + 1) * width)
    }
}

/// The first layer of the upper half.
pub(super) fn half_of_the_layers(trunk: &TrunkShape) -> usize {
    trunk.layers.len() / 2
}
