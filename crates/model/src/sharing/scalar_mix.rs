//! Scalar mix: each task reads its own weighted sum of the states of all layers.
//!
//! ```text
//! h_t = gamma_t sum_l softmax(s_t)_l x_l           x_l: the states that enter layer `first_layer`, and those out of every layer from it on
//! ```
//!
//! Shapes: s `[layers + 1]` and gamma `[1]` for each task. s begins as `last` for the last layer and 0 for the others, gamma as 1. The sum
//! is that of hard sharing only where `last` is so large that the last layer's weight is 1.
//! Defaults: all layers and the embeddings (`first_layer = 0`), `last` 4: with six layers the last one has 0.9.
//! Parameters: layers + 2 for each task.
//! Cost: nothing in the layers; 2 (layers + 1) hidden operations a token for each task that reads it. The states of all layers are kept.
//! When to use: tasks of different levels, such as tags beside meaning, above one trunk, above all a frozen one. The numbers want a
//! higher learning rate than the network: they have that of adapters.
//! Errors: a layer that the backbone does not have.
//! Papers: Peters et al. 2018, "Deep contextualized word representations" (ELMo); Ruder et al. 2019, "Latent multi-task architecture
//! learning" (sluice networks, whose mixture of layers this is on its own).

use super::build::{SchemeParameters, check_first_layer, owners};
use super::targets::refused;
use super::{Sharing, SharingConfig, TrunkShape};
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

/// `[sharing.scalar_mix]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScalarMixConfig {
    /// The score of the last layer at the beginning, where the others have 0.
    pub last: f64,
    /// The lowest layer whose input is mixed, from 0; all by default.
    pub first_layer: usize,
}

impl Default for ScalarMixConfig {
    fn default() -> Self {
        Self { last: 4.0, first_layer: 0 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct ScalarMix {
    config: ScalarMixConfig,
    /// Scores `[1, layers + 1]` and factor `[1, 1]`, by task.
    weights: BTreeMap<String, [MatrixId; 2]>,
}

const NAME: &str = "scalar_mix";

impl ScalarMix {
    pub(super) fn new(config: ScalarMixConfig) -> Self {
        ScalarMix { config, weights: BTreeMap::new() }
    }
}

impl Sharing for ScalarMix {
    fn config(&self) -> SharingConfig {
        SharingConfig::ScalarMix(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let ScalarMixConfig { last, first_layer } = self.config;
        check_first_layer(NAME, first_layer, trunk)?;
        if !last.is_finite() {
            return Err(refused(NAME, "last", last, "a finite number"));
        }
        let mixed = trunk.layers.len() - first_layer + 1;
        let mut scores = vec![0.0; mixed];
        scores[mixed - 1] = to_f32(last);
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let at = (Role::Gate, Level::Output);
            let scores = make.matrix((&owner, "scores"), [1, mixed], at, Init::Data(scores.clone()));
            let factor = make.matrix((&owner, "factor"), [1, 1], at, Init::Ones);
            self.weights.insert(task.clone(), [scores, factor]);
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
        let Some([scores, factor]) = task.and_then(|task| self.weights.get(task)) else {
            return last_block(states, context, self.weights.values().next().map(|[scores, _]| *scores));
        };
        let scores = context.matrix(*scores);
        let mixed = scores.dims()[1];
        kernels::mix(states, kernels::softmax(scores) * context.matrix(*factor), mixed)
    }
}

/// The states of the last layer out of those of all, of which there are as many as some task has scores.
fn last_block(states: Tensor<2>, context: &LayerContext<'_>, scores: Option<MatrixId>) -> Tensor<2> {
    let Some(scores) = scores else { return states };
    let (all, blocks) = (states.dims()[1], context.matrix(scores).dims()[1]);
    kernels::take_columns(states, all - all / blocks..all)
}
