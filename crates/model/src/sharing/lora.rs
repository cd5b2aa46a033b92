//! LoRA: a low-rank update of linear maps, one for each task or one for all.
//!
//! ```text
//! y = W x + s B_t A_t x                         t is the task of the row; with `shared = true` one A and B for all tasks
//! y = m_t / |W + s B_t A_t| (W x + s B_t A_t x)  with `use_dora`; the lengths of the rows of W + s B_t A_t
//! ```
//!
//! The scale s is alpha / rank, or alpha / sqrt(rank) with `use_rslora`, which keeps large ranks from learning less.
//! Shapes: A `[rank, in]`, B `[out, rank]`, m `[out]`, for every map of every layer that `maps` and `first_layer` name. A begins uniform
//! in +-1 / sqrt(in) (Kaiming uniform with a = sqrt(5), as in PEFT), B as zeros, m as the lengths of the rows of W: the network
//! begins as it was without. As in the paper and in PEFT no gradient goes through the lengths that m is divided by. A bias is added after
//! m. `dropout` is of what A reads, in training. PEFT's layers with dropout and DoRA also drop what W reads in (m / |.| - 1) W x; the
//! paper's formula, and this, do not.
//! Parameters a task: `rank (in + out)` for each map, with `use_dora` `out` more.
//! Defaults: rank 8, alpha 16, the queries and values of all layers, no dropout, `freeze_base` true: of the network itself nothing is
//! trained then, only A, B, m and the heads. Their learning rate is the optimizer's `adapter_learning_rate`.
//! Cost: 2 rank (in + out) operations a token and map; DoRA 2 rank in out more a map, task and pass. With a pair for each task, a row that
//! several tasks read goes through the trunk once for each of them; rows of one task cost what they did, and all tasks of a pack
//! still go in one pass.
//! PEFT: a saved model has `adapters/TASK/`, or `adapters/shared/`, which `peft.PeftModel.from_pretrained` opens; `init_from` begins with
//! such folders.
//! When to use: many tasks on one large network, each with few parameters of its own; or where tasks disturb each other. DoRA where a
//! small rank falls short of full training. With `freeze_base` and a pair for each task no trained parameter is shared, so that
//! balancing methods that compare gradients have nothing to compare: use `freeze_base = false`, or `shared = true`.
//! Errors: a rank that is 0 or above the size of a map, a layer that the backbone does not have, a map that it does not have.
//! Papers: Hu et al. 2022, "LoRA: Low-rank adaptation of large language models"; Kalajdzievski 2023, "A rank stabilization scaling
//! factor for fine-tuning with LoRA"; Liu et al. 2024, "DoRA: Weight-decomposed low-rank adaptation".

use super::low_rank::{At, FactorBuilder, Factors, LowRank, LowRankSettings, Sites, kaiming};
use super::{InitFrom, Map, PeftAdapter, PeftTensor, SharingConfig, Site};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{MatrixId, Parameters, VectorId};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// `[sharing.lora]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Rank of the updates.
    #[schemars(range(min = 1, max = 65536))]
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// Scale the update by `alpha / sqrt(rank)`.
    pub use_rslora: bool,
    /// Train the lengths of the weight's rows apart from their directions.
    pub use_dora: bool,
    /// Share of the numbers that A reads set to 0 in training; 0 by default.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
    /// Which linear maps are updated; queries and values by default. Where a backbone has none of them: all that it has.
    pub maps: Option<BTreeSet<Map>>,
    /// The lowest layer that is updated, from 0; all by default.
    pub first_layer: usize,
    /// One update for all tasks in place of one for each.
    pub shared: bool,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
    /// Adapters in PEFT's layout to begin with: a folder for all tasks, or a table with folders by task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<InitFrom>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            use_rslora: false,
            use_dora: false,
            dropout: 0.0,
            maps: None,
            first_layer: 0,
            shared: false,
            freeze_base: true,
            init_from: None,
        }
    }
}

/// Whose update it is; `None`: that of all tasks.
type OfTask = Option<String>;

/// LoRA on a trunk: see the module.
pub type Lora = LowRank<LoraFactors>;

/// See the module.
#[derive(Debug, Clone)]
pub struct LoraFactors {
    config: LoraConfig,
    /// By task and site.
    of: BTreeMap<(OfTask, Site), Pair>,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    a: MatrixId,
    b: MatrixId,
    magnitude: Option<VectorId>,
}

impl LoraFactors {
    fn scale(&self) -> f64 {
        let LoraConfig { rank, alpha, use_rslora, .. } = self.config;
        if use_rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }
    }

    fn pair(&self, at: &At<'_>) -> Option<&Pair> {
        self.of.get(&(at.task.map(str::to_owned), at.site))
    }
}

impl Factors for LoraFactors {
    type Config = LoraConfig;
    const NAME: &'static str = "lora";

    fn new(config: LoraConfig) -> Self {
        LoraFactors { config, of: BTreeMap::new() }
    }

    fn table(&self) -> SharingConfig {
        SharingConfig::Lora(self.config.clone())
    }

    fn settings(&self) -> LowRankSettings<'_> {
        let LoraConfig { rank, alpha, dropout, ref maps, first_layer, shared, freeze_base, .. } = self.config;
        LowRankSettings {
            rank,
            any_rank: false,
            alpha: Some(alpha),
            scale: self.scale(),
            dropout,
            maps: maps.as_ref(),
            first_layer,
            freeze_base,
            shared,
        }
    }

    fn build(
        &mut self,
        sites: &Sites,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let owners: Vec<OfTask> = match self.config.shared {
            true => vec![None],
            false => tasks.iter().cloned().map(Some).collect(),
        };
        let (rank, scale) = (self.config.rank, to_f32(self.scale()));
        for (site, weight) in sites {
            for task in &owners {
                let (outputs, inputs, of) = (weight.rows.len(), weight.inputs, task.as_deref());
                let mut make = FactorBuilder { scheme: "lora", parameters };
                let a = make.matrix(*site, of, "a", [rank, inputs], kaiming(inputs));
                let b = make.matrix(*site, of, "b", [outputs, rank], Init::Zeros);
                let magnitude = self.config.use_dora.then(|| {
                    let factors = [a, b].map(|factor| make.parameters.matrix(factor));
                    let at = At { site: *site, weight, task: of, parameters: make.parameters, seed: None };
                    let lengths = lengths(&at, &factors, scale).into_data().try_into_vec();
                    let first = Init::Data(lengths.expect("lengths are f32 on the host's side"));
                    make.vector(*site, of, "magnitude", outputs, first)
                });
                self.of.insert((task.clone(), *site), Pair { a, b, magnitude });
            }
        }
        Ok(())
    }

    fn factors(&self, at: &At<'_>) -> Option<[Tensor<2>; 2]> {
        let pair = self.pair(at)?;
        Some([pair.a, pair.b].map(|factor| at.parameters.matrix(factor)))
    }

    fn output_factor(&self, at: &At<'_>, factors: &[Tensor<2>; 2]) -> Option<Tensor<1>> {
        let magnitude = at.parameters.vector(self.pair(at)?.magnitude?);
        let lengths = lengths(at, factors, to_f32(self.scale()));
        let lengths = if magnitude.is_autodiff() { lengths.autodiff() } else { lengths };
        Some(magnitude / lengths)
    }

    fn adapters(&self, sites: &Sites) -> Vec<PeftAdapter> {
        let LoraConfig { rank, alpha, dropout, use_rslora, use_dora, .. } = self.config;
        let mut adapters: BTreeMap<&OfTask, Vec<PeftTensor>> = BTreeMap::new();
        for ((task, site), Pair { a, b, magnitude }) in &self.of {
            let Some(weight) = sites.get(site) else { continue };
            let (outputs, inputs) = (weight.rows.len(), weight.inputs);
            let tensors = adapters.entry(task).or_default();
            let mut add = |name: &str, shape: &[usize], index| {
                tensors.push(PeftTensor::of_map(*site, name, shape, vec![index]));
            };
            add("lora_A.weight", &[rank, inputs], a.index());
            add("lora_B.weight", &[outputs, rank], b.index());
            if let Some(magnitude) = magnitude {
                add("lora_magnitude_vector", &[outputs], magnitude.index());
            }
        }
        let config = json!({
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": alpha,
            "lora_dropout": dropout,
            "use_rslora": use_rslora,
            "use_dora": use_dora,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": true,
        });
        let adapter = |(task, tensors): (&OfTask, _)| PeftAdapter::new(task.clone(), config.clone(), tensors);
        adapters.into_iter().map(adapter).collect()
    }

    fn init_from(&self) -> Option<&InitFrom> {
        self.config.init_from.as_ref()
    }
}

/// The lengths of the rows of the updated weight `[out]`, without a gradient.
fn lengths(at: &At<'_>, [a, b]: &[Tensor<2>; 2], scale: f32) -> Tensor<1> {
    let weight = at.parameters.matrix(at.weight.weight).inner();
    let weight = weight.slice([at.weight.rows.clone(), 0..at.weight.inputs]);
    kernels::low_rank_row_norms(&weight, [&a.clone().inner(), &b.clone().inner()], scale)
}
