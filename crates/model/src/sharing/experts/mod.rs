//! Experts over the states of the trunk, and gates that weight them: what MMoE, CGC, PLE and DSelect-k are made of.

mod gate;
mod router;
mod routing;

pub use gate::GateInput;
pub(super) use gate::{Gate, by_token};
pub(super) use router::Router;
pub use router::RouterInput;

use super::build::{OfTask, SchemeParameters};
use super::targets::refused;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Owner, Parameters, Role, VectorId};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;

/// Experts `x + W2 gelu(W1 x + b1) + b2`, which begin as `x`.
#[derive(Debug, Clone, Default)]
pub(super) struct StateExperts(Vec<Expert>);

#[derive(Debug, Clone, Copy)]
struct Expert {
    inside: (MatrixId, VectorId),
    outside: (MatrixId, VectorId),
}

impl StateExperts {
    /// So many experts of a task, or of all, called by `kind`; `hidden` is the width of a state, `width` that inside.
    pub(super) fn build(
        (scheme, kind): (&'static str, &str),
        owner: &OfTask,
        experts: usize,
        [hidden, width]: [usize; 2],
        parameters: &mut Parameters,
    ) -> Result<Self, ModelError> {
        if width == 0 || width > 65_536 {
            return Err(refused(scheme, "width", width, "from 1 to 65536"));
        }
        let mut make = SchemeParameters { scheme, parameters };
        let at = (Role::Adapter, Level::Output);
        let mut expert = |number: usize| {
            let mut linear = |part: &str, [outputs, inputs]: [usize; 2], init: Init| {
                let name = |what: &str| format!("{kind}.{number}.{part}.{what}");
                (
                    make.matrix((owner, &name("weight")), [outputs, inputs], at, init),
                    make.vector((owner, &name("bias")), outputs, at, Init::Zeros),
                )
            };
            Expert {
                inside: linear("in", [width, hidden], Init::glorot(hidden, width)),
                outside: linear("out", [hidden, width], Init::Zeros),
            }
        };
        Ok(StateExperts((0..experts).map(&mut expert).collect()))
    }

    /// Makes them the trunk's: all tasks train them.
    pub(super) fn share(&self, parameters: &mut Parameters) {
        for Expert { inside, outside } in &self.0 {
            for (weight, bias) in [inside, outside] {
                parameters.set_owner(weight.index(), Owner::Trunk);
                parameters.set_owner(bias.index(), Owner::Trunk);
            }
        }
    }

    /// The states, and beside them what each expert makes of them: what [`split`] takes apart.
    pub(super) fn beside(&self, context: &LayerContext<'_>, states: Tensor<2>, wanted: &[bool]) -> Tensor<2> {
        let mut all = vec![states.clone()];
        all.extend(self.run_some(context, &states, wanted));
        kernels::join_columns(all)
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What each makes of the states `x` `[n, hidden]`.
    pub(super) fn run(&self, context: &LayerContext<'_>, x: &Tensor<2>) -> Vec<Tensor<2>> {
        self.run_some(context, x, &vec![true; self.0.len()])
    }

    /// As [`StateExperts::run`], with zeros for experts that are not wanted.
    pub(super) fn run_some(
        &self,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        wanted: &[bool],
    ) -> Vec<Tensor<2>> {
        let of_expert = |(expert, wanted): (&Expert, &bool)| {
            if !wanted {
                return Tensor::zeros(x.dims(), &x.device());
            }
            let [inside, outside] = [expert.inside, expert.outside];
            let weights = |(w, b): (MatrixId, VectorId)| (context.matrix(w), context.vector(b));
            let ((w1, b1), (w2, b2)) = (weights(inside), weights(outside));
            let update = kernels::ffn(x.clone(), w1, b1, w2, b2, context.precision());
            kernels::add(update, x.clone())
        };
        self.0.iter().zip(wanted).map(of_expert).collect()
    }
}

/// The states, and what so many experts made of them, side by side.
pub(super) fn split(all: Tensor<2>, experts: usize) -> [Tensor<2>; 2] {
    let width = all.dims()[1] / (experts + 1);
    let states = kernels::take_columns(all.clone(), 0..width);
    [states, kernels::take_columns(all, width..(experts + 1) * width)]
}
