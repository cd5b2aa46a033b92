//! Multi-task attention: each task goes through the layers with masks of its own over what the shared trunk found.
//!
//! ```text
//! h_t,l = sigmoid(W2 gelu(W1 [p_l, h_t,l-1] + b1) + b2) p_l           p_l: the shared states out of layer l; h_t,first = p_first
//! ```
//!
//! The task reads h of the last layer. Shapes, for each task and layer: W1 `[width, 2 hidden]`, W2 `[hidden, width]`. W2 begins as zeros and
//! b2 as `start`: 5 by default, where the mask is 0.993 everywhere; the network begins as hard sharing only where it is larger.
//! Defaults: all layers, width hidden / 16, at least 1.
//! Parameters: 3 width hidden + width + hidden for each layer and task.
//! Cost: 6 width hidden operations a token and layer for each task that reads it, above a trunk that runs once for all.
//! When to use: as adapters where rows are read by many tasks at once: the layers run once for all of them, only the masks for each.
//! The masks see one token at a time; bottleneck adapters and LoRA change what attention sees, and are stronger on text.
//! Errors: a layer that the backbone does not have, a width of 0.
//! Paper: Liu et al. 2019, "End-to-end multi-task learning with attention" (MTAN), made for images.

use super::build::{SchemeParameters, check_first_layer, owners};
use super::targets::refused;
use super::{Sharing, SharingConfig, TrunkShape};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role, VectorId};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.mtan]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MtanConfig {
    /// Width inside a mask's network. Left out: a sixteenth of the width of a state.
    #[schemars(range(min = 1, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// What the masks begin as, before the sigmoid.
    pub start: f64,
    /// The lowest layer with masks, from 0; all by default.
    pub first_layer: usize,
}

impl Default for MtanConfig {
    fn default() -> Self {
        Self { width: None, start: 5.0, first_layer: 0 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Mask {
    inside: (MatrixId, VectorId),
    outside: (MatrixId, VectorId),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Mtan {
    config: MtanConfig,
    hidden: usize,
    /// By task, layer after layer.
    masks: BTreeMap<String, Vec<Mask>>,
}

const NAME: &str = "mtan";

impl Mtan {
    pub(super) fn new(config: MtanConfig) -> Self {
        Mtan { config, hidden: 0, masks: BTreeMap::new() }
    }
}

impl Sharing for Mtan {
    fn config(&self) -> SharingConfig {
        SharingConfig::Mtan(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let MtanConfig { width, start, first_layer } = self.config;
        check_first_layer(NAME, first_layer, trunk)?;
        let (h, width) = (trunk.hidden, width.unwrap_or((trunk.hidden / 16).max(1)));
        if width == 0 || width > 65_536 {
            return Err(refused(NAME, "width", width, "from 1 to 65536"));
        }
        if !start.is_finite() {
            return Err(refused(NAME, "start", start, "a finite number"));
        }
        self.hidden = h;
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let mask = |layer: usize| {
                let at = (Role::Adapter, Level::layer(layer));
                let name = |part: &str| format!("layer.{layer}.{part}");
                let first = Init::glorot(2 * h, width);
                let w1 = make.matrix((&owner, &name("in.weight")), [width, 2 * h], at, first);
                let b1 = make.vector((&owner, &name("in.bias")), width, at, Init::Zeros);
                let w2 = make.matrix((&owner, &name("out.weight")), [h, width], at, Init::Zeros);
                let start = Init::Data(vec![to_f32(start); h]);
                let b2 = make.vector((&owner, &name("out.bias")), h, at, start);
                Mask { inside: (w1, b1), outside: (w2, b2) }
            };
            let masks = (first_layer..trunk.layers.len()).map(mask).collect();
            self.masks.insert(task.clone(), masks);
        }
        Ok(())
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn keeps_layers(&self) -> bool {
        true
    }

    fn reads_out(&self) -> bool {
        true
    }

    fn readout(
        &self,
        task: Option<&str>,
        context: &LayerContext<'_>,
        states: Tensor<2>,
        _rows: &RowOffsets,
    ) -> Tensor<2> {
        let h = self.hidden;
        let of_layer = |layer: usize| kernels::take_columns(states.clone(), layer * h..(layer + 1) * h);
        let Some(masks) = task.and_then(|task| self.masks.get(task)) else {
            return of_layer(states.dims()[1] / h - 1);
        };
        let weights = |(w, b): (MatrixId, VectorId)| (context.matrix(w), context.vector(b));
        masks.iter().zip(1..).fold(of_layer(0), |own, (mask, layer)| {
            let shared = of_layer(layer);
            let ((w1, b1), (w2, b2)) = (weights(mask.inside), weights(mask.outside));
            let seen = kernels::join_columns(vec![shared.clone(), own]);
            kernels::sigmoid_gate(kernels::ffn(seen, w1, b1, w2, b2, context.precision()), shared)
        })
    }
}
