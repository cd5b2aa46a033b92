//! What training costs in floating-point operations: the products with the trunk's weights, two operations a weight and token
//! forward and four more backward; a frozen layer only forward. Attention, norms and heads come on top; they are left out.

use crate::job::Model;
use model::Parameter;

/// Operations of a training step for each token, where the parameters whose names begin with `frozen` are frozen beside those that
/// the model has frozen now.
pub fn of_a_token(model: &Model, frozen: &[String]) -> f64 {
    let maps = model.parameters.iter().filter(|p| p.is_map() && !p.name.starts_with("decoder."));
    let trained =
        |p: &Parameter| p.trainable && !frozen.iter().any(|prefix| p.name.starts_with(prefix.as_str()));
    maps.map(|p| (if trained(p) { 6.0 } else { 2.0 }) * p.size() as f64).sum()
}
