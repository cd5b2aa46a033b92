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
//! norms and other vectors do not decay. A parameter without a gradient in a step does not move.
//!
//! Defaults: `learning_rate = 0.01`, heads the same, `weight_decay = 0`, `clip = 1`. The rate is relative to the weights' size, so that
//! good ones lie far above Adam's. Cost: for a matrix `rows + columns` more values instead of twice its size.
//! When to use: large vocabularies and models whose optimizer does not fit into memory; T5 was trained with it.
//! Paper: Shazeer and Stern, *Adafactor*, ICML 2018.

use super::{GroupRates, Optimizer, ParamUpdate, RangeChecks, dense, is_vector, matrix, norm, tensor_of};
use crate::{config::SettingError, gradients::Gradient};
use burn::tensor::Tensor;
use kernels::{Element, Formula};
use model::{Parameter, ParameterTensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[optimizer.adafactor]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdafactorConfig {
    /// The learning rate at its peak; 0.01 by default. It is relative to the size of the weights.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The learning rate of what begins untrained (heads, adapters and a fresh decoder), if not the same. A task's own
    /// `head_learning_rate` comes first.
    #[schemars(range(min = 0.0))]
    pub head_learning_rate: Option<f64>,
    /// The learning rate of what a sharing scheme adds to the trunk (adapters, and what they are mixed by), if not that of heads. PEFT
    /// trains adapters and heads with one rate, of 1e-4 to 1e-3 with AdamW. Where it is set, a task's own `head_learning_rate` is that of
    /// its head alone.
    #[schemars(range(min = 0.0))]
    pub adapter_learning_rate: Option<f64>,
    /// What the learning rate of each layer of the trunk is multiplied by for every layer above it; 1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layerwise_lr_decay: Option<f64>,
    /// The decoupled weight decay of matrices, as a fraction of the learning rate; 0 by default.
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
            adapter_learning_rate: None,
            layerwise_lr_decay: None,
            weight_decay: 0.0,
            clip: 1.0,
        }
    }
}

/// The exponent of the second moment's decay: update `t` keeps `1 - t^DECAY_EXPONENT` of it.
const DECAY_EXPONENT: f64 = -0.8;
/// The smallest size of weights that a step is relative to.
const MIN_SIZE: f64 = 1e-3;
const EPSILON: f64 = f32::EPSILON as f64;

impl Optimizer for AdafactorConfig {
    fn rates(&self) -> GroupRates {
        GroupRates {
            trunk: self.learning_rate,
            heads: self.head_learning_rate,
            adapters: self.adapter_learning_rate,
            layerwise_lr_decay: self.layerwise_lr_decay,
        }
    }

    fn errors(&self) -> Vec<SettingError> {
        let mut checks = RangeChecks::of("adafactor", self.rates());
        checks.zero_or_more("weight_decay", self.weight_decay, "a number from 0, such as 0.01");
        checks.positive("clip", self.clip, "a number above 0, such as 1");
        checks.errors()
    }

    /// The means of rows and columns of a matrix, or the squares of a vector.
    fn state_shapes(&self, parameter: &Parameter) -> Vec<Vec<usize>> {
        match parameter.shape() {
            [rows, columns] => vec![vec![*rows], vec![*columns]],
            shape => vec![shape.to_vec()],
        }
    }

    fn apply(
        &self,
        update: &ParamUpdate,
        weight: ParameterTensor,
        gradient: Gradient,
        slots: Vec<ParameterTensor>,
    ) -> (ParameterTensor, Vec<ParameterTensor>) {
        let vector = is_vector(&weight);
        let mut means: Vec<Tensor<2>> = slots.into_iter().map(matrix).collect();
        if let [rows, _] = &mut means[..] {
            *rows = rows.clone().transpose();
        }
        let (w, means) = self.step(update, matrix(weight), gradient, means);
        let flat = |mean: Tensor<2>| {
            let [n, m] = mean.dims();
            tensor_of(mean.reshape([1, n * m]), true)
        };
        (tensor_of(w, vector), means.into_iter().map(flat).collect())
    }
}

impl AdafactorConfig {
    /// The new weight and its running means of squares: of rows `[n, 1]` and columns `[1, m]` of a matrix, or of a vector `[1, n]`
    /// itself.
    fn step(
        &self,
        update: &ParamUpdate,
        w: Tensor<2>,
        gradient: Gradient,
        means: Vec<Tensor<2>>,
    ) -> (Tensor<2>, Vec<Tensor<2>>) {
        let g = dense(gradient, w.dims()[0]);
        let new = f64::from(update.step).powf(DECAY_EXPONENT);
        let scale = update.scale;
        let (means, step) = match <[Tensor<2>; 2]>::try_from(means) {
            Ok([rows, columns]) => {
                let [of_rows, of_columns] = kernels::mean_squares(&g, scale);
                let [rows] = kernels::elementwise(&Mix { new }, [rows], [of_rows]);
                let [columns] = kernels::elementwise(&Mix { new }, [columns], [of_columns]);
                let mean = rows.clone().mean_dim(0).clamp_min(EPSILON);
                let read = [rows.clone(), columns.clone(), mean];
                let [step] = kernels::elementwise(&Direction { scale }, [g], read);
                (vec![rows, columns], step)
            }
            Err(whole) => {
                let old = whole.into_iter().next().unwrap_or_else(|| g.zeros_like());
                let [whole] = kernels::elementwise(&MixSquares { new, scale }, [old], [g.clone()]);
                let [step] = kernels::elementwise(&Direction { scale }, [g], [whole.clone()]);
                (vec![whole], step)
            }
        };
        let size = rms(&w).clamp_min(MIN_SIZE).mul_scalar(update.rate.min(f64::from(update.step).powf(-0.5)));
        let excess = rms(&step).div_scalar(self.clip).clamp_min(1.0);
        let formula = Step { update, weight_decay: self.weight_decay };
        let [w] = kernels::elementwise(&formula, [w], [step, size / excess]);
        (w, means)
    }
}

/// A running mean: `old + new (now - old)`.
struct Mix {
    new: f64,
}

impl Formula<1, 1> for Mix {
    fn apply<E: Element>(&self, [old]: [E; 1], [now]: [E; 1]) -> [E; 1] {
        [old.clone() + (now - old).mul_scalar(self.new)]
    }
}

/// The same of the squares of a gradient.
struct MixSquares {
    new: f64,
    scale: f64,
}

impl Formula<1, 1> for MixSquares {
    fn apply<E: Element>(&self, [old]: [E; 1], [g]: [E; 1]) -> [E; 1] {
        let g = g.mul_scalar(self.scale);
        [old.clone() + (g.clone() * g - old).mul_scalar(self.new)]
    }
}

/// A gradient over the root of its second moment: of a matrix the product of the means of its row and column, over the mean of all;
/// of a vector the mean of its squares.
struct Direction {
    scale: f64,
}

impl Direction {
    fn of<E: Element>(&self, g: E, moment: E) -> [E; 1] {
        [g.mul_scalar(self.scale) / moment.clamp_min(EPSILON * EPSILON).sqrt()]
    }
}

impl Formula<1, 3> for Direction {
    fn apply<E: Element>(&self, [g]: [E; 1], [row, column, mean]: [E; 3]) -> [E; 1] {
        self.of(g, row * column / mean)
    }
}

impl Formula<1, 1> for Direction {
    fn apply<E: Element>(&self, [g]: [E; 1], [moment]: [E; 1]) -> [E; 1] {
        self.of(g, moment)
    }
}

/// The weight after a step of a size.
struct Step<'a> {
    update: &'a ParamUpdate,
    weight_decay: f64,
}

impl Formula<1, 2> for Step<'_> {
    fn apply<E: Element>(&self, [w]: [E; 1], [direction, size]: [E; 2]) -> [E; 1] {
        [self.update.decayed(w, self.weight_decay) - direction * size]
    }
}

/// The root of the mean of the squares, `[1, 1]`.
fn rms(x: &Tensor<2>) -> Tensor<2> {
    let [n, m] = x.dims();
    norm(x).div_scalar(((n * m) as f64).sqrt())
}
