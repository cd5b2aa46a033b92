//! What an optimizer remembers of every parameter. It is in the checkpoint, part by part.

use model::{Parameters, Weight};
use std::collections::BTreeMap;

/// The memory of the optimizer. `None` for a parameter that has not moved yet.
#[derive(Debug, Default)]
pub struct Moments {
    pub(super) of: Vec<Option<Moment>>,
}

/// The memory of one parameter: so many tensors, on the inner device, as its optimizer keeps
/// ([`super::Optimizing::memory`]), and how often the parameter moved.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) parts: Vec<Weight>,
    pub(crate) time: u32,
}

impl Moments {
    /// The memory before the first step.
    pub fn new(parameters: usize) -> Self {
        Moments { of: (0..parameters).map(|_| None).collect() }
    }

    /// The memory out of its parts, one per parameter.
    pub(crate) fn of(of: Vec<Option<Moment>>) -> Self {
        Moments { of }
    }

    /// The parts, one per parameter.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&Moment>> {
        self.of.iter().map(Option::as_ref)
    }

    /// How often each parameter moved, by name.
    pub(crate) fn updates(&self, parameters: &Parameters) -> BTreeMap<String, u32> {
        let moved = parameters.iter().zip(&self.of);
        moved.filter_map(|(p, moment)| Some((p.name.clone(), moment.as_ref()?.time))).collect()
    }
}
