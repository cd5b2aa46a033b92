//! Cross-stitch: a trunk for each task, and between their layers learned sums of what all trunks found.
//!
//! ```text
//! x_t = sum_u a[t, u] h_u          what enters layer l of task t, from the states h_u that the trunks of all tasks u gave
//! ```
//!
//! Shapes: a `[tasks, tasks]`, one for each layer above the lowest of the columns. All trunks begin as the checkpoint, and the rows of a
//! sum to 1: the network begins as hard sharing. `own` (0.9 by default) is where a[t, t] begins, the others share the rest.
//! Defaults: the columns part at the last half of the layers (`first_layer`).
//! Parameters: (tasks - 1) times those of the layers from `first_layer` on, and tasks^2 numbers a layer.
//! Cost: every row goes through the columns of all tasks, also to answer one of them: from `first_layer` on tasks times the operations.
//! The numbers a want a higher learning rate than the network (100 to 1,000 times in the paper): they have that of adapters.
//! When to use: small trunks and few tasks, when it is worth its cost to find out how much tasks share, layer by layer.
//! Errors: a layer that the backbone does not have, frozen layers above `first_layer`.
//! Paper: Misra et al. 2016, "Cross-stitch networks for multi-task learning".

use super::build::SchemeParameters;
use super::columns::{Columns, half_of_the_layers};
use super::targets::refused;
use super::{Sharing, SharingConfig, TrunkShape, WeightCopies};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.cross_stitch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CrossStitchConfig {
    /// The lowest layer that each task has for itself, from 0. Left out: the first of the upper half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_layer: Option<usize>,
    /// The weight of a task's own states at the beginning, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub own: f64,
}

impl Default for CrossStitchConfig {
    fn default() -> Self {
        Self { first_layer: None, own: 0.9 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct CrossStitch {
    config: CrossStitchConfig,
    columns: Columns,
    /// The units `[1, tasks tasks]`, by the layer that they stand before.
    units: BTreeMap<usize, MatrixId>,
}

const NAME: &str = "cross_stitch";

impl CrossStitch {
    pub(super) fn new(config: CrossStitchConfig) -> Self {
        CrossStitch { config, columns: Columns::default(), units: BTreeMap::new() }
    }
}

/// The weights of a unit: `own` for a task's own states, and the rest for the others.
fn first_weights(tasks: usize, own: f64) -> Init {
    let (own, other) = if tasks > 1 { (own, (1.0 - own) / (tasks - 1) as f64) } else { (1.0, 0.0) };
    let weight = |at: usize| to_f32(if at / tasks == at % tasks { own } else { other });
    Init::Data((0..tasks * tasks).map(weight).collect())
}

impl Sharing for CrossStitch {
    fn config(&self) -> SharingConfig {
        SharingConfig::CrossStitch(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let own = self.config.own;
        if !(0.0..=1.0).contains(&own) {
            return Err(refused(NAME, "own", own, "a weight from 0 to 1"));
        }
        let first = self.config.first_layer.unwrap_or_else(|| half_of_the_layers(trunk));
        self.columns = Columns::build(NAME, first, trunk, tasks, parameters)?;
        let mut make = SchemeParameters { scheme: NAME, parameters };
        let k = tasks.len();
        for layer in first + 1..trunk.layers.len() {
            let name = format!("layer.{layer}");
            let at = (Role::Gate, Level::layer(layer));
            let unit = make.matrix((&None, &name), [1, k * k], at, first_weights(k, own));
            self.units.insert(layer, unit);
        }
        Ok(())
    }

    fn first_layer(&self) -> usize {
        self.columns.first_layer
    }

    fn columns(&self) -> &[String] {
        &self.columns.tasks
    }

    fn copies(&self) -> Option<&WeightCopies> {
        Some(&self.columns.copies)
    }

    fn enter(&self, layer: usize, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        match self.units.get(&layer) {
            Some(unit) => kernels::mix(x, context.matrix(*unit), self.columns.tasks.len()),
            None => self.columns.begin(layer, x),
        }
    }

    fn reads_out(&self) -> bool {
        true
    }

    fn readout(
        &self,
        task: Option<&str>,
        _context: &LayerContext<'_>,
        states: Tensor<2>,
        _rows: &RowOffsets,
    ) -> Tensor<2> {
        self.columns.of_task(task, states)
    }
}
