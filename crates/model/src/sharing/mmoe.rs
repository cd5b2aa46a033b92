//! Multi-gate mixture of experts: experts over the states of the trunk, and for each task a gate that weights them.
//!
//! ```text
//! f_e(x) = x + W2_e gelu(W1_e x + b1_e) + b2_e                 expert e
//! h_t    = sum_e softmax(G_t g)_e f_e(x)                       what task t reads; g: see `gate`
//! ```
//!
//! Shapes: W1 `[width, hidden]`, W2 `[hidden, width]`, G `[experts, hidden]` for each task. W2 and b2 begin as zeros, so that every expert
//! gives the states as they are, and gates may be what they want: the network begins as hard sharing.
//! Gates: `gate = "token"` looks at the token's state, `"row"` at the mean of the row's states, `"task"` at nothing: it is `experts`
//! numbers for each task.
//! Defaults: 4 experts, width as `hidden`, gates by token.
//! Parameters: experts (2 width hidden + width + hidden), and experts hidden for each task (experts with `gate = "task"`).
//! Cost: 4 experts width hidden operations a token, once for all tasks, and 2 experts hidden for each task that reads it.
//! When to use: many tasks that agree in part. All experts run for every token; for sparse ones see `[sharing.moe]`.
//! Errors: no expert, a width of 0.
//! Paper: Ma et al. 2018, "Modeling task relationships in multi-task learning with multi-gate mixture-of-experts".

use super::build::owners;
use super::experts::{Gate, GateInput, StateExperts, split};
use super::targets::refused;
use super::{Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::parameters::Parameters;
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.mmoe]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MmoeConfig {
    /// How many experts.
    #[schemars(range(min = 1, max = 1024))]
    pub experts: usize,
    /// Width inside an expert. Left out: that of a state.
    #[schemars(range(min = 1, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// What gates look at.
    pub gate: GateInput,
}

impl Default for MmoeConfig {
    fn default() -> Self {
        Self { experts: 4, width: None, gate: GateInput::Token }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Mmoe {
    config: MmoeConfig,
    experts: StateExperts,
    gates: BTreeMap<String, Gate>,
}

const NAME: &str = "mmoe";

impl Mmoe {
    pub(super) fn new(config: MmoeConfig) -> Self {
        Mmoe { config, experts: StateExperts::default(), gates: BTreeMap::new() }
    }
}

impl Sharing for Mmoe {
    fn config(&self) -> SharingConfig {
        SharingConfig::Mmoe(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let MmoeConfig { experts, width, gate } = self.config;
        if experts == 0 || experts > 1024 {
            return Err(refused(NAME, "experts", experts, "from 1 to 1024"));
        }
        let width = width.unwrap_or(trunk.hidden);
        self.experts =
            StateExperts::build((NAME, "expert"), &None, experts, [trunk.hidden, width], parameters)?;
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let of = Gate::build((NAME, "gate"), &owner, gate, [experts, trunk.hidden], parameters);
            self.gates.insert(task.clone(), of);
        }
        Ok(())
    }

    fn reads_all_tokens(&self) -> bool {
        self.config.gate == GateInput::Row
    }

    /// The states, and what every expert makes of them.
    fn finish(&self, context: &LayerContext<'_>, states: Tensor<2>, _rows: &RowOffsets) -> Tensor<2> {
        self.experts.beside(context, states, &vec![true; self.experts.len()])
    }

    fn reads_out(&self) -> bool {
        true
    }

    fn readout(
        &self,
        task: Option<&str>,
        context: &LayerContext<'_>,
        states: Tensor<2>,
        rows: &RowOffsets,
    ) -> Tensor<2> {
        let experts = self.config.experts;
        let [x, of_experts] = split(states, experts);
        let Some(gate) = task.and_then(|task| self.gates.get(task)) else { return x };
        kernels::mix(of_experts, gate.weights(context, x, rows), experts)
    }
}
