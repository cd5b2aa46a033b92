//! BitFit: the biases are trained, and nothing else of the network; for all tasks or for each.
//!
//! ```text
//! y = W x + b_t                     b_t: the biases of linear maps and the shifts of norms, of the task
//! ```
//!
//! All biases begin as the network's: hard sharing. Defaults: those of all layers, for each task (`shared = false`), nothing else of the
//! network is trained (`freeze_base`).
//! Parameters: those of the biases and shifts from `first_layer` on, once with `shared`, else for each task. Of MiniLM-L6: 20 thousand.
//! Cost: a row that several tasks read goes through the trunk once for each; the layers from `first_layer` on run task by task.
//! When to use: very many tasks with few rows each. It reaches less than LoRA with more rows.
//! Errors: a network without biases (T5), a layer that the backbone does not have, frozen layers above `first_layer`.
//! Paper: Ben Zaken et al. 2022, "BitFit: simple parameter-efficient fine-tuning for transformer-based masked language-models".

use super::build::check_own_layers;
use super::copies::{WeightCopies, parameters_from};
use super::targets::refused;
use super::{LanePolicy, LayerPass, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::parameters::{Level, ParameterTensor, Parameters, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[sharing.bitfit]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BitfitConfig {
    /// The lowest layer whose biases are trained, from 0; all by default.
    pub first_layer: usize,
    /// One set of biases for all tasks in place of one for each.
    pub shared: bool,
    /// Train nothing of the network but biases. True by default.
    pub freeze_base: bool,
}

impl Default for BitfitConfig {
    fn default() -> Self {
        Self { first_layer: 0, shared: false, freeze_base: true }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Bitfit {
    config: BitfitConfig,
    copies: WeightCopies,
}

const NAME: &str = "bitfit";

impl Bitfit {
    pub(super) fn new(config: BitfitConfig) -> Self {
        Bitfit { config, copies: WeightCopies::default() }
    }
}

impl Sharing for Bitfit {
    fn config(&self) -> SharingConfig {
        SharingConfig::Bitfit(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let BitfitConfig { first_layer, shared, freeze_base: frozen } = self.config;
        check_own_layers(NAME, first_layer, trunk)?;
        let is_bias =
            |index: &usize| matches!(parameters.parameter(*index).role, Role::Bias | Role::NormShift);
        let mut biases = parameters_from(first_layer, trunk, parameters);
        biases.retain(is_bias);
        if biases.is_empty() {
            let expected = "a backbone with biases: this one has none";
            return Err(refused(NAME, "first_layer", first_layer, expected));
        }
        self.copies = WeightCopies::for_tasks(NAME, (tasks, shared, frozen), &biases, parameters);
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        if self.config.shared { LanePolicy::Shared } else { LanePolicy::PerTask }
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn layer_pass(&self, _level: Level) -> LayerPass {
        if self.config.shared { LayerPass::Joint } else { LayerPass::PerLane }
    }

    fn copies(&self) -> Option<&WeightCopies> {
        (!self.config.shared).then_some(&self.copies)
    }

    fn merged(&self, task: &str, parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        Some(self.copies.merged(task, parameters))
    }
}
