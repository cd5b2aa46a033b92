//! Whether one way of training is better than another: differences of scores over seeds and rows, and figures over several tasks.

mod block_means;
mod delta_m;
mod difference;
mod mean_rank;

pub use block_means::{BlockMeans, block_means, blocks};
pub use delta_m::delta_m;
pub use difference::{Difference, Replicates, Verdict};
pub use mean_rank::mean_ranks;
