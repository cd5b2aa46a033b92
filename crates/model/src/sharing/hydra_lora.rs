//! HydraLoRA: a low-rank update with several second factors, which a gate mixes for each token.
//!
//! ```text
//! g = softmax(R x)                              for each token, whatever its task
//! y = W x + (alpha / rank) sum_k g_k B_k A x
//! ```
//!
//! Shapes: A `[rank, in]`, R `[experts, in]`, B_k `[out, rank]`, k = 1 .. `experts`, for every map of every layer that `maps` and
//! `first_layer` name, all of all tasks. A and R begin uniform in +-1 / sqrt(in): R is random so that the B_k come apart. The B_k begin
//! as zeros: the network begins as it was without. There is no loss that balances the gates, as in the authors' code.
//! Parameters: `rank in + experts (rank out + in)` for each map, however many tasks there are.
//! Defaults: rank 4, alpha 32, 2 experts, the queries and values of all layers, `freeze_base` true.
//! Cost: 2 (rank in + experts (rank out + in)) operations a token and map. No lanes: a row that several tasks read goes through once.
//! When to use: rows of many kinds where the tasks do not tell which, or many tasks over the same rows. PEFT has no such method: no
//! `adapters/` are written. The update cannot be folded into the weights, because the gate reads the token.
//! Errors: as LoRA; no experts.
//! Paper: Tian et al. 2024, "HydraLoRA: An asymmetric LoRA architecture for efficient fine-tuning" (arXiv:2404.19245).

use super::build::parameter_name;
use super::low_rank::{FactorBuilder, Sites, kaiming};
use super::targets::{Targets, freeze_base, positive, rank_fits, refused};
use super::{Map, Sharing, SharingConfig, Site, TrunkShape};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Depth, Level, MatrixId, Owner, ParameterSpec, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// `[sharing.hydra_lora]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HydraLoraConfig {
    /// Rank of the updates; 4 by default.
    #[schemars(range(min = 1, max = 65536))]
    pub rank: usize,
    /// The update is scaled by `alpha / rank`; 32 by default.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// How many second factors there are, which the gate mixes; 2 by default.
    #[schemars(range(min = 1, max = 1024))]
    pub experts: usize,
    /// Which linear maps are updated; queries and values by default. Where a backbone has none of them: all that it has.
    pub maps: Option<BTreeSet<Map>>,
    /// The lowest layer that is updated, from 0; all by default.
    pub first_layer: usize,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
}

impl Default for HydraLoraConfig {
    fn default() -> Self {
        Self { rank: 4, alpha: 32.0, experts: 2, maps: None, first_layer: 0, freeze_base: true }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct HydraLora {
    config: HydraLoraConfig,
    /// A, R, and the B_k side by side.
    of: BTreeMap<Site, [MatrixId; 3]>,
}

impl HydraLora {
    pub(super) fn new(config: HydraLoraConfig) -> Self {
        HydraLora { config, of: BTreeMap::new() }
    }

    fn sites(&self, trunk: &TrunkShape) -> Result<Sites, ModelError> {
        let HydraLoraConfig { rank, alpha, experts, ref maps, first_layer, .. } = self.config;
        let usual = &[Map::Query, Map::Value];
        let sites =
            Targets { scheme: "hydra_lora", maps: maps.as_ref(), usual, first_layer }.choose(trunk)?;
        positive("hydra_lora", "alpha", alpha)?;
        rank_fits("hydra_lora", rank, &sites)?;
        match experts {
            0 => Err(refused("hydra_lora", "experts", 0, "1 or more")),
            _ => Ok(sites),
        }
    }
}

impl Sharing for HydraLora {
    fn config(&self) -> SharingConfig {
        SharingConfig::HydraLora(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        _tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let HydraLoraConfig { rank, experts, freeze_base: frozen, .. } = self.config;
        for (site, weight) in self.sites(trunk)? {
            let (outputs, inputs) = (weight.rows.len(), weight.inputs);
            let router = parameters.add_matrix(ParameterSpec {
                name: parameter_name("hydra_lora", None, &format!("{site}.router")).into(),
                shape: &[experts, inputs],
                owner: Owner::Trunk,
                role: Role::Gate,
                depth: Some(Depth::encoder(Level::layer(site.layer))),
                init: kaiming(inputs),
            });
            let mut make = FactorBuilder { scheme: "hydra_lora", parameters };
            let a = make.matrix(site, None, "a", [rank, inputs], kaiming(inputs));
            let b = make.matrix(site, None, "b", [outputs, experts * rank], Init::Zeros);
            self.of.insert(site, [a, router, b]);
        }
        if frozen {
            freeze_base(parameters);
        }
        Ok(())
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn hooks(&self, site: Site) -> bool {
        self.of.contains_key(&site)
    }

    fn linear(
        &self,
        site: Site,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        y: Tensor<2>,
        columns: Range<usize>,
    ) -> Tensor<2> {
        let Some(factors) = self.of.get(&site) else { return y };
        let scale = to_f32(self.config.alpha / self.config.rank as f64);
        kernels::gated_low_rank(y, x.clone(), factors.map(|id| context.matrix(id)), columns, scale)
    }
}
