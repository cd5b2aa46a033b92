//! What each task will get of a run, without training: its rows are drawn as the run will draw them, and counted.
//!
//! Exact but for what only training can tell: a score that ends a phase, a task that is done early, a sampler that looks at how
//! training goes (planned with its first shares), a bad step, and time.

use crate::{
    allotment::{Allotment, Reason, Spent},
    config::Settings,
    cost,
    error::TrainError,
    events::DrawnRows,
    feed::Feed,
    job::{Job, corpora},
    timetable::{PlannedStep, Timetable},
};
use data::{Draw, Split};
use std::collections::{BTreeMap, BTreeSet};

/// How many points over the run are looked at.
const POINTS: usize = 60;

/// A run before it begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its steps and epochs.
    pub timetable: Timetable,
    /// Its parts, in order.
    pub phases: Vec<PlannedPhase>,
    /// What each task gets of all of it, by name; no seconds.
    pub tasks: BTreeMap<String, Spent>,
    /// What is drawn of each corpus, by name.
    pub corpora: BTreeMap<String, DrawnRows>,
    /// Tokens that go through the trunk.
    pub tokens: usize,
    /// Stretches of the run, as even as its steps allow, in order.
    pub stretches: Vec<Stretch>,
}

/// A part of a run.
#[derive(Debug, Clone)]
pub struct PlannedPhase {
    /// The tasks that are trained in it.
    pub tasks: Vec<String>,
    /// Its steps.
    pub steps: usize,
    /// Its sampler.
    pub sampler: &'static str,
    /// Whether that looks at how training goes.
    pub adaptive: bool,
    /// What each of its tasks gets in it.
    pub spent: BTreeMap<String, Spent>,
}

/// Some steps that follow one another.
#[derive(Debug, Clone)]
pub struct Stretch {
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
    crate::setup::check(job, settings)?;
    let feed = Feed::new(job, settings)?;
    let mut counts = Counts::new(job, &feed);
    let mut steps: Vec<BTreeMap<String, f64>> = Vec::new();
    let timetable = Timetable::of(&feed, &settings.train, &mut |step| steps.push(counts.take(step, &feed)));
    let trunk = settings.optimizer.rates([]).trunk;
    let length = steps.len().div_ceil(POINTS).max(1);
    let stretches = steps.chunks(length).enumerate().map(|(i, chunk)| {
        let end = i * length + chunk.len();
        let mut operations: BTreeMap<String, f64> = BTreeMap::new();
        for (task, found) in chunk.iter().flatten() {
            *operations.entry(task.clone()).or_default() += found;
        }
        Stretch { end, learning_rate: trunk * settings.factor(end - 1, timetable.total()), operations }
    });
    Ok(Plan {
        stretches: stretches.collect(),
        phases: counts.phases,
        tasks: counts.given.spent,
        corpora: counts.corpora,
        tokens: counts.tokens,
        timetable,
    })
}

/// Counts draws as they come.
struct Counts<'a> {
    job: &'a Job,
    views: Vec<Vec<usize>>,
    /// Of each phase, the operations for a token.
    per_token: Vec<f64>,
    phases: Vec<PlannedPhase>,
    given: Allotment,
    corpora: BTreeMap<String, DrawnRows>,
    tokens: usize,
}

impl<'a> Counts<'a> {
    fn new(job: &'a Job, feed: &Feed) -> Self {
        let phase = |phase: &crate::phase::Phase| PlannedPhase {
            tasks: job
                .model
                .tasks
                .iter()
                .zip(&phase.trains)
                .filter(|(_, t)| **t)
                .map(|(t, _)| t.name.clone())
                .collect(),
            steps: 0,
            sampler: phase.sampling.name(),
            adaptive: phase.sampling.adaptive().is_some(),
            spent: BTreeMap::new(),
        };
        let layers = |phase: &crate::phase::Phase| phase.freeze.map(|n| job.model.backbone.names_below(n));
        // Without maps in the trunk nothing is counted as an operation; tokens tell the shares then.
        let per_token = |phase| match cost::of_a_token(&job.model, &layers(phase).unwrap_or_default()) {
            0.0 => 1.0,
            cost => cost,
        };
        Counts {
            job,
            views: corpora(&job.views.train).into_iter().map(|(_, views)| views).collect(),
            per_token: feed.phases.iter().map(per_token).collect(),
            phases: feed.phases.iter().map(phase).collect(),
            given: Allotment::default(),
            corpora: BTreeMap::new(),
            tokens: 0,
        }
    }

    /// Takes in a step; the operations of each task in it.
    fn take(&mut self, step: &PlannedStep<'_>, feed: &Feed) -> BTreeMap<String, f64> {
        let stream = feed.stream_of(step.phase);
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut operations: BTreeMap<String, f64> = BTreeMap::new();
        for draw in step.packs.iter().flatten() {
            if self.has_left(draw.corpus as usize, step.phase) {
                continue;
            }
            let corpus = &stream.corpora()[draw.corpus as usize];
            let drawn =
                self.corpora.entry(corpus.name.to_string()).or_insert(DrawnRows { rows: 0, draws: 0 });
            drawn.rows = drawn.rows.max(corpus.candidates.len());
            drawn.draws += 1;
            for (task, tokens, operations_of_it) in self.shares(*draw, step.phase) {
                for spent in [&mut self.given.spent, &mut self.phases[step.phase].spent] {
                    let spent = spent.entry(task.clone()).or_default();
                    spent.rows += 1;
                    spent.tokens += tokens as u64;
                    spent.operations += operations_of_it;
                    spent.steps += u64::from(!seen.contains(&task));
                }
                *operations.entry(task.clone()).or_default() += operations_of_it;
                seen.insert(task);
            }
        }
        self.phases[step.phase].steps += 1;
        for task in self.given.out_of_budget(&self.job.model) {
            self.given.done.insert(task, Reason::Budget);
        }
        operations
    }

    /// Whether all tasks of a corpus are done, so that it is passed over.
    fn has_left(&self, corpus: usize, phase: usize) -> bool {
        let reads = |task: &&crate::job::TaskSlot| self.views[corpus].contains(&task.view);
        let learns =
            |name: &String| self.phases[phase].tasks.contains(name) && !self.given.done.contains_key(name);
        !self.job.model.tasks.iter().filter(reads).any(|task| learns(&task.name))
    }

    /// The tasks that a drawn row is for, with its tokens and operations for each.
    fn shares(&mut self, draw: Draw, phase: usize) -> Vec<(String, usize, f64)> {
        let (views, row) = (&self.views[draw.corpus as usize], draw.row as usize);
        let mut shares = Vec::new();
        for view in views {
            let labelled = self.job.model.tasks.iter().filter(|task| {
                task.view == *view
                    && task.kind.labelled(Split::Train, row)
                    && self.phases[phase].tasks.contains(&task.name)
                    && !self.given.done.contains_key(&task.name)
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
