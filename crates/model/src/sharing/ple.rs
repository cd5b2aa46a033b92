//! Progressive layered extraction: several levels of experts, shared ones and those of each task, over the states of the trunk.
//!
//! ```text
//! level 1:      every path is x
//! each level:   s  = sum_e softmax(G_s s)_e f_e            over the experts of all tasks and the shared ones: the shared path
//!               h_t = sum_e softmax(G_t h_t)_e f_e         over the shared experts and those of task t
//! ```
//!
//! A shared expert reads the shared path, an expert of a task that of the task; the last level has no shared path. f is as for `mmoe`;
//! all experts begin as the identity: hard sharing.
//! Defaults: 2 levels, 2 shared experts and 1 for each task in every level, width as `hidden`, gates by token.
//! Parameters: levels times those of `cgc`, and in every level but the last a gate of (shared_experts + tasks task_experts) hidden.
//! Cost: all paths of all levels but the last run for every token: 4 width hidden operations a token for each expert.
//! When to use: as `cgc`, with many tasks that agree in part and a trunk too small for them. With one level it is `cgc`.
//! Errors: no level, no expert at all, a width of 0.
//! Paper: Tang et al. 2020, "Progressive layered extraction (PLE): a novel multi-task learning model for personalized recommendations".

use super::build::owners;
use super::cgc::{OfTask, check_experts};
use super::experts::{Gate, GateInput, StateExperts};
use super::targets::refused;
use super::{Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::parameters::Parameters;
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[sharing.ple]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PleConfig {
    /// How many levels.
    #[schemars(range(min = 1, max = 64))]
    pub levels: usize,
    /// How many experts all tasks share, in each level.
    #[schemars(range(min = 0, max = 1024))]
    pub shared_experts: usize,
    /// How many experts each task has for itself, in each level.
    #[schemars(range(min = 0, max = 1024))]
    pub task_experts: usize,
    /// Width inside an expert. Left out: that of a state.
    #[schemars(range(min = 1, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// What gates look at.
    pub gate: GateInput,
}

impl Default for PleConfig {
    fn default() -> Self {
        Self { levels: 2, shared_experts: 2, task_experts: 1, width: None, gate: GateInput::Token }
    }
}

#[derive(Debug, Clone)]
struct LevelOfExperts {
    shared: StateExperts,
    /// In the order of the tasks.
    tasks: Vec<OfTask>,
    /// That of the shared path; `None` in the last level.
    gate: Option<Gate>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Ple {
    config: PleConfig,
    tasks: Vec<String>,
    levels: Vec<LevelOfExperts>,
}

const NAME: &str = "ple";

impl Ple {
    pub(super) fn new(config: PleConfig) -> Self {
        Ple { config, tasks: Vec::new(), levels: Vec::new() }
    }
}

impl Sharing for Ple {
    fn config(&self) -> SharingConfig {
        SharingConfig::Ple(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let PleConfig { levels, shared_experts, task_experts, width, gate } = self.config;
        if levels == 0 || levels > 64 {
            return Err(refused(NAME, "levels", levels, "from 1 to 64"));
        }
        check_experts(NAME, shared_experts, task_experts)?;
        self.tasks = tasks.to_vec();
        let hidden = trunk.hidden;
        let sizes = [hidden, width.unwrap_or(hidden)];
        for level in 0..levels {
            let (kind, of_gate) = (format!("level.{level}.expert"), format!("level.{level}.gate"));
            let shared = StateExperts::build((NAME, &kind), &None, shared_experts, sizes, parameters)?;
            let mut of_tasks = Vec::new();
            for owner in owners(tasks, false) {
                let experts = StateExperts::build((NAME, &kind), &owner, task_experts, sizes, parameters)?;
                let all = [shared_experts + task_experts, hidden];
                let gate = Gate::build((NAME, &of_gate), &owner, gate, all, parameters);
                of_tasks.push(OfTask { experts, gate });
            }
            let all = [shared_experts + tasks.len() * task_experts, hidden];
            let shared_gate = || Gate::build((NAME, &of_gate), &None, gate, all, parameters);
            let gate = (level + 1 < levels).then(shared_gate);
            self.levels.push(LevelOfExperts { shared, tasks: of_tasks, gate });
        }
        // The shared path lets every task train what the others have for themselves below the last level, and the path to it.
        for (number, level) in self.levels.iter().enumerate() {
            for of in &level.tasks {
                if number + 1 < levels {
                    of.experts.share(parameters);
                }
                if number + 2 < levels {
                    of.gate.share(parameters);
                }
            }
        }
        Ok(())
    }

    fn reads_all_tokens(&self) -> bool {
        self.config.gate == GateInput::Row
    }

    /// The states, the path of every task before the last level, and what the shared experts of that make of the shared path.
    fn finish(&self, context: &LayerContext<'_>, states: Tensor<2>, rows: &RowOffsets) -> Tensor<2> {
        let (mut shared, mut paths) = (states.clone(), vec![states.clone(); self.tasks.len()]);
        for level in &self.levels {
            let of_shared = level.shared.run(context, &shared);
            let Some(gate) = &level.gate else {
                let all = [vec![states], paths, of_shared].concat();
                return kernels::join_columns(all);
            };
            let own = |(of, path): (&OfTask, &Tensor<2>)| of.experts.run(context, path);
            let of_tasks: Vec<Vec<Tensor<2>>> = level.tasks.iter().zip(&paths).map(own).collect();
            let mixed = |of: Vec<Tensor<2>>, gate: &Gate, path: Tensor<2>| {
                let (experts, weights) = (of.len(), gate.weights(context, path, rows));
                kernels::mix(kernels::join_columns(of), weights, experts)
            };
            let tasks = level.tasks.iter().zip(&of_tasks).zip(paths);
            paths = tasks
                .map(|((of, own), path)| mixed([of_shared.clone(), own.clone()].concat(), &of.gate, path))
                .collect();
            shared = mixed([of_shared, of_tasks.concat()].concat(), gate, shared);
        }
        states
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
        let width = states.dims()[1] / (1 + self.tasks.len() + shared);
        let block = |from: usize, count: usize| {
            kernels::take_columns(states.clone(), from * width..(from + count) * width)
        };
        let task = self.tasks.iter().position(|own| Some(own.as_str()) == task);
        let (Some(task), Some(level)) = (task, self.levels.last()) else { return block(0, 1) };
        let (path, of) = (block(1 + task, 1), &level.tasks[task]);
        let mut all = vec![block(1 + self.tasks.len(), shared)];
        all.extend(of.experts.run(context, &path));
        let weights = of.gate.weights(context, path, rows);
        kernels::mix(kernels::join_columns(all), weights, shared + self.config.task_experts)
    }
}
