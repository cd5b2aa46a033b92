//! `[train]`: how long, how much at once, how often to look and to save.

pub(crate) mod budget;
pub(crate) mod gradient_scope;
pub(crate) mod reduce_lr_on_plateau;
pub(crate) mod task_table;
pub(crate) mod task_training;
pub(crate) mod validate;
use crate::{
    config::{gradient_scope::GradientScope, reduce_lr_on_plateau::ReduceLrOnPlateau},
    loading::phases::PhaseConfig,
    optimizer::{LearningRates, OptimizerConfig},
    pruning::config::PruningConfig,
    schedule::Schedule,
    schedule::head_lr::HeadLrBalancing,
};
use balance::BalancerConfig;
use data::{OrderConfig, SamplerConfig};
use model::{DeviceName, Precision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most epochs of a run or a phase: a run that has more will not come to its end.
pub(crate) const MAX_EPOCHS: usize = 1_000_000;

/// Everything that says how to train, apart from what is trained.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `[train]`
    pub train: TrainConfig,
    /// `[optimizer.NAME]`
    pub optimizer: OptimizerConfig,
    /// `[schedule.NAME]`
    pub schedule: Schedule,
    /// `[balance.NAME]`
    pub balance: BalancerConfig,
    /// `[sampling.NAME]`
    pub sampling: SamplerConfig,
    /// `[[phase]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseConfig>,
    /// `[pruning]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruning: Option<PruningConfig>,
    /// `[corpus.NAME] order`, by corpus.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub orders: BTreeMap<String, OrderConfig>,
    /// `[model] freeze.cache`: keep the states of the training rows that come out of the frozen layers.
    pub cache_frozen: bool,
    /// Whether the decoder begins untrained, so that it has the learning rate of heads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fresh_decoder: bool,
}

/// `[train]`: how long to train, how much at once, how often to evaluate and to save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// How many times to go through the training rows; 3 by default. An epoch has as many draws as there are
    /// training rows in all corpora together. `polytask train --resume RUN --set train.epochs=N` trains a run further.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: usize,
    /// Stop after so many steps even if epochs are left. The schedule ends there too.
    #[schemars(range(min = 1))]
    pub max_steps: Option<usize>,
    /// Stop after the step with which so many tokens have been trained on. The schedule ends there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_tokens: Option<usize>,
    /// Stop after so many minutes, evaluations included. The schedule then goes by the time, where that is further than the steps
    /// are. Another machine does other work in that time: with it a run cannot be repeated to the bit. `--resume RUN --set
    /// train.max_minutes=N` goes on with a run that has used them up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_minutes: Option<f64>,
    /// What a batch is made of: rows of all corpora (`"mixed"`) by default, or of one (`"single_corpus"`).
    #[serde(skip_serializing_if = "Batching::is_default")]
    pub batching: Batching,
    /// How many tokens are packed end to end into a batch and run at once; 2048 by default. A single longer row makes a
    /// larger batch.
    #[schemars(range(min = 1))]
    pub tokens_per_batch: usize,
    /// The most memory that the process may take, in GiB; by default what the machine, or the process's control group, has. Where it is
    /// set, batches are halved until they fit, as a probe step shows before the first step, and a step of the optimizer has twice,
    /// four times, ... as many of them (`tokens_per_batch` and `gradient_accumulation_steps` of the run's own config). Set or not: a
    /// step that memory has no space for goes through the trunk in smaller chunks, with the same result. On the CPU, and where the
    /// system reports its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_memory_gib: Option<f64>,
    /// Batches per step of the optimizer; their gradients are averaged. 1 by default. Use it for a larger
    /// effective batch than memory allows.
    #[schemars(range(min = 1))]
    pub gradient_accumulation_steps: usize,
    /// The seed of everything random: initial weights, order of rows, dropout. 17 by default.
    pub seed: u64,
    /// The largest global norm of the gradient; a larger gradient is scaled down to it. 1.0 by default, 0
    /// switches clipping off.
    #[schemars(range(min = 0.0))]
    pub max_grad_norm: f64,
    /// Processor threads; all that the machine has by default. The result is the same to the bit for every number.
    #[schemars(range(min = 1))]
    pub threads: Option<usize>,
    /// Over what a balancing method that looks at the tasks' gradients compares them: `"all_shared"` parameters by default,
    /// the `"last_layer"` that the tasks share, or the `"representation"` that their heads get. The narrower ones take less
    /// memory and see less; the weights that are found hold for all shared parameters.
    #[serde(skip_serializing_if = "GradientScope::is_default")]
    pub gradient_scope: GradientScope,
    /// The device: `"cpu"` by default; `"cuda"`, an NVIDIA GPU, and `"wgpu"`, a GPU by Vulkan, Metal or DirectX, where
    /// they are built in (`cargo build --features cuda`, `wgpu`). Another device rounds differently, so that a checkpoint is
    /// continued on the device that it was made on.
    pub device: DeviceName,
    /// The precision of the large matrix products: `"f32"` by default; `"bf16"`, values of half the size, on processors
    /// with AVX512-BF16 (others stay with f32, and the run's first line says so) and NVIDIA GPUs. On an Intel Xeon of the
    /// fourth generation it takes twice the time of f32: measure before you use it. Weights, sums, norms, losses and the optimizer
    /// are f32 in any case.
    pub precision: Precision,
    /// Keep only the input of each layer of the backbone for the backward pass, and compute the layer again then. The same weights
    /// to the bit, less memory, about a quarter more time. False by default.
    pub activation_checkpointing: bool,
    /// Evaluate on the validation split every so many steps; by default at the end of every epoch. The end of
    /// the run is evaluated in any case.
    #[schemars(range(min = 1))]
    pub eval_steps: Option<usize>,
    /// Save a checkpoint every so many steps, beside those at the end of every epoch, at every new best
    /// evaluation and when interrupted.
    #[schemars(range(min = 1))]
    pub save_steps: Option<usize>,
    /// How many of the latest checkpoints to keep, beside the best one; 2 by default.
    #[schemars(range(min = 1))]
    pub save_total_limit: usize,
    /// What "best" means: a task's metric as `"task.metric"`, such as `"intent.accuracy"`. By default the mean
    /// of every task's primary metric, weighted by the tasks' importance.
    pub metric_for_best_model: Option<String>,
    /// Which checkpoint is exported to `model/`: `"best"` (default) or `"last"`.
    pub export: CheckpointChoice,
    /// Reduces all learning rates when what decides which checkpoint is best stops improving; off by default. A task's own
    /// `reduce_lr_on_plateau` looks at the task alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduce_lr_on_plateau: Option<ReduceLrOnPlateau>,
    /// Balances the learning rates of the heads by the progress of their tasks; off by default, `head_lr_balancing = {}` switches it
    /// on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_lr_balancing: Option<HeadLrBalancing>,
    /// Stop when evaluations have not improved for a while; off by default.
    pub early_stopping: Option<EarlyStopping>,
    /// Measure every so many steps how the tasks' gradients agree and what a step on one task does to the losses of the others;
    /// off by default. The measurements are in `metrics.jsonl` as events `affinity`. They take time and change no bit of the
    /// training.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub affinity_steps: Option<usize>,
    /// After how many steps in a row without a finite loss the run stops with an error; 5 by default.
    #[schemars(range(min = 1))]
    pub max_nonfinite_steps: usize,
}

impl TrainConfig {
    /// The most tokens that go through the trunk at once outside of training: a batch, or more where batches are small.
    pub fn evaluation_tokens(&self) -> usize {
        self.tokens_per_batch.max(2048)
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            epochs: 3,
            max_steps: None,
            max_tokens: None,
            max_minutes: None,
            batching: Batching::Mixed,
            tokens_per_batch: 2048,
            max_memory_gib: None,
            gradient_accumulation_steps: 1,
            seed: 17,
            max_grad_norm: 1.0,
            threads: None,
            gradient_scope: GradientScope::AllShared,
            device: DeviceName::Cpu,
            precision: Precision::F32,
            activation_checkpointing: false,
            eval_steps: None,
            save_steps: None,
            save_total_limit: 2,
            metric_for_best_model: None,
            export: CheckpointChoice::Best,
            reduce_lr_on_plateau: None,
            head_lr_balancing: None,
            early_stopping: None,
            affinity_steps: None,
            max_nonfinite_steps: 5,
        }
    }
}

/// What a batch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// Rows of all corpora.
    #[default]
    Mixed,
    /// Rows of one corpus.
    SingleCorpus,
}

impl Batching {
    fn is_default(&self) -> bool {
        *self == Batching::Mixed
    }
}

/// Which checkpoint is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointChoice {
    /// The one with the best evaluation; the last where nothing was evaluated.
    #[default]
    Best,
    /// The last one.
    Last,
}

/// `[train.early_stopping]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Stop after so many evaluations in a row without a new best.
    #[schemars(range(min = 1))]
    pub patience: usize,
}

impl Settings {
    /// The learning rates before the schedule. `tasks` are their names and their heads' own rates.
    pub fn rates(&self, tasks: impl IntoIterator<Item = (String, Option<f64>)>) -> LearningRates {
        let rates = self.optimizer.rates(tasks);
        let decoder = if self.fresh_decoder { rates.heads } else { rates.decoder };
        LearningRates { decoder, ..rates }
    }

    /// The factor of all learning rates at `step` (from 0) of `total`, in 0..=1: the schedule's, or the optimizer's own.
    pub fn factor(&self, step: usize, total: usize) -> f64 {
        self.optimizer
            .builtin_schedule_factor(step, total)
            .unwrap_or_else(|| self.schedule.factor(step, total))
    }

    /// Whether the factors do not depend, after the warm-up, on how long the run is.
    pub(crate) fn schedule_is_independent_of_length(&self) -> bool {
        self.optimizer.builtin_schedule_factor(0, 1).is_some() || self.schedule.is_independent_of_length()
    }

    /// The name of the schedule, or of the optimizer that has its own.
    pub(crate) fn schedule_name(&self) -> &'static str {
        match self.optimizer.builtin_schedule_factor(0, 1) {
            Some(_) => self.optimizer.name(),
            None => self.schedule.name(),
        }
    }

    /// The settings that are out of range; empty when all is well.
    pub fn errors(&self) -> Vec<SettingError> {
        let t = &self.train;
        let mut errors = Vec::new();
        let mut at_least_one = |key: &str, found: usize| {
            if found == 0 {
                errors.push(SettingError::new(key, found, "at least 1"));
            }
        };
        at_least_one("train.epochs", t.epochs);
        at_least_one("train.max_steps", t.max_steps.unwrap_or(1));
        at_least_one("train.max_tokens", t.max_tokens.unwrap_or(1));
        at_least_one("train.tokens_per_batch", t.tokens_per_batch);
        at_least_one("train.gradient_accumulation_steps", t.gradient_accumulation_steps);
        at_least_one("train.threads", t.threads.unwrap_or(1));
        at_least_one("train.eval_steps", t.eval_steps.unwrap_or(1));
        at_least_one("train.save_steps", t.save_steps.unwrap_or(1));
        at_least_one("train.affinity_steps", t.affinity_steps.unwrap_or(1));
        at_least_one("train.save_total_limit", t.save_total_limit);
        at_least_one("train.early_stopping.patience", t.early_stopping.as_ref().map_or(1, |e| e.patience));
        at_least_one("train.max_nonfinite_steps", t.max_nonfinite_steps);
        if t.epochs > MAX_EPOCHS {
            errors.push(SettingError::new("train.epochs", t.epochs, &format!("at most {MAX_EPOCHS}")));
        }
        if let Some(gib) = t.max_memory_gib.filter(|gib| !(*gib > 0.0 && gib.is_finite())) {
            errors.push(SettingError::new("train.max_memory_gib", gib, "a number above 0"));
        }
        if let Some(minutes) = t.max_minutes.filter(|minutes| !(*minutes > 0.0 && minutes.is_finite())) {
            errors.push(SettingError::new("train.max_minutes", minutes, "a number above 0"));
        }
        if !(t.max_grad_norm >= 0.0 && t.max_grad_norm.is_finite()) {
            let expected = "a number from 0, where 0 means off";
            errors.push(SettingError::new("train.max_grad_norm", t.max_grad_norm, expected));
        }
        let plateau = t.reduce_lr_on_plateau.as_ref();
        errors.extend(plateau.and_then(|config| config.check("train.reduce_lr_on_plateau").err()));
        errors.extend(self.pruning.iter().flat_map(PruningConfig::errors));
        errors.extend(t.head_lr_balancing.iter().flat_map(HeadLrBalancing::errors));
        errors.extend(self.schedule.errors());
        if self.optimizer.builtin_schedule_factor(0, 1).is_some() && self.schedule != Schedule::default() {
            let key = format!("schedule.{}", self.schedule.name());
            let expected = "no [schedule]: the optimizer has a warm-up of its own and needs nothing else";
            errors.push(SettingError::new(&key, self.schedule.name(), expected));
        }
        errors.extend(self.optimizer.errors());
        errors
    }
}

/// A setting out of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The key, such as `train.epochs`.
    pub key: String,
    /// What it says.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

impl SettingError {
    pub(crate) fn new(key: &str, found: impl ToString, expected: &str) -> Self {
        SettingError { key: key.into(), found: found.to_string(), expected: expected.into() }
    }
}

impl std::fmt::Display for SettingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: found {}, expected {}", self.key, self.found, self.expected)
    }
}
