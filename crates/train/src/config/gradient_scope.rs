//! Over what the gradients of the tasks are compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `train.gradient_scope`: over what the gradients of the tasks are compared by a method that looks at them. The weights that
/// the method finds hold for all shared parameters, whatever the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GradientScope {
    /// All shared parameters: exact, and a gradient as large as they are for each task.
    #[default]
    AllShared,
    /// The last layer that the tasks share (Chen et al. 2018, GradNorm): a gradient of its size for each task. What lies below
    /// it runs once for all tasks, forwards and backwards.
    LastLayer,
    /// The states that the heads get, the shared representation (Sener and Koltun 2018, MGDA-UB): hardly any memory. Tasks
    /// without rows in common never conflict there; a method then sees how long their gradients are, and no more.
    Representation,
}

impl GradientScope {
    /// Whether it is the one that is taken where none is named.
    pub(crate) fn is_default(&self) -> bool {
        *self == GradientScope::default()
    }
}
