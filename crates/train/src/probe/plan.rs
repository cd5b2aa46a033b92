//! What each task will use of a run, without training: its rows are drawn as the run will draw them, and counted.
//!
//! Exact but for what only training can tell: a score that ends a phase, a task that is done early, a sampler that adapts to how
//! training goes (planned with its first shares), a step without a finite loss, and time.

use crate::{
    config::Settings,
    error::TrainError,
    job::flops,
    job::{Job, corpora},
    loading::loader::DataLoader,
    loading::lookahead::{self, PlannedStep},
    loading::step_plan::StepPlan,
    run::events::CorpusUsage,
    run::task_usage::{StopReason, TaskUsage, UsageLedger},
};
use data::{Draw, Split};
use std::collections::{BTreeMap, BTreeSet};

/// How many segments a run is divided into.
const SEGMENTS: usize = 60;

/// A run before it begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its steps and epochs.
    pub step_plan: StepPlan,
    /// Its phases, in order.
    pub phases: Vec<PlannedPhase>,
    /// What each task uses of all of it, by name; no seconds.
    pub tasks: BTreeMap<String, TaskUsage>,
    /// What is drawn of each corpus, by name.
    pub corpora: BTreeMap<String, CorpusUsage>,
    /// Tokens that go through the trunk.
    pub tokens: usize,
    /// Segments of the run, as even as its steps allow, in order.
    pub segments: Vec<PlanSegment>,
}

/// A phase of a run.
#[derive(Debug, Clone)]
pub struct PlannedPhase {
    /// The tasks that are trained in it.
    pub tasks: Vec<String>,
    /// Its steps.
    pub steps: usize,
    /// Its sampler.
    pub sampler: &'static str,
    /// Whether that adapts to how training goes.
    pub adaptive: bool,
    /// What each of its tasks uses in it.
    pub usage: BTreeMap<String, TaskUsage>,
}

/// Some steps that follow one another.
#[derive(Debug, Clone)]
pub struct PlanSegment {
    /// Steps done at its end.
    pub end: usize,
    /// The learning rate of the trunk in its last step.
    pub learning_rate: f64,
    /// The operations of each task in it.
    pub operations: BTreeMap<String, f64>,
}

/// Plans a run.
///
/// # Errors
/// As [`crate::run`], before its first step.
pub fn plan(job: &Job, settings: &Settings) -> Result<Plan, TrainError> {
    crate::config::validate::check(job, settings)?;
    let loader = DataLoader::new(job, settings)?;
    let mut counts = Counts::new(job, &loader);
    let mut steps: Vec<BTreeMap<String, f64>> = Vec::new();
    let mut visit = |step: &PlannedStep<'_>| steps.push(counts.add(step, &loader));
    let step_plan = lookahead::plan(job, &loader, &settings.train, &mut visit);
    let trunk = settings.optimizer.rates([]).trunk;
    let length = steps.len().div_ceil(SEGMENTS).max(1);
    let segments = steps.chunks(length).enumerate().map(|(i, chunk)| {
        let end = i * length + chunk.len();
        let mut operations: BTreeMap<String, f64> = BTreeMap::new();
        for (task, found) in chunk.iter().flatten() {
            *operations.entry(task.clone()).or_default() += found;
        }
        PlanSegment { end, learning_rate: trunk * settings.factor(end - 1, step_plan.total()), operations }
    });
    Ok(Plan {
        segments: segments.collect(),
        phases: counts.phases,
        tasks: counts.ledger.tasks,
        corpora: counts.corpora,
        tokens: counts.tokens,
        step_plan,
    })
}

/// Counts draws as they come.
struct Counts<'a> {
    job: &'a Job,
    views: Vec<Vec<usize>>,
    /// Of each phase, the operations for a token.
    per_token: Vec<f64>,
    phases: Vec<PlannedPhase>,
    ledger: UsageLedger,
    corpora: BTreeMap<String, CorpusUsage>,
    tokens: usize,
}

impl<'a> Counts<'a> {
    fn new(job: &'a Job, loader: &DataLoader) -> Self {
        let phase = |phase: &crate::loading::phases::Phase| PlannedPhase {
            tasks: job
                .model
                .tasks
                .iter()
                .zip(&phase.trained)
                .filter(|(_, trained)| **trained)
                .map(|(task, _)| task.name.clone())
                .collect(),
            steps: 0,
            sampler: phase.sampling.name(),
            adaptive: phase.sampling.adaptive().is_some(),
            usage: BTreeMap::new(),
        };
        // Without linear layers in the trunk no operations are counted; tokens take their place then.
        let per_token =
            |phase: &crate::loading::phases::Phase| match flops::flops_per_token(&job.model, phase.freeze) {
                0.0 => 1.0,
                flops => flops,
            };
        Counts {
            job,
            views: corpora(&job.views.train).into_iter().map(|(_, views)| views).collect(),
            per_token: loader.phases.iter().map(per_token).collect(),
            phases: loader.phases.iter().map(phase).collect(),
            ledger: UsageLedger::default(),
            corpora: BTreeMap::new(),
            tokens: 0,
        }
    }

    /// Adds a step; the operations of each task in it.
    fn add(&mut self, step: &PlannedStep<'_>, loader: &DataLoader) -> BTreeMap<String, f64> {
        let stream = loader.stream_of(step.phase);
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut operations: BTreeMap<String, f64> = BTreeMap::new();
        for draw in step.packs.iter().flat_map(|drawn| &drawn.draws) {
            if self.is_done(draw.corpus as usize, step.phase) {
                continue;
            }
            let corpus = &stream.corpora()[draw.corpus as usize];
            let drawn =
                self.corpora.entry(corpus.name.to_string()).or_insert(CorpusUsage { rows: 0, draws: 0 });
            drawn.rows = drawn.rows.max(corpus.candidates.len());
            drawn.draws += 1;
            for (task, tokens, operations_of_it) in self.shares(*draw, step.phase) {
                for usage in [&mut self.ledger.tasks, &mut self.phases[step.phase].usage] {
                    let used = usage.entry(task.clone()).or_default();
                    used.rows += 1;
                    used.tokens += tokens as u64;
                    used.operations += operations_of_it;
                    used.steps += u64::from(!seen.contains(&task));
                }
                *operations.entry(task.clone()).or_default() += operations_of_it;
                seen.insert(task);
            }
        }
        self.phases[step.phase].steps += 1;
        for task in self.ledger.out_of_budget(&self.job.model) {
            self.ledger.stopped.insert(task, StopReason::Budget);
        }
        operations
    }

    /// Whether all tasks of a corpus are done, so that its rows are skipped.
    fn is_done(&self, corpus: usize, phase: usize) -> bool {
        let reads = |task: &&crate::job::TaskSlot| self.views[corpus].contains(&task.view);
        let is_trained = |name: &String| {
            self.phases[phase].tasks.contains(name) && !self.ledger.stopped.contains_key(name)
        };
        !self.job.model.tasks.iter().filter(reads).any(|task| is_trained(&task.name))
    }

    /// The tasks that a drawn row is for, with its tokens and operations for each.
    fn shares(&mut self, draw: Draw, phase: usize) -> Vec<(String, usize, f64)> {
        let (views, row) = (&self.views[draw.corpus as usize], draw.row as usize);
        let mut shares = Vec::new();
        for view in views {
            let labelled = self.job.model.tasks.iter().filter(|task| {
                task.view == *view
                    && task.head.labelled(Split::Train, row)
                    && self.phases[phase].tasks.contains(&task.name)
                    && !self.ledger.stopped.contains_key(&task.name)
            });
            let names: Vec<String> = labelled.map(|task| task.name.clone()).collect();
            if names.is_empty() {
                continue;
            }
            let tokens = self.job.views.train[*view].encoded.length(row);
            self.tokens += tokens;
            let each = self.per_token[phase] * tokens as f64 / names.len() as f64;
            shares.extend(names.into_iter().map(|name| (name, tokens, each)));
        }
        shares
    }
}
