//! LoRA: a low-rank update of linear maps, one for each task or one for all.
//!
//! ```text
//! y = W x + (alpha / rank) B_t A_t x            t is the task of the row; with `shared = true` one A and B for all tasks
//! ```
//!
//! Shapes: A `[rank, in]`, B `[out, rank]`, for every map of every layer that `maps` and `layers` name. A begins uniform in
//! +-1 / sqrt(in) (Kaiming uniform with a = sqrt(5), as in PEFT), B as zeros: the network begins as it was without.
//! Defaults: rank 8, alpha 16, the queries and values of all layers, `freeze_base` true: of the network itself nothing is trained
//! then, only A, B and the heads.
//! Cost: 2 rank (in + out) operations a token and map. With a pair for each task, a row that several tasks read goes through the
//! trunk once for each of them; rows of one task cost what they did, and all tasks of a pack still go in one pass.
//! When to use: many tasks on one large network, each with few parameters of its own; or where tasks disturb each other.
//! With `freeze_base` and a pair for each task no trained parameter is shared, so that balancing methods that compare gradients
//! have nothing to compare: use `freeze_base = false`, or `shared = true`.
//! Errors: a rank that is 0 or above the size of a map, a layer that the backbone does not have, a map that it does not have.
//! Paper: Hu et al. 2022, "LoRA: Low-rank adaptation of large language models".

use super::{LanePolicy, Map, Sharing, SharingConfig, Site, TrunkShape};
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
    /// Which linear maps are updated; queries and values by default. Where a backbone has none of them: all that it has.
    pub maps: Option<BTreeSet<Map>>,
    /// The lowest layer that is updated, from 0; all by default.
    pub first_layer: usize,
    /// One update for all tasks in place of one for each.
    pub shared: bool,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, maps: None, first_layer: 0, shared: false, freeze_base: true }
    }
}

/// Whose update it is; `None`: that of all tasks.
type OfTask = Option<String>;

/// See the module.
#[derive(Debug, Clone)]
pub struct Lora {
    config: LoraConfig,
    /// A and B, by task.
    pairs: BTreeMap<Site, BTreeMap<OfTask, [MatrixId; 2]>>,
    /// Which rows of which weight each site is.
    weights: BTreeMap<Site, (MatrixId, Range<usize>)>,
}

impl Lora {
    pub(super) fn new(config: LoraConfig) -> Self {
        Lora { config, pairs: BTreeMap::new(), weights: BTreeMap::new() }
    }

    fn scale(&self) -> f64 {
        self.config.alpha / self.config.rank as f64
    }

    /// The maps that are updated.
    fn maps(&self, trunk: &TrunkShape) -> Result<BTreeSet<Map>, ModelError> {
        let there: BTreeSet<Map> = trunk.sites().map(|(site, _)| site.map).collect();
        let Some(wanted) = &self.config.maps else {
            let usual = BTreeSet::from([Map::Query, Map::Value]);
            return Ok(if usual.is_subset(&there) { usual } else { there });
        };
        match wanted.iter().find(|map| !there.contains(map)) {
            Some(map) => Err(error("maps", map.name(), format!("maps of the backbone: {}", list(&there)))),
            None if wanted.is_empty() => Err(error("maps", "none", format!("one of {}", list(&there)))),
            None => Ok(wanted.clone()),
        }
    }
}

fn list(maps: &BTreeSet<Map>) -> String {
    maps.iter().map(|map| map.name()).collect::<Vec<_>>().join(", ")
}

fn error(key: &str, found: impl ToString, expected: impl Into<String>) -> ModelError {
    ModelError::Sharing { key: format!("lora.{key}"), found: found.to_string(), expected: expected.into() }
}

impl Sharing for Lora {
    fn config(&self) -> SharingConfig {
        SharingConfig::Lora(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let (rank, alpha, layers) = (self.config.rank, self.config.alpha, trunk.layers.len());
        if self.config.first_layer >= layers {
            let expected = format!("below {layers}, the layers of the backbone");
            return Err(error("first_layer", self.config.first_layer, expected));
        }
        if !(alpha.is_finite() && alpha > 0.0) {
            return Err(error("alpha", alpha, "a number above 0"));
        }
        let maps = self.maps(trunk)?;
        let owners: Vec<OfTask> = match self.config.shared {
            true => vec![None],
            false => tasks.iter().cloned().map(Some).collect(),
        };
        for (site, weight) in trunk.sites() {
            if site.layer < self.config.first_layer || !maps.contains(&site.map) {
                continue;
            }
            let (outputs, inputs) = (weight.rows.len(), weight.inputs);
            if rank == 0 || rank > outputs.min(inputs) {
                let expected = format!("from 1 to {}, the smaller size of {site}", outputs.min(inputs));
                return Err(error("rank", rank, expected));
            }
            self.weights.insert(site, (weight.weight, weight.rows.clone()));
            for task in &owners {
                let depth = Some(Depth::encoder(Level::layer(site.layer)));
                let of = task.as_deref().unwrap_or_default();
                let mut add = |factor: &str, shape: [usize; 2], init: Init| {
                    parameters.add_matrix(ParameterSpec {
                        name: format!("sharing.lora.{}.{site}.{factor}", of.replace('.', "..")).into(),
                        shape: &shape,
                        owner: task.clone().map_or(Owner::Trunk, Owner::task),
                        role: Role::Adapter,
                        depth,
                        init,
                    })
                };
                let a = add("a", [rank, inputs], Init::Uniform((inputs as f32).powf(-0.5)));
                let b = add("b", [outputs, rank], Init::Zeros);
                self.pairs.entry(site).or_default().insert(task.clone(), [a, b]);
            }
        }
        if self.config.freeze_base {
            for index in 0..parameters.len() {
                if parameters.parameter(index).is_base() {
                    parameters.set_trainable(index, false);
                }
            }
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        if self.config.shared { LanePolicy::Shared } else { LanePolicy::PerTask }
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn hooks(&self, site: Site) -> bool {
        self.pairs.contains_key(&site)
    }

    fn linear(
        &self,
        site: Site,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        y: Tensor<2>,
        columns: Range<usize>,
    ) -> Tensor<2> {
        let Some(pairs) = self.pairs.get(&site) else { return y };
        let factors = |[a, b]: &[MatrixId; 2]| [context.matrix(*a), context.matrix(*b)];
        let updates: Vec<(Range<usize>, [Tensor<2>; 2])> = match pairs.get(&None) {
            Some(shared) => vec![(0..x.dims()[0], factors(shared))],
            None => {
                let own = |lane: &crate::trunk::Lane| {
                    Some((lane.tokens.clone(), factors(pairs.get(&Some(lane.task.clone()))?)))
                };
                context.lanes().iter().filter_map(own).collect()
            }
        };
        kernels::grouped_low_rank(y, x.clone(), updates, columns, to_f32(self.scale()))
    }

    fn merged(&self, task: &str, parameters: &Parameters) -> Option<Vec<(MatrixId, Tensor<2>)>> {
        let mut merged: BTreeMap<usize, (MatrixId, Tensor<2>)> = BTreeMap::new();
        for (site, (weight, rows)) in &self.weights {
            let pairs = self.pairs.get(site)?;
            let [a, b] = pairs.get(&None).or_else(|| pairs.get(&Some(task.to_owned())))?;
            let update = parameters.matrix(*b).matmul(parameters.matrix(*a)) * self.scale();
            let (_, whole) =
                merged.entry(weight.index()).or_insert_with(|| (*weight, parameters.matrix(*weight)));
            let columns = whole.dims()[1];
            let part = whole.clone().slice([rows.clone(), 0..columns]) + update;
            *whole = whole.clone().slice_assign([rows.clone(), 0..columns], part);
        }
        Some(merged.into_values().collect())
    }
}
