//! Routers: linear maps that score experts for tokens.

use super::super::build::{OfTask, SchemeParameters};
use super::routing::Routing;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a router looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouterInput {
    /// The token, whatever the task.
    #[default]
    Token,
    /// The token, with scores of each task.
    Task,
}

/// The router of a layer, for all tasks or one for each.
#[derive(Debug, Clone)]
pub(in super::super) struct Router(BTreeMap<OfTask, MatrixId>);

impl Router {
    /// A router `[experts, inputs]` for each owner.
    pub(in super::super) fn build(
        make: &mut SchemeParameters<'_>,
        layer: usize,
        owners: &[OfTask],
        shape: [usize; 2],
    ) -> Self {
        let name = format!("layer.{layer}.router");
        let at = (Role::Gate, Level::layer(layer));
        let of = |owner: &OfTask| (owner.clone(), make.matrix((owner, &name), shape, at, Init::Normal(0.02)));
        Router(owners.iter().map(of).collect())
    }

    /// The routing of the tokens `x` `[n, inputs]`; `None` where no task has a router for them.
    pub(in super::super) fn route(
        &self,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        top_k: usize,
        balance: f64,
    ) -> Option<Routing> {
        let shared = self.0.contains_key(&None);
        let scores = context.by_task(x.clone(), shared, |task, x| {
            let router = context.matrix(*self.0.get(&task)?);
            let zeros = Tensor::zeros([router.dims()[0]], &router.device());
            Some(kernels::linear(x, router, zeros, kernels::Precision::F32))
        })?;
        Some(Routing::new(scores, top_k, balance, context))
    }
}
