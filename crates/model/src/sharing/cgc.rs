//! Customized gate control: experts for all tasks beside experts of each task, over the states of the trunk.
//!
//! ```text
//! h_t = sum_e softmax(G_t g)_e f_e(x)          e: the shared experts, and those of task t; f, g and the gates as for `mmoe`
//! ```
//!
//! Defaults: 2 shared experts, 2 for each task, width as `hidden`, gates by token. All experts begin as the identity: hard sharing.
//! Parameters: 2 width hidden + width + hidden for each of shared_experts + tasks task_experts experts, and (shared_experts + task_experts)
//! hidden for each task's gate.
//! Cost: 4 width hidden operations a token for each shared expert, and for each expert of a task that reads the token.
//! When to use: as `mmoe`, where tasks disturb each other: what a task's own experts learn no other task changes.
//! Errors: no expert at all, a width of 0.
//! Paper: Tang et al. 2020, "Progressive layered extraction (PLE)", of which this is one level.

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

/// `[sharing.cgc]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CgcConfig {
    /// How many experts all tasks share.
    #[schemars(range(min = 0, max = 1024))]
    pub shared_experts: usize,
    /// How many experts each task has for itself.
    #[schemars(range(min = 0, max = 1024))]
    pub task_experts: usize,
    /// Width inside an expert. Left out: that of a state.
    #[schemars(range(min = 1, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// What gates look at.
    pub gate: GateInput,
}

impl Default for CgcConfig {
    fn default() -> Self {
        Self { shared_experts: 2, task_experts: 2, width: None, gate: GateInput::Token }
    }
}

/// What a task has for itself.
#[derive(Debug, Clone)]
pub(super) struct OfTask {
    pub(super) experts: StateExperts,
    pub(super) gate: Gate,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Cgc {
    config: CgcConfig,
    shared: StateExperts,
    tasks: BTreeMap<String, OfTask>,
}

const NAME: &str = "cgc";

impl Cgc {
    pub(super) fn new(config: CgcConfig) -> Self {
        Cgc { config, shared: StateExperts::default(), tasks: BTreeMap::new() }
    }
}

/// That there is an expert, and not more than can be.
pub(super) fn check_experts(scheme: &str, shared: usize, of_task: usize) -> Result<(), ModelError> {
    for (key, found) in [("shared_experts", shared), ("task_experts", of_task)] {
        if found > 1024 {
            return Err(refused(scheme, key, found, "at most 1024"));
        }
    }
    match shared + of_task {
        0 => Err(refused(scheme, "task_experts", 0, "1 or more, or `shared_experts`")),
        _ => Ok(()),
    }
}

impl Sharing for Cgc {
    fn config(&self) -> SharingConfig {
        SharingConfig::Cgc(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let CgcConfig { shared_experts, task_experts, width, gate } = self.config;
        check_experts(NAME, shared_experts, task_experts)?;
        let sizes = [trunk.hidden, width.unwrap_or(trunk.hidden)];
        self.shared = StateExperts::build((NAME, "expert"), &None, shared_experts, sizes, parameters)?;
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let experts = StateExperts::build((NAME, "expert"), &owner, task_experts, sizes, parameters)?;
            let all = shared_experts + task_experts;
            let gate = Gate::build((NAME, "gate"), &owner, gate, [all, trunk.hidden], parameters);
            self.tasks.insert(task.clone(), OfTask { experts, gate });
        }
        Ok(())
    }

    fn reads_all_tokens(&self) -> bool {
        self.config.gate == GateInput::Row
    }

    /// The states, and what every shared expert makes of them.
    fn finish(&self, context: &LayerContext<'_>, states: Tensor<2>, _rows: &RowOffsets) -> Tensor<2> {
        self.shared.beside(context, states, &vec![true; self.shared.len()])
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
        let shared = self.config.shared_experts;
        let [x, of_shared] = split(states, shared);
        let Some(OfTask { experts, gate }) = task.and_then(|task| self.tasks.get(task)) else { return x };
        let mut all = vec![of_shared];
        all.extend(experts.run(context, &x));
        let weights = gate.weights(context, x, rows);
        kernels::mix(kernels::join_columns(all), weights, shared + self.config.task_experts)
    }
}
