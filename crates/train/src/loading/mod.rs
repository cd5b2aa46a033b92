//! What is drawn when: phases, the plan of steps, and the loader that makes packs of rows.

pub(crate) mod loader;
pub(crate) mod lookahead;
pub(crate) mod per_example_losses;
pub(crate) mod phases;
pub(crate) mod spread;
pub(crate) mod step_plan;
