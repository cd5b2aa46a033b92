//! Bottleneck adapters: a small network in every layer, for each task or for all.
//!
//! ```text
//! serial:    y + s Wu act(Wd y + bd) + bu        y: what a half of a layer gives, before it is added to the states
//! parallel:  y + s Wu act(Wd x + bd) + bu        x: what that half was given
//! ```
//!
//! Shapes: Wd `[bottleneck, hidden]`, Wu `[hidden, bottleneck]`. Wu and bu begin as zeros: the network begins as it was without.
//! Defaults: bottleneck hidden / 16, at least 1; after the feed-forward block of every layer (Pfeiffer et al. 2021), `attention =
//! true` adds one after the attention (Houlsby et al. 2019); serial; act is the exact GELU; s is 1, and 4 for parallel ones (He et al.
//! 2022).
//! `freeze_base` true: of the network itself nothing is trained.
//! Parameters: 2 bottleneck hidden + bottleneck + hidden an adapter; one or two a layer, for each task.
//! Cost: 4 bottleneck hidden operations a token and adapter. With an adapter for each task, a row that several tasks read goes through
//! the trunk once for each of them; all tasks of a pack go in one pass.
//! When to use: as LoRA; slower to predict with, as adapters cannot be merged into the weights, but able to do more with few
//! parameters where the task is far from what the network was trained for.
//! Errors: a bottleneck of 0, a layer that the backbone does not have, `attention = true` where it has none.
//! Papers: Houlsby et al. 2019, "Parameter-efficient transfer learning for NLP"; Pfeiffer et al. 2021, "AdapterFusion"; He et al. 2022,
//! "Towards a unified view of parameter-efficient transfer learning".

use super::build::{OfTask, SchemeParameters, check_first_layer, owners};
use super::targets::{freeze_base, refused};
use super::{Half, LanePolicy, Map, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role, VectorId};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.adapters]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptersConfig {
    /// Width inside an adapter. Left out: a sixteenth of the width of a state.
    #[schemars(range(min = 1, max = 65536))]
    pub bottleneck: Option<usize>,
    /// Also one after the attention of each layer.
    pub attention: bool,
    /// Reads what its half of the layer was given, in place of what that gives.
    pub parallel: bool,
    /// What the output is multiplied by. Left out: 1, and 4 with `parallel`.
    #[schemars(range(min = 0.0))]
    pub scale: Option<f64>,
    /// The lowest layer that has adapters, from 0; all by default.
    pub first_layer: usize,
    /// One adapter for all tasks in place of one for each.
    pub shared: bool,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
}

impl Default for AdaptersConfig {
    fn default() -> Self {
        Self {
            bottleneck: None,
            attention: false,
            parallel: false,
            scale: None,
            first_layer: 0,
            shared: false,
            freeze_base: true,
        }
    }
}

/// The parameters of one adapter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adapter {
    down: MatrixId,
    down_bias: VectorId,
    up: MatrixId,
    up_bias: VectorId,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Adapters {
    config: AdaptersConfig,
    adapters: BTreeMap<(usize, Half), BTreeMap<OfTask, Adapter>>,
}

impl Adapters {
    pub(super) fn new(config: AdaptersConfig) -> Self {
        Adapters { config, adapters: BTreeMap::new() }
    }

    fn scale(&self) -> f64 {
        self.config.scale.unwrap_or(if self.config.parallel { 4.0 } else { 1.0 })
    }

    fn halves(&self) -> &'static [Half] {
        if self.config.attention { &[Half::Attention, Half::FeedForward] } else { &[Half::FeedForward] }
    }
}

impl Adapter {
    /// An adapter of so many numbers inside, called `name.*`. It begins with `values` (down, its bias, up, its bias), or with zeros in
    /// what goes up.
    pub(super) fn build(
        make: &mut SchemeParameters<'_>,
        (task, name): (&OfTask, &str),
        layer: usize,
        [hidden, width]: [usize; 2],
        values: Option<[Vec<f32>; 4]>,
    ) -> Self {
        let at = (Role::Adapter, Level::layer(layer));
        // As BERT's own maps begin.
        let fresh = [Init::Normal(0.02), Init::Zeros, Init::Zeros, Init::Zeros];
        let [down, down_bias, up, up_bias] = values.map_or(fresh, |values| values.map(Init::Data));
        let name = |part: &str| format!("{name}.{part}");
        Adapter {
            down: make.matrix((task, &name("down.weight")), [width, hidden], at, down),
            down_bias: make.vector((task, &name("down.bias")), width, at, down_bias),
            up: make.matrix((task, &name("up.weight")), [hidden, width], at, up),
            up_bias: make.vector((task, &name("up.bias")), hidden, at, up_bias),
        }
    }

    /// Trains it no more.
    pub(super) fn freeze(&self, parameters: &mut Parameters) {
        let all = [self.down.index(), self.down_bias.index(), self.up.index(), self.up_bias.index()];
        all.into_iter().for_each(|index| parameters.set_trainable(index, false));
    }

    pub(super) fn run(&self, context: &LayerContext<'_>, x: Tensor<2>, scale: f64) -> Tensor<2> {
        let precision = context.precision();
        let (down, bias) = (context.matrix(self.down), context.vector(self.down_bias));
        let inner = kernels::linear_gelu(x, down, bias, precision);
        let (up, bias) =
            (scaled(context.matrix(self.up), scale), scaled(context.vector(self.up_bias), scale));
        kernels::linear(inner, up, bias, precision)
    }
}

/// The weight times a factor. 1, the default, costs nothing.
fn scaled<const D: usize>(x: Tensor<D>, factor: f64) -> Tensor<D> {
    if factor == 1.0 { x } else { x * factor }
}

impl Sharing for Adapters {
    fn config(&self) -> SharingConfig {
        SharingConfig::Adapters(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        const NAME: &str = "adapters";
        check_first_layer(NAME, self.config.first_layer, trunk)?;
        let scale = self.scale();
        if !(scale.is_finite() && scale > 0.0) {
            return Err(refused(NAME, "scale", scale, "a number above 0"));
        }
        let width = self.config.bottleneck.unwrap_or((trunk.hidden / 16).max(1));
        if width == 0 || width > 65_536 {
            return Err(refused(NAME, "bottleneck", width, "from 1 to 65536"));
        }
        let has_attention = trunk.sites().any(|(site, _)| site.map == Map::AttentionOutput);
        if self.config.attention && !has_attention {
            return Err(refused(NAME, "attention", true, "false: the backbone has no attention"));
        }
        let owners = owners(tasks, self.config.shared);
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for layer in self.config.first_layer..trunk.layers.len() {
            for half in self.halves() {
                for task in &owners {
                    let name = format!("layer.{layer}.{}", half.name());
                    let sizes = [trunk.hidden, width];
                    let adapter = Adapter::build(&mut make, (task, &name), layer, sizes, None);
                    self.adapters.entry((layer, *half)).or_default().insert(task.clone(), adapter);
                }
            }
        }
        if self.config.freeze_base {
            freeze_base(make.parameters);
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        if self.config.shared { LanePolicy::Shared } else { LanePolicy::PerTask }
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn hooks_half(&self, layer: usize, half: Half) -> bool {
        self.adapters.contains_key(&(layer, half))
    }

    fn after_half(
        &self,
        layer: usize,
        half: Half,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        y: Tensor<2>,
    ) -> Tensor<2> {
        let Some(adapters) = self.adapters.get(&(layer, half)) else { return y };
        let from = if self.config.parallel { x.clone() } else { y.clone() };
        let update = context.by_task(from, self.config.shared, |task, x| {
            Some(adapters.get(&task)?.run(context, x, self.scale()))
        });
        match update {
            Some(update) => kernels::add(y, update),
            None => y,
        }
    }
}

impl Half {
    /// Its part of a parameter's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Half::Attention => "attention",
            Half::FeedForward => "feed_forward",
        }
    }
}
