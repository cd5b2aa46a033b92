//! The parameters of a CRF, and its loss as part of the engine's graph.

use burn::tensor::{Tensor, TensorData};
use model::{Group, Init, Matrix, Parameters, Vector};

use crate::crf::Chain;
use crate::head::on_host;

/// Transitions `[tags, tags]` (from, to), start and end `[tags]`, as `head.TASK.transitions`, `.start` and `.end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainHead {
    transitions: Matrix,
    start: Vector,
    end: Vector,
}

impl ChainHead {
    /// Adds the chain's parameters, uniform in `+-0.1`.
    pub fn new(parameters: &mut Parameters, task: &str, tags: usize) -> Self {
        let group = Group::Task(task.to_owned());
        let init = || Init::Uniform(0.1);
        ChainHead {
            transitions: parameters.matrix(&group, &format!("head.{task}.transitions"), [tags, tags], init()),
            start: parameters.vector(&group, &format!("head.{task}.start"), tags, init()),
            end: parameters.vector(&group, &format!("head.{task}.end"), tags, init()),
        }
    }

    /// The chain as it stands.
    pub fn chain(&self, parameters: &Parameters) -> Chain {
        let vector = |v: Vector| widened(parameters.at(v).into_data());
        Chain::new(
            vector(self.start),
            widened(parameters.get(self.transitions).into_data()),
            vector(self.end),
        )
    }

    /// Negative log-likelihood of the gold tags divided by `items`, `[1]`. `logits` is `[words, tags]`, `rows` the word
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
        items: usize,
    ) -> Tensor<1> {
        let emissions: Vec<f64> = on_host(logits.clone()).into_iter().map(f64::from).collect();
        let loss = self.chain(parameters).loss(&emissions, rows, gold);
        let scale = 1.0 / items as f64;
        let device = logits.device();
        let narrow =
            |gradient: Vec<f64>| gradient.into_iter().map(|g| (g * scale) as f32).collect::<Vec<_>>();
        let vector = |input: Tensor<1>, gradient: Vec<f64>| {
            let shape = input.dims();
            (input * Tensor::from_data(TensorData::new(narrow(gradient), shape), &device)).sum()
        };
        let matrix = |input: Tensor<2>, gradient: Vec<f64>| {
            let shape = input.dims();
            (input * Tensor::from_data(TensorData::new(narrow(gradient), shape), &device)).sum()
        };
        let linear = matrix(logits, loss.emissions)
            + matrix(parameters.get(self.transitions), loss.transitions)
            + vector(parameters.at(self.start), loss.start)
            + vector(parameters.at(self.end), loss.end);
        linear.clone() - linear.detach() + (loss.sum * scale) as f32
    }
}

fn widened(data: TensorData) -> Vec<f64> {
    let numbers: Vec<f32> = data.try_into_vec().expect("parameters are f32");
    numbers.into_iter().map(f64::from).collect()
}
