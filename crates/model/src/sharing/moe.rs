//! Sparse mixture of experts: in some layers the feed-forward block is one of several, of which a router picks a few for each token.
//!
//! ```text
//! y = sum_e softmax(s)_e ffn_e(x)             over the `top_k` experts with the highest scores s = R x
//! ```
//!
//! All experts begin as the network's own block (upcycling): hard sharing, whatever the router says. R `[experts, hidden]` begins at random,
//! one for all tasks with `router = "token"`, one for each with `router = "task"`.
//! Defaults: 4 experts, `top_k = 2`, the upper half of the layers, balance 0.01: the weight of the load-balancing loss
//! `experts sum_e f_e P_e`, f the share of tokens of an expert and P its mean probability; it is that of the tokens that are computed
//! together. Inside an expert there is no dropout.
//! Parameters: (experts - 1) times those of the feed-forward blocks, and experts hidden a layer and router.
//! Cost: `top_k` feed-forward blocks a token in place of one. With `router = "task"`, a row that several tasks read goes through the
//! trunk once for each.
//! When to use: much data of many sorts, where the network is too small for all of it.
//! Errors: `top_k` above the experts, a layer that the backbone does not have, frozen layers above `first_layer`; balance on another device
//! than the CPU.
//! Papers: Shazeer et al. 2017, "Outrageously large neural networks"; Fedus et al. 2022, "Switch transformers"; Komatsuzaki et al. 2023,
//! "Sparse upcycling: training mixture-of-experts from dense checkpoints".

use super::build::{SchemeParameters, check_first_layer, owners};
use super::columns::half_of_the_layers;
use super::copies::WeightCopies;
use super::experts::{Router, RouterInput};
use super::targets::refused;
use super::{LanePolicy, Map, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::parameters::{MatrixId, Owner, Parameters, VectorId};
use crate::trunk::{FeedForwardId, FeedForwardWeights, LayerContext};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.moe]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MoeConfig {
    /// How many experts.
    #[schemars(range(min = 1, max = 1024))]
    pub experts: usize,
    /// How many of them a token goes through.
    #[schemars(range(min = 1, max = 1024))]
    pub top_k: usize,
    /// The lowest layer with experts, from 0. Left out: the first of the upper half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_layer: Option<usize>,
    /// What the router looks at.
    pub router: RouterInput,
    /// What the load-balancing loss is multiplied by; 0 for none.
    #[schemars(range(min = 0.0))]
    pub balance: f64,
}

impl Default for MoeConfig {
    fn default() -> Self {
        Self { experts: 4, top_k: 2, first_layer: None, router: RouterInput::Token, balance: 0.01 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Moe {
    config: MoeConfig,
    first_layer: usize,
    routers: BTreeMap<usize, Router>,
    /// The blocks of the experts but for the first, which has the backbone's.
    copies: WeightCopies,
}

const NAME: &str = "moe";

impl Moe {
    pub(super) fn new(config: MoeConfig) -> Self {
        Moe { config, first_layer: usize::MAX, routers: BTreeMap::new(), copies: WeightCopies::default() }
    }

    /// The block of an expert.
    fn block(&self, expert: usize, block: &FeedForwardId, context: &LayerContext<'_>) -> FeedForwardWeights {
        let (name, parameters) = (expert_name(expert), context.parameters());
        let matrix =
            |id: MatrixId| self.copies.matrix(&name, id, parameters).unwrap_or_else(|| context.matrix(id));
        let vector =
            |id: VectorId| self.copies.vector(&name, id, parameters).unwrap_or_else(|| context.vector(id));
        FeedForwardWeights::of(block, matrix, vector)
    }
}

fn expert_name(expert: usize) -> String {
    format!("expert {expert}")
}

/// That a router can pick so many of so many, and balances them where it can.
pub(super) fn check_routing(
    scheme: &str,
    [experts, top_k]: [usize; 2],
    balance: f64,
    parameters: &Parameters,
) -> Result<(), ModelError> {
    if experts == 0 || experts > 1024 {
        return Err(refused(scheme, "experts", experts, "from 1 to 1024"));
    }
    if top_k == 0 || top_k > experts {
        return Err(refused(scheme, "top_k", top_k, format!("from 1 to {experts}, the experts")));
    }
    if !(balance.is_finite() && balance >= 0.0) {
        return Err(refused(scheme, "balance", balance, "a number, 0 or more"));
    }
    if balance > 0.0 && !kernels::can_add_gradient(parameters.device()) {
        return Err(refused(scheme, "balance", balance, "0: on this device there is no load-balancing loss"));
    }
    Ok(())
}

impl Sharing for Moe {
    fn config(&self) -> SharingConfig {
        SharingConfig::Moe(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let MoeConfig { experts, top_k, first_layer, router, balance } = self.config;
        check_routing(NAME, [experts, top_k], balance, parameters)?;
        self.first_layer = first_layer.unwrap_or_else(|| half_of_the_layers(trunk));
        check_first_layer(NAME, self.first_layer, trunk)?;
        let is_block = |map: Map| matches!(map, Map::FfnIn | Map::FfnGate | Map::FfnOut);
        let maps = trunk.sites().filter(|(site, _)| site.layer >= self.first_layer && is_block(site.map));
        let weights: Vec<usize> = maps
            .flat_map(|(_, map)| [Some(map.weight.index()), map.bias.map(VectorId::index)])
            .flatten()
            .collect();
        for expert in 1..experts {
            let name = expert_name(expert);
            self.copies.add(NAME, std::slice::from_ref(&name), &weights, parameters);
            self.copies.of(&name).for_each(|index| parameters.set_owner(index, Owner::Trunk));
        }
        let owners = owners(tasks, router == RouterInput::Token);
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for layer in self.first_layer..trunk.layers.len() {
            let inputs = trunk.inputs_of(layer, Map::FfnIn).unwrap_or(trunk.hidden);
            let router = Router::build(&mut make, layer, &owners, [experts, inputs]);
            self.routers.insert(layer, router);
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        match self.config.router {
            RouterInput::Token => LanePolicy::Shared,
            RouterInput::Task => LanePolicy::PerTask,
        }
    }

    fn first_layer(&self) -> usize {
        self.first_layer
    }

    fn copies(&self) -> Option<&WeightCopies> {
        Some(&self.copies)
    }

    fn feed_forward(
        &self,
        layer: usize,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        block: &FeedForwardId,
    ) -> Option<Tensor<2>> {
        let router = self.routers.get(&layer)?;
        let MoeConfig { top_k, balance, .. } = self.config;
        let routing = router.route(context, x, top_k, balance)?;
        let of_pairs = kernels::gather_rows(x.clone(), &routing.tokens);
        let inputs = of_pairs.dims()[1];
        let of_expert = |(expert, pairs): (usize, &std::ops::Range<usize>)| {
            let x = of_pairs.clone().slice([pairs.clone(), 0..inputs]);
            (!pairs.is_empty()).then(|| self.block(expert, block, context).run(x, context.precision()))
        };
        let outputs = routing.experts.iter().enumerate().filter_map(of_expert).collect();
        let outputs = Tensor::cat(outputs, 0);
        Some(routing.combine(outputs))
    }

    fn used_share(&self, parameters: &Parameters, index: usize) -> f64 {
        let is_block = parameters.parameter(index).is_linear_weight()
            && (1..self.config.experts.max(2)).any(|expert| {
                let name = expert_name(expert);
                self.copies.get(&name, index).is_some() || self.copies.of(&name).any(|copy| copy == index)
            });
        if is_block { self.config.top_k as f64 / self.config.experts as f64 } else { 1.0 }
    }
}
