//! IA3: trained scales of keys, values and the states inside feed-forward blocks, for each task or for all.
//!
//! ```text
//! y = l_t * (W x + bias)                       maps that write: query, key, value, ffn_in, ffn_gate
//! y = W (l_t * x) + bias                       maps that read what others wrote: attention_output, ffn_out
//! ```
//!
//! t is the task of the row; with `shared = true` there is one l for all tasks. Shapes: l_t `[out]`, or `[in]` of maps that are scaled at
//! their input, for every map of every layer that `maps` and `first_layer` name. l_t begins as ones: the network begins as it was.
//! Parameters a task: `out`, or `in`, for each map; for a BERT of width h and 4 h inside `6 h` a layer.
//! Defaults: keys, values and ffn_out of all layers, as in the paper and in PEFT, `freeze_base` true.
//! Cost: a multiplication a number. With scales for each task, a row that several tasks read goes through the trunk once for each.
//! PEFT: a saved model has `adapters/TASK/`, or `adapters/shared/`; `init_from` begins with such folders.
//! When to use: very many tasks, or few rows; learning rates are about 10 times those of LoRA.
//! Errors: a layer or a map that the backbone does not have.
//! Paper: Liu et al. 2022, "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning".

use super::low_rank::{FactorBuilder, Sites};
use super::targets::{Targets, freeze_base};
use super::{InitFrom, LanePolicy, Map, PeftAdapter, PeftTensor, Sharing, SharingConfig, Site, TrunkShape};
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{ParameterTensor, Parameters, VectorId};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// `[sharing.ia3]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ia3Config {
    /// Which linear maps are scaled; keys, values and ffn_out by default, as far as the backbone has them.
    pub maps: Option<BTreeSet<Map>>,
    /// The lowest layer that is scaled, from 0; all by default.
    pub first_layer: usize,
    /// One scale for all tasks in place of one for each.
    pub shared: bool,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
    /// Adapters in PEFT's layout to begin with: a folder for all tasks, or a table with folders by task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<InitFrom>,
}

impl Default for Ia3Config {
    fn default() -> Self {
        Self { maps: None, first_layer: 0, shared: false, freeze_base: true, init_from: None }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Ia3 {
    config: Ia3Config,
    sites: Sites,
    /// By task and site.
    scales: BTreeMap<(Option<String>, Site), VectorId>,
}

/// Whether a map is scaled at its input.
fn reads(map: Map) -> bool {
    matches!(map, Map::AttentionOutput | Map::FfnOut)
}

impl Ia3 {
    pub(super) fn new(config: Ia3Config) -> Self {
        Ia3 { config, sites: BTreeMap::new(), scales: BTreeMap::new() }
    }

    fn scaled(
        &self,
        site: Site,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        columns: Range<usize>,
    ) -> Tensor<2> {
        let parameters = context.parameters();
        let group = |rows: Range<usize>, task: Option<String>| {
            Some((rows, parameters.vector(*self.scales.get(&(task, site))?)))
        };
        let groups = match self.config.shared {
            true => group(0..x.dims()[0], None).into_iter().collect(),
            false => {
                let lanes = context.lanes().iter();
                lanes.filter_map(|lane| group(lane.tokens.clone(), Some(lane.task.clone()))).collect()
            }
        };
        kernels::grouped_scale(x, groups, columns, None)
    }
}

impl Sharing for Ia3 {
    fn config(&self) -> SharingConfig {
        SharingConfig::Ia3(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let Ia3Config { maps, first_layer, shared, freeze_base: frozen, init_from } = &self.config;
        let usual = &[Map::Key, Map::Value, Map::FfnOut];
        let targets = Targets { scheme: "ia3", maps: maps.as_ref(), usual, first_layer: *first_layer };
        self.sites = targets.choose(trunk)?;
        if let Some(from) = init_from {
            from.check("ia3", *shared, tasks)?;
        }
        let owners: Vec<Option<&String>> =
            if *shared { vec![None] } else { tasks.iter().map(Some).collect() };
        let mut make = FactorBuilder { scheme: "ia3", parameters };
        for (site, weight) in &self.sites {
            let len = if reads(site.map) { weight.inputs } else { weight.rows.len() };
            for task in &owners {
                let scale = make.vector(*site, task.map(String::as_str), "scale", len, Init::Ones);
                self.scales.insert((task.cloned(), *site), scale);
            }
        }
        if *frozen {
            freeze_base(parameters);
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
        self.sites.contains_key(&site)
    }

    fn input(&self, site: Site, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        let width = x.dims()[1];
        if reads(site.map) { self.scaled(site, context, x, 0..width) } else { x }
    }

    fn linear(
        &self,
        site: Site,
        context: &LayerContext<'_>,
        _x: &Tensor<2>,
        y: Tensor<2>,
        columns: Range<usize>,
    ) -> Tensor<2> {
        if reads(site.map) { y } else { self.scaled(site, context, y, columns) }
    }

    fn merged(&self, task: &str, parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        let (mut weights, mut biases) = (BTreeMap::new(), BTreeMap::new());
        for (site, weight) in &self.sites {
            let task = (!self.config.shared).then(|| task.to_owned());
            let scale = parameters.vector(*self.scales.get(&(task, *site))?);
            let whole: &mut Tensor<2> =
                weights.entry(weight.weight.index()).or_insert_with(|| parameters.matrix(weight.weight));
            let place = [weight.rows.clone(), 0..weight.inputs];
            let part = whole.clone().slice(place.clone());
            let part = match reads(site.map) {
                true => part * scale.clone().reshape([1, weight.inputs]),
                false => kernels::scale_rows(part, scale.clone()),
            };
            *whole = whole.clone().slice_assign(place, part);
            if let (Some(bias), false) = (weight.bias, reads(site.map)) {
                let whole: &mut Tensor<1> =
                    biases.entry(bias.index()).or_insert_with(|| parameters.vector(bias));
                let part = whole.clone().slice([weight.rows.clone()]) * scale;
                *whole = whole.clone().slice_assign([weight.rows.clone()], part);
            }
        }
        let weights = weights.into_iter().map(|(index, whole)| (index, ParameterTensor::Matrix(whole)));
        let biases = biases.into_iter().map(|(index, whole)| (index, ParameterTensor::Vector(whole)));
        Some(weights.chain(biases).collect())
    }

    fn adapters(&self) -> Vec<PeftAdapter> {
        let mut adapters: BTreeMap<&Option<String>, Vec<PeftTensor>> = BTreeMap::new();
        for ((task, site), scale) in &self.scales {
            let Some(weight) = self.sites.get(site) else { continue };
            let shape = if reads(site.map) { [1, weight.inputs] } else { [weight.rows.len(), 1] };
            let tensor = PeftTensor::of_map(*site, "ia3_l", &shape, vec![scale.index()]);
            adapters.entry(task).or_default().push(tensor);
        }
        let config = json!({ "peft_type": "IA3", "fan_in_fan_out": false, "init_ia3_weights": true });
        let adapter = |(task, tensors): (&Option<String>, _)| PeftAdapter {
            at_input: self.sites.keys().copied().filter(|site| reads(site.map)).collect(),
            ..PeftAdapter::new(task.clone(), config.clone(), tensors)
        };
        adapters.into_iter().map(adapter).collect()
    }

    fn init_from(&self) -> Option<&InitFrom> {
        self.config.init_from.as_ref()
    }
}
