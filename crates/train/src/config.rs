//! `[train]`: how long, how much at once, how often to look and to save.

use crate::{
    optimizer::Optimizing, phase::PhaseConfig, schedule::Schedule, scope::Scope, task_rates::TaskRates,
};
use balance::Balancing;
use data::{OrderConfig, Sampling};
use model::{DeviceName, Precision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tasks::{PlateauConfig, TaskError};

/// Everything that says how to train, apart from what is trained.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `[train]`
    pub train: TrainConfig,
    /// `[optimizer.NAME]`
    pub optimizer: Optimizing,
    /// `[schedule.NAME]`
    pub schedule: Schedule,
    /// `[balance.NAME]`
    pub balance: Balancing,
    /// `[sampling.NAME]`
    pub sampling: Sampling,
    /// `[[phase]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseConfig>,
    /// `[corpus.NAME] order`, by corpus.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub orders: BTreeMap<String, OrderConfig>,
    /// `[model] freeze.cache`: keep what the frozen part of the backbone says of the training rows.
    pub cache_frozen: bool,
}

/// `[train]`: how long to train, how much at once, how often to evaluate and to save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// How many times to go through the training rows; 3 by default. An epoch has as many draws as there are
    /// training rows in all corpora together.
    #[schemars(range(min = 1))]
    pub epochs: usize,
    /// Stop after so many steps even if epochs are left. The schedule ends there too.
    #[schemars(range(min = 1))]
    pub max_steps: Option<usize>,
    /// Stop after the step with which so many tokens have been trained on. The schedule ends there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_tokens: Option<usize>,
    /// Stop after so many minutes, evaluations included. The schedule then goes by the time, where that is further than the steps
    /// are. Another machine does other work in them: with it a run cannot be repeated to the bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_minutes: Option<f64>,
    /// What a pack is made of: `"mixed"` rows of all corpora by default, or of `"one_corpus"` alone.
    #[serde(skip_serializing_if = "Packs::is_default")]
    pub packs: Packs,
    /// How many tokens are packed end to end and run at once; 2048 by default. A single longer row makes a
    /// larger pack.
    #[schemars(range(min = 1))]
    pub tokens_per_step: usize,
    /// Memory that the process may take, in GiB; by default what the machine, or the process's control group, has. Where it is set,
    /// packs are halved until they fit, as a trial shows before the first step, and a step of the optimizer has twice, four times,
    /// ... as many of them (`tokens_per_step` and `accumulate` of the run's own config). Set or not: a step for which there is no
    /// room goes through the trunk in halves, with the same result. On the processor, and where the system tells its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub memory_gib: Option<f64>,
    /// Packs per step of the optimizer; their gradients are averaged. 1 by default. Use it for a larger
    /// effective batch than memory allows.
    #[schemars(range(min = 1))]
    pub accumulate: usize,
    /// The seed of everything random: initial weights, order of rows, dropout. 17 by default.
    pub seed: u64,
    /// The largest global norm of the gradient; a larger gradient is scaled down to it. 1.0 by default, 0
    /// switches clipping off.
    #[schemars(range(min = 0.0))]
    pub clip_norm: f64,
    /// Processor threads; all that the machine has by default. The result is the same to the bit for every number.
    #[schemars(range(min = 1))]
    pub threads: Option<usize>,
    /// Over what a balancing method that looks at the tasks' gradients compares them: `"all_shared"` parameters by default,
    /// the `"last_layer"` that the tasks share, or the `"representation"` that their heads get. The narrower ones take less
    /// memory and see less; the weights that are found hold for all shared parameters.
    #[serde(skip_serializing_if = "Scope::is_default")]
    pub gradient_scope: Scope,
    /// What computes: `"cpu"` by default; `"cuda"`, an NVIDIA card, and `"wgpu"`, a card by Vulkan, Metal or DirectX, where
    /// they are built in (`cargo build --features cuda`, `wgpu`). Another device rounds otherwise, so that a checkpoint is
    /// continued on the device that it was made on.
    pub device: DeviceName,
    /// What the large matrix products are made of: `"f32"` by default; `"bf16"`, numbers of half the size, on processors
    /// with AVX512-BF16 (others stay with f32, and the run's first line says so) and NVIDIA cards. On an Intel Xeon of the
    /// fourth generation it takes twice the time of f32: measure before you use it. Weights, sums, norms, losses and the optimizer are f32 in any case.
    pub precision: Precision,
    /// `"layers"`: keep only what enters each layer of the backbone for the backward pass, and compute the rest of the layer
    /// again then. The same weights to the bit, less memory, about a quarter more time. `"nothing"` by default.
    pub recompute: Recompute,
    /// Evaluate on the validation split every so many steps; by default at the end of every epoch. The end of
    /// the run is evaluated in any case.
    #[schemars(range(min = 1))]
    pub evaluate_every: Option<usize>,
    /// Save a checkpoint every so many steps, beside those at the end of every epoch, at every new best
    /// evaluation and when interrupted.
    #[schemars(range(min = 1))]
    pub checkpoint_every: Option<usize>,
    /// How many of the latest checkpoints to keep, beside the best one; 2 by default.
    #[schemars(range(min = 1))]
    pub keep: usize,
    /// What "best" means: a task's metric as `"task.metric"`, such as `"intent.accuracy"`. By default the mean
    /// of every task's main metric, weighted by the tasks' importance.
    pub best_metric: Option<String>,
    /// Which checkpoint becomes the result in `model/`: `"best"` (default) or `"last"`.
    pub result: Pick,
    /// Lets all learning rates fall when what decides which checkpoint is best stops improving; off by default. A task's own
    /// `plateau` looks at the task alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau: Option<PlateauConfig>,
    /// Lets the learning rate of each head follow the progress of its task; off by default, `task_rates = {}` switches it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_rates: Option<TaskRates>,
    /// Stop when evaluations have not improved for a while; off by default.
    pub early_stopping: Option<EarlyStopping>,
    /// After how many steps in a row without a finite loss the run stops with an error; 5 by default.
    #[schemars(range(min = 1))]
    pub bad_steps: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            epochs: 3,
            max_steps: None,
            max_tokens: None,
            max_minutes: None,
            packs: Packs::Mixed,
            tokens_per_step: 2048,
            memory_gib: None,
            accumulate: 1,
            seed: 17,
            clip_norm: 1.0,
            threads: None,
            gradient_scope: Scope::AllShared,
            device: DeviceName::Cpu,
            precision: Precision::F32,
            recompute: Recompute::Nothing,
            evaluate_every: None,
            checkpoint_every: None,
            keep: 2,
            best_metric: None,
            result: Pick::Best,
            plateau: None,
            task_rates: None,
            early_stopping: None,
            bad_steps: 5,
        }
    }
}

/// What a pack is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Packs {
    /// Rows of all corpora.
    #[default]
    Mixed,
    /// Rows of one corpus.
    OneCorpus,
}

impl Packs {
    fn is_default(&self) -> bool {
        *self == Packs::Mixed
    }
}

/// What the backward pass computes again instead of having it kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing: everything that a gradient needs is kept.
    #[default]
    Nothing,
    /// The layers of the backbone, each from its input.
    Layers,
}

/// Which checkpoint becomes the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
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
    /// The factor of all learning rates at `step` (from 0) of `total`, in 0..=1: the schedule's, or the optimizer's own.
    pub fn factor(&self, step: usize, total: usize) -> f64 {
        self.optimizer.own_factor(step, total).unwrap_or_else(|| self.schedule.factor(step, total))
    }

    /// What is out of range, as (key, found, expected); empty when all is well.
    pub fn faults(&self) -> Vec<Fault> {
        let t = &self.train;
        let mut faults = Vec::new();
        let mut least = |key: &str, found: usize| {
            if found == 0 {
                faults.push(Fault::new(key, found, "at least 1"));
            }
        };
        least("train.epochs", t.epochs);
        least("train.max_steps", t.max_steps.unwrap_or(1));
        least("train.max_tokens", t.max_tokens.unwrap_or(1));
        least("train.tokens_per_step", t.tokens_per_step);
        least("train.accumulate", t.accumulate);
        least("train.threads", t.threads.unwrap_or(1));
        least("train.evaluate_every", t.evaluate_every.unwrap_or(1));
        least("train.checkpoint_every", t.checkpoint_every.unwrap_or(1));
        least("train.keep", t.keep);
        least("train.early_stopping.patience", t.early_stopping.as_ref().map_or(1, |e| e.patience));
        least("train.bad_steps", t.bad_steps);
        if let Some(gib) = t.memory_gib.filter(|gib| !(*gib > 0.0 && gib.is_finite())) {
            faults.push(Fault::new("train.memory_gib", gib, "a number above 0"));
        }
        if let Some(minutes) = t.max_minutes.filter(|minutes| !(*minutes > 0.0 && minutes.is_finite())) {
            faults.push(Fault::new("train.max_minutes", minutes, "a number above 0"));
        }
        if !(t.clip_norm >= 0.0 && t.clip_norm.is_finite()) {
            faults.push(Fault::new("train.clip_norm", t.clip_norm, "a number from 0, where 0 means off"));
        }
        if let Some(Err(TaskError::Setting { key, found, expected })) =
            t.plateau.as_ref().map(|plateau| plateau.check("train.plateau"))
        {
            faults.push(Fault { key, found, expected });
        }
        faults.extend(t.task_rates.iter().flat_map(TaskRates::faults));
        faults.extend(self.schedule.faults());
        if self.optimizer.own_factor(0, 1).is_some() && self.schedule != Schedule::default() {
            let key = format!("schedule.{}", self.schedule.name());
            let expected = "no [schedule]: the optimizer has a warm-up of its own and needs nothing else";
            faults.push(Fault::new(&key, self.schedule.name(), expected));
        }
        faults.extend(self.optimizer.faults());
        faults
    }
}

/// A setting out of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, such as `train.epochs`.
    pub key: String,
    /// What it says.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

impl Fault {
    pub(crate) fn new(key: &str, found: impl ToString, expected: &str) -> Self {
        Fault { key: key.into(), found: found.to_string(), expected: expected.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: found {}, expected {}", self.key, self.found, self.expected)
    }
}
