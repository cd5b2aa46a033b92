//! VeRA: low-rank updates by random factors that all maps share and that are not trained, with two trained vectors for each map.
//!
//! ```text
//! y = W x + diag(b_t) B diag(d_t) A x           t is the task of the row; with `shared = true` one b and d for all tasks
//! ```
//!
//! Shapes: A `[rank, largest in]` and B `[largest out, rank]` once for the whole network, of which a map uses as many columns and rows as it
//! has inputs and outputs, as in PEFT (the paper has a pair for each shape); d_t `[rank]` and b_t `[out]` for every map of every layer
//! that `maps` and `first_layer` name. A and B are Kaiming uniform, in +-sqrt(6 / largest in) and +-sqrt(6 / rank), drawn from
//! `projection_seed`, and stay so. d_t begins as `d_initial`, b_t as zeros: the network begins as it was without.
//! Parameters a task that are trained: `rank + out` for each map; stored beside them once `rank (largest in + largest out)`.
//! Defaults: rank 256, d_initial 0.1, seed 0, the queries and values of all layers, no dropout, `freeze_base` true.
//! Cost: as LoRA of this rank, which is larger than LoRA's: 2 rank (in + out) operations a token and map.
//! PEFT: a saved model has `adapters/TASK/`, or `adapters/shared/`, with A and B in them; `init_from` begins with such folders. PEFT draws
//! other A and B from the same seed, so that folders without them (`save_projection = false`) are refused.
//! When to use: very many tasks, each of which may cost a few thousand numbers only. Learning rates are 10 to 50 times those of LoRA.
//! Errors: a layer or a map that the backbone does not have. The rank may exceed the sizes of a map.
//! Paper: Kopiczko, Blankevoort and Asano 2024, "VeRA: Vector-based random matrix adaptation".

use super::low_rank::{At, FactorBuilder, Factors, LowRank, LowRankSettings, Sites};
use super::targets::refused;
use super::{InitFrom, Map, PeftAdapter, PeftTensor, SharingConfig, Site};
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Depth, Level, MatrixId, Owner, ParameterSpec, Parameters, Role, VectorId};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// `[sharing.vera]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VeraConfig {
    /// Rank of the updates; 256 by default.
    #[schemars(range(min = 1, max = 65536))]
    pub rank: usize,
    /// The first value of every number of d; 0.1 by default.
    pub d_initial: f64,
    /// What the factors that are not trained are drawn from; 0 by default.
    pub projection_seed: u64,
    /// Share of the numbers that A reads set to 0 in training; 0 by default.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
    /// Which linear maps are updated; queries and values by default. Where a backbone has none of them: all that it has.
    pub maps: Option<BTreeSet<Map>>,
    /// The lowest layer that is updated, from 0; all by default.
    pub first_layer: usize,
    /// One pair of vectors for all tasks in place of one for each.
    pub shared: bool,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
    /// Adapters in PEFT's layout to begin with: a folder for all tasks, or a table with folders by task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<InitFrom>,
}

impl Default for VeraConfig {
    fn default() -> Self {
        Self {
            rank: 256,
            d_initial: 0.1,
            projection_seed: 0,
            dropout: 0.0,
            maps: None,
            first_layer: 0,
            shared: false,
            freeze_base: true,
            init_from: None,
        }
    }
}

/// VeRA on a trunk: see the module.
pub type Vera = LowRank<VeraFactors>;

/// See the module.
#[derive(Debug, Clone)]
pub struct VeraFactors {
    config: VeraConfig,
    /// A and B of all maps, with their shapes.
    projections: Option<[(MatrixId, [usize; 2]); 2]>,
    /// d and b, by task and site.
    vectors: BTreeMap<(Option<String>, Site), [VectorId; 2]>,
}

impl Factors for VeraFactors {
    type Config = VeraConfig;
    const NAME: &'static str = "vera";

    fn new(config: VeraConfig) -> Self {
        VeraFactors { config, projections: None, vectors: BTreeMap::new() }
    }

    fn table(&self) -> SharingConfig {
        SharingConfig::Vera(self.config.clone())
    }

    fn settings(&self) -> LowRankSettings<'_> {
        let VeraConfig { rank, dropout, ref maps, first_layer, shared, freeze_base, .. } = self.config;
        LowRankSettings {
            rank,
            any_rank: true,
            alpha: None,
            scale: 1.0,
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
        let VeraConfig { rank, d_initial, projection_seed, shared, .. } = self.config;
        if !d_initial.is_finite() {
            return Err(refused(Self::NAME, "d_initial", d_initial, "a finite number such as 0.1"));
        }
        let inputs = sites.values().map(|weight| weight.inputs).max().unwrap_or(0);
        let outputs = sites.values().map(|weight| weight.rows.len()).max().unwrap_or(0);
        let first_layer = sites.keys().map(|site| site.layer).min().unwrap_or(0);
        let mut projection = |part: &str, shape: [usize; 2]| {
            let name = format!("sharing.vera.{part}");
            // From the seed of the config alone, whatever that of the run is.
            let uniform = Init::Uniform((6.0 / shape[1] as f32).sqrt());
            let init = Init::Data(uniform.draw(projection_seed, &name, shape[0] * shape[1]));
            let id = parameters.add_matrix(ParameterSpec {
                name: name.into(),
                shape: &shape,
                owner: Owner::Trunk,
                role: Role::Adapter,
                depth: Some(Depth::encoder(Level::layer(first_layer))),
                init,
            });
            parameters.set_trainable(id.index(), false);
            (id, shape)
        };
        self.projections = Some([projection("a", [rank, inputs]), projection("b", [outputs, rank])]);
        let owners: Vec<Option<&str>> = match shared {
            true => vec![None],
            false => tasks.iter().map(|task| Some(task.as_str())).collect(),
        };
        let d_initial = crate::cast::to_f32(d_initial);
        let mut make = FactorBuilder { scheme: Self::NAME, parameters };
        for (site, weight) in sites {
            for task in &owners {
                let d = make.vector(*site, *task, "d", rank, Init::Data(vec![d_initial; rank]));
                let b = make.vector(*site, *task, "b", weight.rows.len(), Init::Zeros);
                self.vectors.insert((task.map(str::to_owned), *site), [d, b]);
            }
        }
        Ok(())
    }

    fn factors(&self, at: &At<'_>) -> Option<[Tensor<2>; 2]> {
        let [d, b] = self.vectors.get(&(at.task.map(str::to_owned), at.site))?;
        let [(of_a, _), (of_b, _)] = self.projections?;
        let (rank, parameters) = (self.config.rank, at.parameters);
        let first = parameters.matrix(of_a).slice([0..rank, 0..at.weight.inputs]);
        let second = parameters.matrix(of_b).slice([0..at.weight.rows.len(), 0..rank]);
        Some([
            kernels::scale_rows(first, parameters.vector(*d)),
            kernels::scale_rows(second, parameters.vector(*b)),
        ])
    }

    fn adapters(&self, sites: &Sites) -> Vec<PeftAdapter> {
        let VeraConfig { rank, d_initial, projection_seed, dropout, .. } = self.config;
        let Some([(a, shape_of_a), (b, shape_of_b)]) = self.projections else { return Vec::new() };
        let config = json!({
            "peft_type": "VERA",
            "r": rank,
            "d_initial": d_initial,
            "vera_dropout": dropout,
            "projection_prng_key": projection_seed,
            "save_projection": true,
            "bias": "none",
            "fan_in_fan_out": false,
        });
        let mut adapters: BTreeMap<&Option<String>, Vec<PeftTensor>> = BTreeMap::new();
        for ((task, site), [of_d, of_b]) in &self.vectors {
            let Some(weight) = sites.get(site) else { continue };
            let tensors = adapters.entry(task).or_insert_with(|| {
                vec![
                    PeftTensor::of_model("vera_A", &shape_of_a, a.index()),
                    PeftTensor::of_model("vera_B", &shape_of_b, b.index()),
                ]
            });
            tensors.push(PeftTensor::of_map(*site, "vera_lambda_d", &[rank], vec![of_d.index()]));
            let outputs = weight.rows.len();
            tensors.push(PeftTensor::of_map(*site, "vera_lambda_b", &[outputs], vec![of_b.index()]));
        }
        let adapter =
            |(task, tensors): (&Option<String>, _)| PeftAdapter::new(task.clone(), config.clone(), tensors);
        adapters.into_iter().map(adapter).collect()
    }

    fn init_from(&self) -> Option<&InitFrom> {
        self.config.init_from.as_ref()
    }
}
