//! The layer that most heads end with: dropout, then a linear map to one logit per label.

use burn::tensor::{Tensor, activation};
use kernels::{Noise, Precision};
use model::{Group, Init, Matrix, Parameters, Vector};

/// `logits = dropout(x) W^T + b`, `W` `[labels, hidden]`, `b` `[labels]`.
///
/// Both start uniform in `+-1/sqrt(hidden)`, as PyTorch's linear layers do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    weight: Matrix,
    bias: Vector,
}

impl Head {
    /// Adds `head.TASK.weight` and `head.TASK.bias` to the parameters.
    pub fn new(parameters: &mut Parameters, task: &str, hidden: usize, labels: usize) -> Self {
        let group = Group::Task(task.to_owned());
        let bound = 1.0 / (hidden as f32).sqrt();
        Head {
            weight: parameters.matrix(
                &group,
                &format!("head.{task}.weight"),
                [labels, hidden],
                Init::Uniform(bound),
            ),
            bias: parameters.vector(&group, &format!("head.{task}.bias"), labels, Init::Uniform(bound)),
        }
    }

    /// `[n, hidden]` to `[n, labels]`.
    pub fn logits(&self, parameters: &Parameters, x: Tensor<2>, noise: Option<Noise>) -> Tensor<2> {
        let (weight, bias) = (parameters.get(self.weight), parameters.at(self.bias));
        kernels::linear(kernels::dropout(x, noise), weight, bias, Precision::F32)
    }
}

/// The rate of dropout before the last layer, unless the config says otherwise.
pub(crate) fn usual_dropout() -> f32 {
    0.1
}

/// The dropout of a task in one step; none in evaluation.
pub(crate) fn noise(rate: f32, task: &str, seed: Option<u64>) -> Option<Noise> {
    seed.filter(|_| rate > 0.0).map(|seed| Noise::new(rate, data::random::seed_of(seed, task, 0)))
}

/// The numbers of a tensor `[n, labels]`, row after row.
pub(crate) fn on_host(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("states, weights and so logits are f32")
}

/// Softmax over each row, on the host.
pub(crate) fn probabilities(logits: Tensor<2>) -> Vec<f32> {
    on_host(activation::softmax(logits, 1))
}

/// The sigmoid of each number, on the host.
pub(crate) fn sigmoids(logits: Tensor<2>) -> Vec<f32> {
    on_host(activation::sigmoid(logits))
}

/// The largest of some values and where it is; the first of equals. NaN is never the largest.
pub(crate) fn largest(values: &[f32]) -> (usize, f32) {
    values
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (i, v)| if *v > best.1 { (i, *v) } else { best })
}
