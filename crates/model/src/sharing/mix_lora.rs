//! MixLoRA: experts that are low-rank updates of the feed-forward block, of which a router picks a few for each token.
//!
//! ```text
//! y = sum_e softmax(s)_e ffn_e(x)             over the `top_k` experts with the highest scores s = R x
//! ffn_e: the block with W + (alpha / rank) B_e A_e in place of each of its maps W
//! ```
//!
//! Shapes: A `[rank, in]` and B `[out, rank]` for each expert and map, R `[experts, hidden]`. B begins as zeros: hard sharing.
//! Defaults: 8 experts, `top_k = 2`, rank 8, alpha 16, balance 0.001, all layers; nothing else of the network is trained
//! (`freeze_base`). The router sees the token, not the task: `router = "task"` gives each task one of its own.
//! Parameters: experts rank (in + out) for each map, and experts hidden a layer and router.
//! Cost: the maps into the block once, the map out of it `top_k` times for each token, and the updates. With `router = "task"`, a row that
//! several tasks read goes through the trunk once for each.
//! When to use: many tasks on one frozen network, when one LoRA is too little and one for each is too much.
//! Errors: `top_k` above the experts, a rank that does not fit, a layer that the backbone does not have.
//! Paper: Li et al. 2024, "MixLoRA: enhancing large language models fine-tuning with LoRA-based mixture of experts".

use super::build::{SchemeParameters, check_first_layer, owners};
use super::experts::{Router, RouterInput};
use super::moe::check_routing;
use super::targets::{freeze_base, positive, refused};
use super::{LanePolicy, Map, Sharing, SharingConfig, Site, TrunkShape};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::{FeedForwardId, FeedForwardWeights, LayerContext};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.mix_lora]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MixLoraConfig {
    /// How many experts.
    #[schemars(range(min = 1, max = 1024))]
    pub experts: usize,
    /// How many of them a token goes through.
    #[schemars(range(min = 1, max = 1024))]
    pub top_k: usize,
    /// Rank of the updates.
    #[schemars(range(min = 1, max = 65536))]
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// The lowest layer with experts, from 0; all by default.
    pub first_layer: usize,
    /// What the router looks at.
    pub router: RouterInput,
    /// What the load-balancing loss is multiplied by; 0 for none.
    #[schemars(range(min = 0.0))]
    pub balance: f64,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
}

impl Default for MixLoraConfig {
    fn default() -> Self {
        Self {
            experts: 8,
            top_k: 2,
            rank: 8,
            alpha: 16.0,
            first_layer: 0,
            router: RouterInput::Token,
            balance: 0.001,
            freeze_base: true,
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct MixLora {
    config: MixLoraConfig,
    routers: BTreeMap<usize, Router>,
    /// A and B of each expert.
    factors: BTreeMap<Site, Vec<[MatrixId; 2]>>,
}

const NAME: &str = "mix_lora";

impl MixLora {
    pub(super) fn new(config: MixLoraConfig) -> Self {
        MixLora { config, routers: BTreeMap::new(), factors: BTreeMap::new() }
    }

    /// `y` with the updates of each expert's pairs, of which `x` is what the map reads.
    fn update(
        &self,
        site: Site,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        y: Tensor<2>,
        experts: &[std::ops::Range<usize>],
    ) -> Tensor<2> {
        let Some(factors) = self.factors.get(&site) else { return y };
        let groups = experts.iter().zip(factors).filter(|(pairs, _)| !pairs.is_empty());
        let groups = groups.map(|(pairs, of)| (pairs.clone(), of.map(|id| context.matrix(id)))).collect();
        let columns = 0..y.dims()[1];
        kernels::grouped_low_rank(
            y,
            x.clone(),
            groups,
            columns,
            to_f32(self.config.alpha / self.config.rank as f64),
        )
    }
}

impl Sharing for MixLora {
    fn config(&self) -> SharingConfig {
        SharingConfig::MixLora(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let MixLoraConfig { experts, top_k, rank, alpha, first_layer, router, balance, freeze_base: frozen } =
            self.config;
        check_routing(NAME, [experts, top_k], balance, parameters)?;
        check_first_layer(NAME, first_layer, trunk)?;
        positive(NAME, "alpha", alpha)?;
        let owners = owners(tasks, router == RouterInput::Token);
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for (site, map) in trunk.sites().filter(|(site, _)| site.layer >= first_layer) {
            if !matches!(site.map, Map::FfnIn | Map::FfnGate | Map::FfnOut) {
                continue;
            }
            let (outputs, inputs) = (map.rows.len(), map.inputs);
            if rank == 0 || rank > outputs.min(inputs) {
                let expected = format!("from 1 to {}, the smaller size of {site}", outputs.min(inputs));
                return Err(refused(NAME, "rank", rank, expected));
            }
            let at = (Role::Adapter, Level::layer(site.layer));
            let of_expert = |expert: usize| {
                let name = |factor: &str| format!("{site}.expert.{expert}.{factor}");
                let first = Init::Uniform((inputs as f32).powf(-0.5));
                [
                    make.matrix((&None, &name("a")), [rank, inputs], at, first),
                    make.matrix((&None, &name("b")), [outputs, rank], at, Init::Zeros),
                ]
            };
            self.factors.insert(site, (0..experts).map(of_expert).collect());
        }
        for layer in first_layer..trunk.layers.len() {
            let inputs = trunk.inputs_of(layer, Map::FfnIn).unwrap_or(trunk.hidden);
            let router = Router::build(&mut make, layer, &owners, [experts, inputs]);
            self.routers.insert(layer, router);
        }
        if frozen {
            freeze_base(make.parameters);
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
        self.config.first_layer
    }

    fn feed_forward(
        &self,
        layer: usize,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        block: &FeedForwardId,
    ) -> Option<Tensor<2>> {
        let router = self.routers.get(&layer)?;
        let MixLoraConfig { top_k, balance, .. } = self.config;
        let routing = router.route(context, x, top_k, balance)?;
        let site = |map: Map| Site { layer, map };
        let pairs = kernels::gather_rows(x.clone(), &routing.tokens);
        let weights = FeedForwardWeights::of(block, |id| context.matrix(id), |id| context.vector(id));
        // The maps into the block are the same for all experts: once for each token.
        let into = |map: Map, of_tokens: Tensor<2>| {
            let y = kernels::gather_rows(of_tokens, &routing.tokens);
            self.update(site(map), context, &pairs, y, &routing.experts)
        };
        let precision = context.precision();
        let inner = weights.inner(
            x.clone(),
            precision,
            |inner| into(Map::FfnIn, inner),
            |gate| into(Map::FfnGate, gate),
        );
        let y = weights.outer(inner.clone(), precision);
        let y = self.update(site(Map::FfnOut), context, &inner, y, &routing.experts);
        Some(routing.combine(y))
    }

    fn used_share(&self, parameters: &Parameters, index: usize) -> f64 {
        let is_expert = parameters.parameter(index).role == Role::Adapter;
        if is_expert { self.config.top_k as f64 / self.config.experts as f64 } else { 1.0 }
    }
}
