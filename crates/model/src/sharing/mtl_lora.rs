//! MTL-LoRA: a low-rank update whose factors all tasks share, with a small transform and a mixture for each task.
//!
//! ```text
//! y = W x + (alpha / rank) sum_k softmax(w_t / temperature)_k B_k L_t A x          t is the task of the row
//! ```
//!
//! Shapes: A `[rank, in]` and B_k `[out, rank]`, k = 1 .. `experts`, of all tasks; of each task L_t, `rank` numbers for a diagonal
//! matrix or `[rank, rank]` with `transform = "full"`, and w_t, `experts` numbers; for every map of every layer that `maps` and
//! `first_layer` name. A begins uniform in +-1 / sqrt(in), L_t as the identity, w_t uniform in +-1 / sqrt(experts): with equal w_t the
//! B_k would stay equal for ever. The B_k begin as zeros: the network begins as it was without.
//! Parameters: `rank in + experts rank out` for each map, and of each task `rank + experts` (`rank^2 + experts` with the full transform).
//! Defaults: rank 8, alpha 16, 3 experts, temperature 0.1, diagonal transforms, the queries and values of all layers, `freeze_base` true.
//! Cost: as LoRA with a pair for each task; beside it experts rank out operations a map, task and pass.
//! When to use: as LoRA, where tasks are many or have few rows: what they have in common is learned from all of them. Balancing
//! methods that compare gradients compare those of A and the B_k. PEFT has no such method: no `adapters/` are written.
//! Errors: as LoRA; no experts; a temperature that is not above 0.
//! Paper: Yang et al. 2024, "MTL-LoRA: Low-rank adaptation for multi-task learning" (arXiv:2410.09437).

use super::low_rank::{At, FactorBuilder, Factors, LowRank, LowRankSettings, Sites, kaiming};
use super::targets::{positive, refused};
use super::{Map, SharingConfig, Site};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{MatrixId, Parameters, VectorId};
use burn::tensor::Tensor;
use kernels::{MixtureWeights, Precision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `[sharing.mtl_lora]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MtlLoraConfig {
    /// Rank of the updates.
    #[schemars(range(min = 1, max = 65536))]
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// How many second factors there are, which each task mixes; 3 by default.
    #[schemars(range(min = 1, max = 1024))]
    pub experts: usize,
    /// What the weights of the mixture are divided by before the softmax; 0.1 by default.
    #[schemars(range(min = 0.0))]
    pub temperature: f64,
    /// The transform of each task between the factors; diagonal by default.
    pub transform: Transform,
    /// Share of the numbers that A reads set to 0 in training; 0 by default.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
    /// Which linear maps are updated; queries and values by default. Where a backbone has none of them: all that it has.
    pub maps: Option<BTreeSet<Map>>,
    /// The lowest layer that is updated, from 0; all by default.
    pub first_layer: usize,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
}

/// The transform of a task between the factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// A number for each of the rank's dimensions.
    Diagonal,
    /// A matrix `[rank, rank]`.
    Full,
}

impl Default for MtlLoraConfig {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            experts: 3,
            temperature: 0.1,
            transform: Transform::Diagonal,
            dropout: 0.0,
            maps: None,
            first_layer: 0,
            freeze_base: true,
        }
    }
}

/// MTL-LoRA on a trunk: see the module.
pub type MtlLora = LowRank<MtlLoraFactors>;

/// See the module.
#[derive(Debug, Clone)]
pub struct MtlLoraFactors {
    config: MtlLoraConfig,
    /// A, and the B_k one above the other.
    shared: BTreeMap<Site, [MatrixId; 2]>,
    /// L_t and w_t, by task and site.
    own: BTreeMap<(String, Site), (TransformId, VectorId)>,
}

#[derive(Debug, Clone, Copy)]
enum TransformId {
    Diagonal(VectorId),
    Full(MatrixId),
}

impl Factors for MtlLoraFactors {
    type Config = MtlLoraConfig;
    const NAME: &'static str = "mtl_lora";

    fn new(config: MtlLoraConfig) -> Self {
        MtlLoraFactors { config, shared: BTreeMap::new(), own: BTreeMap::new() }
    }

    fn table(&self) -> SharingConfig {
        SharingConfig::MtlLora(self.config.clone())
    }

    fn settings(&self) -> LowRankSettings<'_> {
        let MtlLoraConfig { rank, alpha, dropout, ref maps, first_layer, freeze_base, .. } = self.config;
        LowRankSettings {
            rank,
            any_rank: false,
            alpha: Some(alpha),
            scale: alpha / rank as f64,
            dropout,
            maps: maps.as_ref(),
            first_layer,
            freeze_base,
            shared: false,
        }
    }

    fn build(
        &mut self,
        sites: &Sites,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let MtlLoraConfig { rank, experts, temperature, transform, .. } = self.config;
        positive(Self::NAME, "temperature", temperature)?;
        if experts == 0 {
            return Err(refused(Self::NAME, "experts", experts, "1 or more"));
        }
        let mut make = FactorBuilder { scheme: Self::NAME, parameters };
        for (site, weight) in sites {
            let (outputs, inputs) = (weight.rows.len(), weight.inputs);
            let a = make.matrix(*site, None, "a", [rank, inputs], kaiming(inputs));
            let b = make.matrix(*site, None, "b", [experts * outputs, rank], Init::Zeros);
            self.shared.insert(*site, [a, b]);
            for task in tasks {
                let of = Some(task.as_str());
                let transform = match transform {
                    Transform::Diagonal => {
                        TransformId::Diagonal(make.vector(*site, of, "transform", rank, Init::Ones))
                    }
                    Transform::Full => {
                        let identity = (0..rank * rank).map(|i| f32::from(i % (rank + 1) == 0)).collect();
                        let first = Init::Data(identity);
                        TransformId::Full(make.matrix(*site, of, "transform", [rank, rank], first))
                    }
                };
                let mixture = make.gate(*site, of, "mixture", experts, kaiming(experts));
                self.own.insert((task.clone(), *site), (transform, mixture));
            }
        }
        Ok(())
    }

    fn factors(&self, at: &At<'_>) -> Option<[Tensor<2>; 2]> {
        let [a, b] = self.shared.get(&at.site)?.map(|factor| at.parameters.matrix(factor));
        let (transform, mixture) = self.own.get(&(at.task?.to_owned(), at.site))?;
        let a = match transform {
            TransformId::Diagonal(numbers) => kernels::scale_rows(a, at.parameters.vector(*numbers)),
            TransformId::Full(matrix) => {
                let none = Tensor::zeros([at.weight.inputs], &a.device());
                kernels::linear(at.parameters.matrix(*matrix), a.transpose(), none, Precision::F32)
            }
        };
        let experts = self.config.experts;
        let logits = at.parameters.vector(*mixture).reshape([1, experts]);
        let softmax = MixtureWeights::Softmax { temperature: to_f32(self.config.temperature) };
        let weights = kernels::mixture_weights(logits, softmax).reshape([experts]);
        Some([a, kernels::weighted_mix(weights, b)])
    }
}
