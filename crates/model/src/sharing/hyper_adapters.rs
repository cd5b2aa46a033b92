//! Adapters made by a hypernetwork: one network makes the adapters of all tasks and layers from embeddings of these.
//!
//! ```text
//! i    = V2 gelu(V1 [z_t, z_layer] + c1) + c2                     what task and layer are, `[embedding]`
//! y    + Wu gelu(Wd y)         Wd = D i `[bottleneck, hidden]`, Wu = U i `[hidden, bottleneck]`
//! ```
//!
//! y is what the feed-forward half of a layer gives. Shapes: z `[embedding]` for each task and each layer, V1 `[embedding, 2 embedding]`, V2
//! `[embedding, embedding]`, D and U `[bottleneck hidden, embedding]`. U begins as zeros: hard sharing.
//! Defaults: embedding 64, bottleneck hidden / 16, all layers, nothing else of the network is trained (`freeze_base`).
//! Parameters: embedding for each task and layer, 3 embedding^2 + 2 embedding, and 2 bottleneck hidden embedding: a further task costs
//! one embedding.
//! Cost: as `adapters`, and 4 bottleneck hidden embedding operations for each layer and task of a pack.
//! When to use: many tasks with few rows, which then learn from each other through the hypernetwork.
//! Errors: as `adapters`.
//! Papers: Karimi Mahabadi et al. 2021, "Parameter-efficient multi-task fine-tuning for transformers via shared hypernetworks"
//! (HyperFormer++).

use super::build::{SchemeParameters, check_first_layer, owners};
use super::targets::{freeze_base, refused};
use super::{Half, LanePolicy, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role, VectorId};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.hyper_adapters]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HyperAdaptersConfig {
    /// Width of the embeddings of tasks and layers.
    #[schemars(range(min = 1, max = 65536))]
    pub embedding: usize,
    /// Width inside an adapter. Left out: a sixteenth of the width of a state.
    #[schemars(range(min = 1, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<usize>,
    /// The lowest layer that has adapters, from 0; all by default.
    pub first_layer: usize,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
}

impl Default for HyperAdaptersConfig {
    fn default() -> Self {
        Self { embedding: 64, bottleneck: None, first_layer: 0, freeze_base: true }
    }
}

/// The parameters that all tasks and layers share.
#[derive(Debug, Clone, Copy)]
struct Hypernetwork {
    inside: (MatrixId, VectorId),
    outside: (MatrixId, VectorId),
    down: MatrixId,
    up: MatrixId,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct HyperAdapters {
    config: HyperAdaptersConfig,
    bottleneck: usize,
    tasks: BTreeMap<String, MatrixId>,
    layers: BTreeMap<usize, MatrixId>,
    network: Option<Hypernetwork>,
}

const NAME: &str = "hyper_adapters";

impl HyperAdapters {
    pub(super) fn new(config: HyperAdaptersConfig) -> Self {
        let (tasks, layers) = (BTreeMap::new(), BTreeMap::new());
        HyperAdapters { config, bottleneck: 0, tasks, layers, network: None }
    }

    /// The weights of the adapter of a task in a layer.
    fn adapter(&self, task: &str, layer: usize, context: &LayerContext<'_>) -> Option<[Tensor<2>; 2]> {
        let Hypernetwork { inside, outside, down, up } = self.network?;
        let of = |id: &MatrixId| context.matrix(*id);
        let known = kernels::join_columns(vec![of(self.tasks.get(task)?), of(self.layers.get(&layer)?)]);
        let weights = |(w, b): (MatrixId, VectorId)| (context.matrix(w), context.vector(b));
        let ((w1, b1), (w2, b2)) = (weights(inside), weights(outside));
        let what = kernels::ffn(known, w1, b1, w2, b2, context.precision());
        let made = |generator: MatrixId, shape: [usize; 2]| {
            context.product(what.clone(), context.matrix(generator)).reshape(shape)
        };
        let hidden = context.matrix(down).dims()[0] / self.bottleneck;
        Some([made(down, [self.bottleneck, hidden]), made(up, [hidden, self.bottleneck])])
    }
}

impl Sharing for HyperAdapters {
    fn config(&self) -> SharingConfig {
        SharingConfig::HyperAdapters(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let HyperAdaptersConfig { embedding, bottleneck, first_layer, freeze_base: frozen } = self.config;
        check_first_layer(NAME, first_layer, trunk)?;
        let h = trunk.hidden;
        self.bottleneck = bottleneck.unwrap_or((h / 16).max(1));
        for (key, found) in [("embedding", embedding), ("bottleneck", self.bottleneck)] {
            if found == 0 || found > 65_536 {
                return Err(refused(NAME, key, found, "from 1 to 65536"));
            }
        }
        let mut make = SchemeParameters { scheme: NAME, parameters };
        let of_layer = |layer: usize| (Role::Gate, Level::layer(layer));
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let first = Init::Normal(1.0);
            let vector = make.matrix((&owner, "embedding"), [1, embedding], of_layer(first_layer), first);
            self.tasks.insert(task.clone(), vector);
        }
        for layer in first_layer..trunk.layers.len() {
            let name = format!("layer.{layer}.embedding");
            let vector = make.matrix((&None, &name), [1, embedding], of_layer(layer), Init::Normal(1.0));
            self.layers.insert(layer, vector);
        }
        let at = (Role::Adapter, Level::layer(first_layer));
        let mut linear = |name: &str, [outputs, inputs]: [usize; 2]| {
            let first = Init::glorot(inputs, outputs);
            (
                make.matrix((&None, &format!("{name}.weight")), [outputs, inputs], at, first),
                make.vector((&None, &format!("{name}.bias")), outputs, at, Init::Zeros),
            )
        };
        let inside = linear("in", [embedding, 2 * embedding]);
        let outside = linear("out", [embedding, embedding]);
        let size = [self.bottleneck * h, embedding];
        // Of numbers of size 1 it makes weights as small as adapters begin with.
        let small = Init::Normal(0.02 / (embedding as f32).sqrt());
        let down = make.matrix((&None, "down"), size, at, small);
        let up = make.matrix((&None, "up"), size, at, Init::Zeros);
        self.network = Some(Hypernetwork { inside, outside, down, up });
        if frozen {
            freeze_base(make.parameters);
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        LanePolicy::PerTask
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn hooks_half(&self, layer: usize, half: Half) -> bool {
        half == Half::FeedForward && self.layers.contains_key(&layer)
    }

    fn after_half(
        &self,
        layer: usize,
        _half: Half,
        context: &LayerContext<'_>,
        _x: &Tensor<2>,
        y: Tensor<2>,
    ) -> Tensor<2> {
        let update = context.by_task(y.clone(), false, |task, y| {
            let [down, up] = self.adapter(task.as_deref()?, layer, context)?;
            let zeros = |w: &Tensor<2>| Tensor::zeros([w.dims()[0]], &w.device());
            let (b1, b2) = (zeros(&down), zeros(&up));
            Some(kernels::ffn(y, down, b1, up, b2, context.precision()))
        });
        match update {
            Some(update) => kernels::add(y, update),
            None => y,
        }
    }

    /// The generators make the weights of a layer's adapter once for all tokens, which then are multiplied with these.
    fn used_share(&self, parameters: &Parameters, index: usize) -> f64 {
        if parameters.parameter(index).is_base() {
            return 1.0;
        }
        let is_generator =
            self.network.is_some_and(|of| [of.down, of.up].iter().any(|id| id.index() == index));
        if is_generator { self.layers.len() as f64 / self.config.embedding as f64 } else { 0.0 }
    }
}
