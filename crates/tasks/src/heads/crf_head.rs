//! The parameters of a CRF, and its loss as part of the autodiff graph.

use burn::tensor::{Tensor, TensorData};
use model::onnx::OnnxGraph;
use model::{Init, MatrixId, Parameters, VectorId};
use serde_json::json;

use crate::heads::crf::LinearChainCrf;
use crate::heads::head::to_host_vec;

/// Transitions `[tags, tags]` (from, to), start and end `[tags]`, as `head.TASK.transitions`, `.start` and `.end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CrfHead {
    transitions: MatrixId,
    start: VectorId,
    end: VectorId,
}

impl CrfHead {
    /// Adds the chain's parameters, uniform in `+-0.1`.
    pub fn new(parameters: &mut Parameters, task: &str, tags: usize) -> Self {
        let init = || Init::Uniform(0.1);
        let mut head = parameters.head(task);
        CrfHead {
            transitions: head.matrix("transitions", [tags, tags], init()),
            start: head.vector("start", tags, init()),
            end: head.vector("end", tags, init()),
        }
    }

    /// The chain with the current scores.
    pub fn chain(&self, parameters: &Parameters) -> LinearChainCrf {
        let vector = |v: VectorId| to_f64(parameters.vector(v).into_data());
        LinearChainCrf::new(
            vector(self.start),
            to_f64(parameters.matrix(self.transitions).into_data()),
            vector(self.end),
        )
    }

    /// Its scores as JSON, as a graph has them: lists `transitions` (from, to), `start` and `end`.
    pub fn scores(&self, graph: &OnnxGraph) -> serde_json::Value {
        let transitions = graph.weights().data(self.transitions.index());
        let tags = graph.weights().data(self.start.index());
        let rows: Vec<&[f32]> = transitions.chunks(tags.len()).collect();
        json!({ "transitions": rows, "start": tags, "end": graph.weights().data(self.end.index()) })
    }

    /// Negative log-likelihood of the gold tags divided by `num_targets`, `[1]`. `logits` is `[words, tags]`, `rows` the word
    /// offsets of the rows.
    ///
    /// Value and gradients are computed on the host. The graph gets the linear function that has just these gradients,
    /// `sum_p <p, dL/dp>` over the inputs `p`, shifted to the value of the loss: for first derivatives that is the loss.
    pub fn loss(
        &self,
        parameters: &Parameters,
        logits: Tensor<2>,
        rows: &[usize],
        gold: &[u32],
        num_targets: usize,
    ) -> Tensor<1> {
        let emissions: Vec<f64> = to_host_vec(logits.clone()).into_iter().map(f64::from).collect();
        let loss = self.chain(parameters).loss(&emissions, rows, gold);
        let scale = 1.0 / num_targets as f64;
        let device = logits.device();
        let to_f32 =
            |gradient: Vec<f64>| gradient.into_iter().map(|g| (g * scale) as f32).collect::<Vec<_>>();
        let vector = |input: Tensor<1>, gradient: Vec<f64>| {
            let shape = input.dims();
            (input * Tensor::from_data(TensorData::new(to_f32(gradient), shape), &device)).sum()
        };
        let matrix = |input: Tensor<2>, gradient: Vec<f64>| {
            let shape = input.dims();
            (input * Tensor::from_data(TensorData::new(to_f32(gradient), shape), &device)).sum()
        };
        let linear = matrix(logits, loss.emissions)
            + matrix(parameters.matrix(self.transitions), loss.transitions)
            + vector(parameters.vector(self.start), loss.start)
            + vector(parameters.vector(self.end), loss.end);
        linear.clone() - linear.detach() + (loss.sum * scale) as f32
    }
}

fn to_f64(data: TensorData) -> Vec<f64> {
    let values: Vec<f32> = data.try_into_vec().expect("parameters are f32");
    values.into_iter().map(f64::from).collect()
}
