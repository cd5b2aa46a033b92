//! Conditional layer norm: every task has scales and shifts of the norms for itself.
//!
//! ```text
//! norm_t(x) = (x - mean) / deviation gamma_t + beta_t
//! ```
//!
//! They begin as the network's: hard sharing. Defaults: the norms of all layers and the one above them; the rest of the network is
//! trained too (`freeze_base = false`).
//! Parameters: those of the norms from `first_layer` on, for each task. Of MiniLM-L6: 9 thousand.
//! Cost: a row that several tasks read goes through the trunk once for each; the layers from `first_layer` on run task by task.
//! When to use: tasks on texts of different sorts (domains, languages) that otherwise share everything.
//! Errors: a layer that the backbone does not have, frozen layers above `first_layer`.
//! Papers: Perez et al. 2018, "FiLM: visual reasoning with a general conditioning layer"; Pilault et al. 2021, "Conditionally adaptive
//! multi-task learning" (CA-MTL).

use super::build::check_own_layers;
use super::copies::{WeightCopies, parameters_from};
use super::targets::refused;
use super::{LanePolicy, LayerPass, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::parameters::{Level, ParameterTensor, Parameters, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[sharing.conditional_norm]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConditionalNormConfig {
    /// The lowest layer whose norms each task has for itself, from 0; all by default.
    pub first_layer: usize,
    /// Train nothing of the network but norms.
    pub freeze_base: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct ConditionalNorm {
    config: ConditionalNormConfig,
    copies: WeightCopies,
}

const NAME: &str = "conditional_norm";

impl ConditionalNorm {
    pub(super) fn new(config: ConditionalNormConfig) -> Self {
        ConditionalNorm { config, copies: WeightCopies::default() }
    }
}

impl Sharing for ConditionalNorm {
    fn config(&self) -> SharingConfig {
        SharingConfig::ConditionalNorm(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let ConditionalNormConfig { first_layer, freeze_base } = self.config;
        check_own_layers(NAME, first_layer, trunk)?;
        let is_norm =
            |index: &usize| matches!(parameters.parameter(*index).role, Role::Norm | Role::NormShift);
        let mut norms = parameters_from(first_layer, trunk, parameters);
        norms.retain(is_norm);
        if norms.is_empty() {
            let expected = "a backbone with norms: this one has none";
            return Err(refused(NAME, "first_layer", first_layer, expected));
        }
        self.copies = WeightCopies::for_tasks(NAME, (tasks, false, freeze_base), &norms, parameters);
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        LanePolicy::PerTask
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn layer_pass(&self, _level: Level) -> LayerPass {
        LayerPass::PerLane
    }

    fn copies(&self) -> Option<&WeightCopies> {
        Some(&self.copies)
    }

    fn merged(&self, task: &str, parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        Some(self.copies.merged(task, parameters))
    }
}
