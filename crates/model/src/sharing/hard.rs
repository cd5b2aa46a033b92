//! Hard sharing: all tasks have the same trunk, and each a head of its own.
//!
//! ```text
//! states = trunk(tokens)        for every task
//! ```
//!
//! Cost: one pass through the trunk for all tasks of a row. Nothing is added.
//! When to use: first. It has the fewest parameters and the least computation, and regularizes most.
//! Paper: Caruana 1997, "Multitask learning".

use super::{Sharing, SharingConfig};
use crate::parameters::{ParameterTensor, Parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[sharing.hard]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HardConfig {}

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hard;

impl Hard {
    pub(super) fn new(_config: HardConfig) -> Self {
        Hard
    }
}

impl Sharing for Hard {
    fn config(&self) -> SharingConfig {
        SharingConfig::default()
    }

    fn merged(&self, _task: &str, _parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        Some(Vec::new())
    }
}
