//! Adafactor: Adam's second moment from the means of rows and columns, without a first moment; steps relative to the weights.
//!
//! With the gradient `g` of a matrix `w`, the parameter's own count of updates `t` (from 1), the learning rate `r` of its group
//! times the schedule's factor, `b = t^-0.8` and `rms(x)` the root of the mean of squares
//!
//! ```text
//! a <- max(1e-3, rms(w)) min(r, 1 / sqrt(t))
//! R <- (1 - b) R + b mean of g^2 along each row
//! C <- (1 - b) C + b mean of g^2 along each column
//! u <- g / sqrt(max(R C / mean(R), eps^2))           eps: the precision of f32
//! w <- (1 - r decay) w - a u / max(1, rms(u) / clip)
//! ```
//!
//! as `torch.optim.Adafactor` has it. A vector keeps the mean of its squared gradient itself, in place of `R C / mean(R)`. Biases,
//! norms and other vectors do not decay. A parameter without a gradient in a step stands still.
//!
//! Defaults: `learning_rate = 0.01`, heads the same, `weight_decay = 0`, `clip = 1`. The rate is a share of the weights' size, so that
//! the usual ones lie far above Adam's. Cost: for a matrix `rows + columns` more numbers instead of twice its size.
//! When to use: large vocabularies and models whose optimizer does not fit into memory; T5 was trained with it.
//! Paper: Shazeer and Stern, *Adafactor*, ICML 2018.

use super::{Checks, Move, dense, norm};
use crate::{config::Fault, gradients::Gradient};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.adafactor]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdafactorConfig {
    /// The learning rate at its peak; 0.01 by default. It is relative to the size of the weights.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The learning rate of the heads, if not the same. A task's own `learning_rate` comes first.
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// What the learning rate of each layer of the trunk is multiplied by for every layer above it; 1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layer_decay: Option<f64>,
    /// How strongly matrices are drawn to zero, as a share of the learning rate; 0 by default.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// The largest root mean square of a step in units of its rate; a larger step is scaled down. 1 by default.
    #[schemars(range(min = 0.0))]
    pub clip: f64,
}

impl Default for AdafactorConfig {
    fn default() -> Self {
        AdafactorConfig {
            learning_rate: 0.01,
            head_learning_rate: None,
            layer_decay: None,
            weight_decay: 0.0,
            clip: 1.0,
        }
    }
}

/// How fast the memory of squared gradients grows: it keeps `1 - t^MEMORY`.
const MEMORY: f64 = -0.8;
/// The least size of weights that a step is relative to.
const LEAST: f64 = 1e-3;
const EPSILON: f64 = f32::EPSILON as f64;

impl AdafactorConfig {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut checks =
            Checks::of("adafactor", self.learning_rate, self.head_learning_rate, self.layer_decay);
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.01");
        checks.positive("clip", self.clip, "a number above 0, such as 1");
        checks.faults()
    }

    /// The new weight and its memory: the means of rows `[n, 1]` and columns `[1, m]` of a matrix, or the squares of a vector
    /// `[1, n]`.
    pub(super) fn step(
        &self,
        how: &Move,
        w: Tensor<2>,
        gradient: Gradient,
        memory: Vec<Tensor<2>>,
    ) -> (Tensor<2>, Vec<Tensor<2>>) {
        let g = dense(gradient, w.dims()[0]).mul_scalar(how.scale);
        let new = f64::from(how.time).powf(MEMORY);
        let mix = |old: Tensor<2>, now: Tensor<2>| old.clone() + (now - old).mul_scalar(new);
        let squares = g.clone() * g.clone();
        let (memory, estimate) = match <[Tensor<2>; 2]>::try_from(memory) {
            Ok([rows, columns]) => {
                let rows = mix(rows, squares.clone().mean_dim(1));
                let columns = mix(columns, squares.mean_dim(0));
                let mean = rows.clone().mean_dim(0).clamp_min(EPSILON);
                (vec![rows.clone(), columns.clone()], rows * columns / mean)
            }
            Err(whole) => {
                let old = whole.into_iter().next();
                let whole = mix(old.unwrap_or_else(|| squares.zeros_like()), squares);
                (vec![whole.clone()], whole)
            }
        };
        let size = rms(&w).clamp_min(LEAST).mul_scalar(how.rate.min(f64::from(how.time).powf(-0.5)));
        let step = g / estimate.clamp_min(EPSILON * EPSILON).sqrt();
        let longer = rms(&step).div_scalar(self.clip).clamp_min(1.0);
        (how.decayed(w, self.weight_decay) - step * (size / longer), memory)
    }
}

/// The root of the mean of the squares, `[1, 1]`.
fn rms(x: &Tensor<2>) -> Tensor<2> {
    let [n, m] = x.dims();
    norm(x).div_scalar(((n * m) as f64).sqrt())
}
