//! AdapterFusion: adapters that were trained before, each on a task, which every task weights by an attention of its own.
//!
//! ```text
//! a_e = s_e Wu_e gelu(Wd_e y + bd_e) + bu_e                       the adapters, not trained any more; y: what the feed-forward half gives
//! w   = softmax_e((Q_t y) (K_t a_e))
//! y  <- y + V_t sum_e w_e a_e
//! ```
//!
//! `adapters` names the folders of saved models, `runs/NAME/model`, that were trained with `[sharing.adapters]` on the checkpoint that this
//! run begins with; each may have adapters of several tasks. Shapes: Q, K and V `[hidden, hidden]` for each task and layer. Q and K begin at
//! random (0.02), V as the identity: the network begins with the mean of all adapters, which is no hard sharing.
//! Defaults: nothing of the network is trained (`freeze_base`), only the attention and the heads.
//! Parameters: those of the adapters, and 3 hidden^2 for each layer and task.
//! Cost: all adapters, and 2 (2 + adapters) hidden^2 operations a token and layer; a row that several tasks read goes through the trunk once
//! for each.
//! When to use: tasks with few rows beside tasks with many, whose adapters are there already.
//! Errors: a folder without such adapters, adapters of another size or of a network that was trained with them (`freeze_base = false`),
//! parallel adapters or ones after the attention.
//! Paper: Pfeiffer et al. 2021, "AdapterFusion: non-destructive task composition for transfer learning".

use super::adapters::{Adapter, AdaptersConfig};
use super::build::{SchemeParameters, check_first_layer, owners};
use super::targets::{freeze_base, refused};
use super::{Half, LanePolicy, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::init::Init;
use crate::io::SavedAdapters;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[sharing.adapter_fusion]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterFusionConfig {
    /// The folders of saved models with `[sharing.adapters]`.
    pub adapters: Vec<PathBuf>,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
    /// What was found in the folders: written with a saved model, which has the adapters in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fused: Vec<FusedAdapter>,
}

impl Default for AdapterFusionConfig {
    fn default() -> Self {
        Self { adapters: Vec::new(), freeze_base: true, fused: Vec::new() }
    }
}

/// An adapter that takes part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FusedAdapter {
    /// The task that it was trained on.
    pub name: String,
    /// The width inside it.
    pub bottleneck: usize,
    /// What its output is multiplied by.
    pub scale: f64,
    /// The lowest layer that it has something in.
    pub first_layer: usize,
}

/// Queries, keys and values of a task in a layer.
type Attention = [MatrixId; 3];

/// See the module.
#[derive(Debug, Clone)]
pub struct AdapterFusion {
    config: AdapterFusionConfig,
    /// By layer, of each adapter that is there.
    adapters: BTreeMap<usize, Vec<(Adapter, f64)>>,
    attentions: BTreeMap<(usize, String), Attention>,
}

const NAME: &str = "adapter_fusion";

impl AdapterFusion {
    pub(super) fn new(config: AdapterFusionConfig) -> Self {
        AdapterFusion { config, adapters: BTreeMap::new(), attentions: BTreeMap::new() }
    }

    /// The adapters of all folders, with their weights; of a saved model, which has the weights itself, none.
    fn read(&self) -> Result<Vec<(FusedAdapter, Option<SavedAdapters>)>, ModelError> {
        if !self.config.fused.is_empty() {
            return Ok(self.config.fused.iter().map(|fused| (fused.clone(), None)).collect());
        }
        let mut found = Vec::new();
        for dir in &self.config.adapters {
            let shown = dir.display();
            let saved = SavedAdapters::open(dir)?;
            let SharingConfig::Adapters(AdaptersConfig { attention, parallel, freeze_base, scale, .. }) =
                saved.sharing.clone()
            else {
                let name = saved.sharing.name();
                let expected = "a model with [sharing.adapters]";
                return Err(refused(NAME, "adapters", format!("{shown} with [sharing.{name}]"), expected));
            };
            for (is_so, what) in [
                (attention, "attention = true"),
                (parallel, "parallel = true"),
                (!freeze_base, "freeze_base = false"),
            ] {
                if is_so {
                    let expected = "serial adapters after the feed-forward block of a frozen network";
                    return Err(refused(NAME, "adapters", format!("{shown} with {what}"), expected));
                }
            }
            for (name, bottleneck, first_layer) in saved.tasks() {
                let fused = FusedAdapter { name, bottleneck, scale: scale.unwrap_or(1.0), first_layer };
                found.push((fused, Some(saved.clone())));
            }
        }
        match found.is_empty() {
            true => Err(refused(NAME, "adapters", "none", "the folders of models with [sharing.adapters]")),
            false => Ok(found),
        }
    }
}

impl Sharing for AdapterFusion {
    fn config(&self) -> SharingConfig {
        SharingConfig::AdapterFusion(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        check_first_layer(NAME, 0, trunk)?;
        let (h, found) = (trunk.hidden, self.read()?);
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for (number, (fused, saved)) in found.iter().enumerate() {
            for layer in fused.first_layer..trunk.layers.len() {
                let sizes = [h, fused.bottleneck];
                let init = saved.as_ref().map(|saved| saved.values(&fused.name, layer, sizes)).transpose()?;
                let name = format!("adapter.{number}.layer.{layer}");
                let adapter = Adapter::build(&mut make, (&None, &name), layer, sizes, init);
                adapter.freeze(make.parameters);
                self.adapters.entry(layer).or_default().push((adapter, fused.scale));
            }
        }
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            for layer in self.adapters.keys() {
                let at = (Role::Adapter, Level::layer(*layer));
                let name = |part: &str| format!("layer.{layer}.{part}");
                let identity = (0..h * h).map(|i| f32::from(i % (h + 1) == 0)).collect();
                let attention = [
                    make.matrix((&owner, &name("query")), [h, h], at, Init::Normal(0.02)),
                    make.matrix((&owner, &name("key")), [h, h], at, Init::Normal(0.02)),
                    make.matrix((&owner, &name("value")), [h, h], at, Init::Data(identity)),
                ];
                self.attentions.insert((*layer, task.clone()), attention);
            }
        }
        self.config.fused = found.into_iter().map(|(fused, _)| fused).collect();
        if self.config.freeze_base {
            freeze_base(make.parameters);
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        LanePolicy::PerTask
    }

    fn first_layer(&self) -> usize {
        self.adapters.keys().next().copied().unwrap_or(usize::MAX)
    }

    fn hooks_half(&self, layer: usize, half: Half) -> bool {
        half == Half::FeedForward && self.adapters.contains_key(&layer)
    }

    fn after_half(
        &self,
        layer: usize,
        _half: Half,
        context: &LayerContext<'_>,
        _x: &Tensor<2>,
        y: Tensor<2>,
    ) -> Tensor<2> {
        let Some(adapters) = self.adapters.get(&layer) else { return y };
        let width = y.dims()[1];
        let of_adapters: Vec<Tensor<2>> =
            adapters.iter().map(|(adapter, scale)| adapter.run(context, y.clone(), *scale)).collect();
        let side_by_side = |parts: Vec<Tensor<2>>| kernels::join_columns(parts);
        let seen = side_by_side([vec![y.clone()], of_adapters].concat());
        let update = context.by_task(seen, false, |task, seen| {
            let [query, key, value] = *self.attentions.get(&(layer, task?))?;
            let linear = |x: Tensor<2>, weight: MatrixId| context.product(x, context.matrix(weight));
            let block = |at: usize| kernels::take_columns(seen.clone(), at * width..(at + 1) * width);
            let count = adapters.len();
            let keys = side_by_side((1..=count).map(|at| linear(block(at), key)).collect());
            let weights = kernels::softmax(kernels::batched_matvec(keys, linear(block(0), query)));
            let all = kernels::take_columns(seen.clone(), width..(count + 1) * width);
            Some(linear(kernels::mix(all, weights, count), value))
        });
        match update {
            Some(update) => kernels::add(y, update),
            None => y,
        }
    }

    /// Keys are made of every adapter's output.
    fn used_share(&self, _parameters: &Parameters, index: usize) -> f64 {
        let is_key = self.attentions.values().any(|[_, key, _]| key.index() == index);
        if is_key { self.config.fused.len() as f64 } else { 1.0 }
    }
}
