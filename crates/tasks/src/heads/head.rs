//! The layer that most heads end with: dropout, then a linear layer to one logit per label.

use burn::tensor::{Tensor, activation};
use kernels::{Dropout, Precision};
use model::onnx::{OnnxGraph, Value};
use model::{Init, MatrixId, Parameters, VectorId};

/// `logits = dropout(x) W^T + b`, `W` `[labels, hidden]`, `b` `[labels]`.
///
/// Both are initialized uniformly in `+-1/sqrt(hidden)`, as PyTorch's linear layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinearHead {
    weight: MatrixId,
    bias: VectorId,
}

impl LinearHead {
    /// Adds `head.TASK.weight` and `head.TASK.bias` to the parameters.
    pub fn new(parameters: &mut Parameters, task: &str, hidden: usize, labels: usize) -> Self {
        let bound = 1.0 / (hidden as f32).sqrt();
        let mut head = parameters.head(task);
        LinearHead {
            weight: head.matrix("weight", [labels, hidden], Init::Uniform(bound)),
            bias: head.vector("bias", labels, Init::Uniform(bound)),
        }
    }

    /// `[n, hidden]` to `[n, labels]`.
    pub fn logits(&self, parameters: &Parameters, x: Tensor<2>, dropout: Option<Dropout>) -> Tensor<2> {
        let (weight, bias) = (parameters.matrix(self.weight), parameters.vector(self.bias));
        kernels::linear(kernels::dropout(x, dropout), weight, bias, Precision::F32)
    }

    /// The same in a graph, `[.., hidden]` to `[.., labels]`.
    pub fn onnx(&self, graph: &mut OnnxGraph, x: &Value) -> Value {
        graph.head_linear(x, self.weight, self.bias)
    }
}

/// The default rate of dropout before the last layer.
pub(crate) fn default_dropout() -> f32 {
    0.1
}

/// The dropout of a task in one step; none in evaluation.
pub(crate) fn dropout(rate: f32, task: &str, seed: Option<u64>) -> Option<Dropout> {
    seed.filter(|_| rate > 0.0).map(|seed| Dropout::new(rate, data::random::derive_seed(seed, task, 0)))
}

/// The values of a tensor `[n, labels]`, row after row.
pub(crate) fn to_host_vec(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("states, weights and so logits are f32")
}

/// Softmax over each row, on the host.
pub(crate) fn probabilities(logits: Tensor<2>) -> Vec<f32> {
    to_host_vec(activation::softmax(logits, 1))
}

/// The sigmoid of each logit, on the host; NaN of a logit that is not finite, which comes of weights that have overflowed.
pub(crate) fn sigmoids(logits: Tensor<2>) -> Vec<f32> {
    let mut sigmoids = to_host_vec(activation::sigmoid(logits.clone()));
    for (sigmoid, logit) in sigmoids.iter_mut().zip(to_host_vec(logits)) {
        if !logit.is_finite() {
            *sigmoid = f32::NAN;
        }
    }
    sigmoids
}

/// The index and the value of the maximum; the first of equal values. NaN is never the maximum.
pub(crate) fn argmax(values: &[f32]) -> (usize, f32) {
    values
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (i, v)| if *v > best.1 { (i, *v) } else { best })
}
