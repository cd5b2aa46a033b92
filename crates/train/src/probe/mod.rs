//! What can be known before a run: its plan, its memory and time, a learning rate, what a step costs; and of a model, how much its losses
//! depend on each weight, and on each part of the trunk, and what its layers read.

pub(crate) mod chosen_steps;
pub(crate) mod gradient_memory;
pub(crate) mod importance;
pub(crate) mod input_statistics;
pub(crate) mod layer_losses;
pub(crate) mod lr_range_test;
pub(crate) mod measure;
pub(crate) mod plan;
pub(crate) mod probe_step;
mod row_gradients;
pub(crate) mod squared_gradients;
