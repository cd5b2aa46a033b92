//! Gates: what weights experts, by the softmax of scores that are a function of a token, of its row, or of nothing.

use super::super::build::{OfTask, SchemeParameters};
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Owner, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a gate looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateInput {
    /// The state of the token.
    #[default]
    Token,
    /// The mean of the states of the row's sequence.
    Row,
    /// Nothing: the weights are the task's.
    Task,
}

/// The gate of a task.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Gate {
    input: GateInput,
    /// `[experts, hidden]`; by task `[1, experts]`.
    scores: MatrixId,
}

impl Gate {
    /// A gate over so many experts. One that looks at states begins at random, as PyTorch's linear maps do; one that does not, equal.
    pub(in super::super) fn build(
        (scheme, name): (&'static str, &str),
        owner: &OfTask,
        input: GateInput,
        [experts, hidden]: [usize; 2],
        parameters: &mut Parameters,
    ) -> Self {
        let mut make = SchemeParameters { scheme, parameters };
        let (shape, init) = match input {
            GateInput::Token | GateInput::Row => {
                ([experts, hidden], Init::Uniform((hidden as f32).powf(-0.5)))
            }
            GateInput::Task => ([1, experts], Init::Zeros),
        };
        Gate { input, scores: make.matrix((owner, name), shape, (Role::Gate, Level::Output), init) }
    }

    /// Makes it the trunk's: all tasks train it.
    pub(in super::super) fn share(&self, parameters: &mut Parameters) {
        parameters.set_owner(self.scores.index(), Owner::Trunk);
    }

    /// The weights of the experts: `[n, experts]`, or `[1, experts]` for all rows, of states `x` `[n, hidden]` whose sequences begin and
    /// end at `rows`.
    pub(in super::super) fn weights(
        &self,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        rows: &RowOffsets,
    ) -> Tensor<2> {
        let scores = context.matrix(self.scores);
        let linear = |x: Tensor<2>| kernels::softmax(context.product(x, scores.clone()));
        match self.input {
            GateInput::Task => kernels::softmax(scores),
            GateInput::Token => linear(x),
            GateInput::Row => by_token(linear(kernels::segment_mean(x, rows)), rows),
        }
    }
}

/// What is known of each row, for each of its tokens: `[rows, k]` as `[tokens, k]`.
pub(in super::super) fn by_token(of_rows: Tensor<2>, rows: &RowOffsets) -> Tensor<2> {
    let row = |(number, row): (u32, &[usize])| vec![number; row[1] - row[0]];
    let index: Vec<u32> = (0..).zip(rows.windows(2)).flat_map(row).collect();
    kernels::gather_rows(of_rows, &index)
}
