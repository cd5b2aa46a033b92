//! What training costs in floating-point operations: the products with the trunk's weights, two operations a weight and token
//! forward and four more backward; a frozen layer only forward. Attention, norms and heads come on top; they are left out.

use crate::job::Model;

/// Operations of a training step for each token.
pub fn of_a_token(model: &Model) -> f64 {
    let maps = model.parameters.iter().filter(|p| p.is_map() && !p.name.starts_with("decoder."));
    maps.map(|p| (if p.trainable { 6.0 } else { 2.0 }) * p.size() as f64).sum()
}
