//! What can be known before a run: its plan, its memory and time, a learning rate.

pub(crate) mod gradient_memory;
pub(crate) mod lr_range_test;
pub(crate) mod measure;
pub(crate) mod plan;
pub(crate) mod probe_step;
