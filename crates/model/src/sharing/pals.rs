//! Projected attention layers: beside every layer a small attention of the task, between projections that all layers share.
//!
//! ```text
//! feed-forward half of layer l gives   y + V_down attention_t,l(V_up x)              x: the states that enter the layer
//! ```
//!
//! Shapes: V_up `[width, hidden]` and V_down `[hidden, width]` for each task, one pair for all layers; queries, keys and values
//! `[3 width, width]` for each task and layer. V_down begins as zeros: hard sharing.
//! Defaults: width hidden / 4, 4 heads, all layers; the network is trained too (`freeze_base = false`), as in the paper.
//! Parameters: for each task 2 width hidden + layers 3 width^2.
//! Cost: 4 width hidden + 6 width^2 operations a token and layer, and a small attention; a row that several tasks read goes through the
//! trunk once for each.
//! When to use: where adapters are too little because a task needs other words of the row than the rest does.
//! Errors: a width that the heads do not divide, a layer that the backbone does not have.
//! Paper: Stickland and Murray 2019, "BERT and PALs: projected attention layers for efficient adaptation in multi-task learning".

use super::build::{SchemeParameters, check_first_layer, owners};
use super::targets::{freeze_base, refused};
use super::{LanePolicy, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::{EncoderInput, LayerContext, TokenSelection};
use burn::tensor::Tensor;
use kernels::AttentionSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.pals]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PalsConfig {
    /// Width of the small attention. Left out: a quarter of the width of a state, rounded down to a multiple of the heads.
    #[schemars(range(min = 1, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Its heads.
    #[schemars(range(min = 1, max = 65536))]
    pub heads: usize,
    /// The lowest layer that has one, from 0; all by default.
    pub first_layer: usize,
    /// Train nothing of the network itself.
    pub freeze_base: bool,
}

impl Default for PalsConfig {
    fn default() -> Self {
        Self { width: None, heads: 4, first_layer: 0, freeze_base: false }
    }
}

/// What a task has for itself.
#[derive(Debug, Clone)]
struct Projected {
    up: MatrixId,
    down: MatrixId,
    /// Queries, keys and values, by layer.
    qkv: BTreeMap<usize, MatrixId>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Pals {
    config: PalsConfig,
    tasks: BTreeMap<String, Projected>,
    /// Whether a token sees none after it.
    causal: bool,
}

const NAME: &str = "pals";

impl Pals {
    pub(super) fn new(config: PalsConfig) -> Self {
        Pals { config, tasks: BTreeMap::new(), causal: false }
    }
}

impl Sharing for Pals {
    fn config(&self) -> SharingConfig {
        SharingConfig::Pals(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let PalsConfig { width, heads, first_layer, freeze_base: frozen } = self.config;
        check_first_layer(NAME, first_layer, trunk)?;
        if heads == 0 || heads > 65_536 {
            return Err(refused(NAME, "heads", heads, "from 1 to 65536"));
        }
        let h = trunk.hidden;
        let width = width.unwrap_or((h / 4 / heads * heads).max(heads));
        if width == 0 || width > 65_536 || !width.is_multiple_of(heads) {
            return Err(refused(NAME, "width", width, format!("a multiple of {heads}, the heads")));
        }
        self.causal = trunk.causal;
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let at = |layer: usize| (Role::Adapter, Level::layer(layer));
            let up = make.matrix((&owner, "up"), [width, h], at(first_layer), Init::glorot(h, width));
            let down = make.matrix((&owner, "down"), [h, width], at(first_layer), Init::Zeros);
            let qkv = |layer: usize| {
                let name = format!("layer.{layer}.qkv");
                let first = Init::glorot(width, width);
                (layer, make.matrix((&owner, &name), [3 * width, width], at(layer), first))
            };
            let qkv = (first_layer..trunk.layers.len()).map(qkv).collect();
            self.tasks.insert(task.clone(), Projected { up, down, qkv });
        }
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

    fn attends(&self) -> bool {
        true
    }

    fn beside_layer(
        &self,
        layer: usize,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        input: &EncoderInput<'_>,
        selection: Option<&TokenSelection<'_>>,
    ) -> Option<Tensor<2>> {
        let linear = |x: Tensor<2>, weight: MatrixId| context.product(x, context.matrix(weight));
        let of = |task: Option<String>| self.tasks.get(&task?);
        let qkv = context.by_task(x.clone(), false, |task, x| {
            let own = of(task)?;
            Some(linear(linear(x, own.up), *own.qkv.get(&layer)?))
        })?;
        let settings = AttentionSettings { causal: self.causal, ..AttentionSettings::new(self.config.heads) };
        let attended = kernels::attention(qkv, input.offsets, settings);
        let narrowed;
        let (context, attended) = match selection {
            None => (context, attended),
            Some(selection) => {
                narrowed = context.select(selection);
                (&narrowed, kernels::gather_rows(attended, selection.tokens))
            }
        };
        context.by_task(attended, false, |task, x| Some(linear(x, of(task)?.down)))
    }
}
