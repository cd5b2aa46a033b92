//! The state that an optimizer keeps of every parameter. It is in the checkpoint, slot by slot.

use model::{ParameterTensor, Parameters};
use std::collections::BTreeMap;

/// The state of the optimizer, by parameter; `None` for a parameter that was never updated.
#[derive(Debug, Default)]
pub struct OptimizerState {
    pub(super) of: Vec<Option<ParameterState>>,
}

/// The state of one parameter: as many tensors, on the inner device, as its optimizer keeps
/// ([`super::OptimizerConfig::state_shapes`]), and how often the parameter was updated.
#[derive(Debug, Clone)]
pub(crate) struct ParameterState {
    pub(crate) slots: Vec<ParameterTensor>,
    pub(crate) step: u32,
}

impl OptimizerState {
    /// The state before the first step.
    pub fn new(parameters: usize) -> Self {
        OptimizerState { of: (0..parameters).map(|_| None).collect() }
    }

    /// The state out of those of all parameters.
    pub(crate) fn of(of: Vec<Option<ParameterState>>) -> Self {
        OptimizerState { of }
    }

    /// The states of all parameters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&ParameterState>> {
        self.of.iter().map(Option::as_ref)
    }

    /// Changes what is kept of a parameter number by number: the slots of its own shape. `change` gets the numbers, and how many a row has.
    pub(crate) fn change(&mut self, index: usize, shape: &[usize], change: impl Fn(&mut [f32], usize)) {
        let Some(Some(state)) = self.of.get_mut(index) else { return };
        let is_of_shape = |slot: &ParameterTensor| match slot {
            ParameterTensor::Vector(of) => of.dims()[..] == *shape,
            ParameterTensor::Matrix(of) => of.dims()[..] == *shape,
        };
        let slots = std::mem::take(&mut state.slots);
        let changed = |slot| if is_of_shape(&slot) { slot.changed(&change) } else { slot };
        state.slots = slots.into_iter().map(changed).collect();
    }

    /// How often each parameter was updated, by name.
    pub(crate) fn updates(&self, parameters: &Parameters) -> BTreeMap<String, u32> {
        let states = parameters.iter().zip(&self.of);
        states.filter_map(|(p, state)| Some((p.name.clone(), state.as_ref()?.step))).collect()
    }
}
