//! Passes without a gradient step: the trunk, evaluation and prediction, pooled states.

pub(crate) mod evaluate;
pub(crate) mod mean_pooled_states;
pub(crate) mod sampled_predictions;
pub(crate) mod task_input;
pub(crate) mod trunk;
