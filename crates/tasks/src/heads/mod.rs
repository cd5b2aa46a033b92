//! The parts that heads are made of.

pub(crate) mod crf;
pub(crate) mod crf_head;
pub(crate) mod head;
pub(crate) mod pooling;
pub(crate) mod states;
pub(crate) mod thresholds;
