//! What training costs in floating-point operations: the products with the trunk's weights, two operations a weight and token
//! forward and four more backward; a frozen layer only forward. Attention, norms and heads come on top; they are left out.

use crate::job::Model;
use model::{Role, Stack};

/// Operations of a training step for each token, where the first `frozen` layers are frozen beside what the model has frozen now. Of
/// a token of the encoder: a decoder runs over other tokens.
pub fn flops_per_token(model: &Model, frozen: Option<usize>) -> f64 {
    let parameters = &model.parameters;
    let flops = |index: usize| {
        let still = frozen.is_some_and(|layers| model.trunk.is_frozen_at(parameters, index, layers));
        (if parameters.parameter(index).trainable && !still { 6.0 } else { 2.0 }) * products(model, index)
    };
    (0..parameters.len()).map(flops).sum()
}

/// Operations of a forward pass for each token.
pub fn forward_flops_per_token(model: &Model) -> f64 {
    (0..model.parameters.len()).map(|index| 2.0 * products(model, index)).sum()
}

/// The weights of a parameter that a token of the encoder is multiplied with.
fn products(model: &Model, index: usize) -> f64 {
    let p = model.parameters.parameter(index);
    let of_encoder = p.depth.is_some_and(|depth| depth.stack == Stack::Encoder);
    let is_product = matches!(p.role, Role::Linear | Role::Adapter) && p.shape().len() == 2;
    if !of_encoder || !is_product {
        return 0.0;
    }
    // Private weights see the tokens of their task alone.
    let share = if p.is_shared() { 1.0 } else { 1.0 / model.tasks.len().max(1) as f64 };
    // What several layers have, a token meets in each.
    let uses = model.trunk.spec().shape().uses(index).max(1) as f64;
    p.size() as f64 * uses * share * model.trunk.sharing().used_share(&model.parameters, index)
}
