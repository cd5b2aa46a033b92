//! Scores of predicted numbers, and distances between distributions of points.

mod logistic;
mod mean_absolute_error;
mod pearson;
mod proxy_a_distance;
mod rmse;
mod spearman;

pub use logistic::Logistic;
pub use mean_absolute_error::mean_absolute_error;
pub use pearson::pearson;
pub use proxy_a_distance::{FEWEST_POINTS, ProxyADistance, proxy_a_distance};
pub use rmse::rmse;
pub use spearman::spearman;
