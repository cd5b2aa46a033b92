//! Draws the batches of a run, phase after phase: packs of training rows.

use crate::{
    config::{Batching, Settings},
    error::TrainError,
    job::flops,
    job::{Job, TaskSlot, corpora},
    loading::per_example_losses::per_example_losses,
    loading::phases::Phase,
};
use data::{
    CorpusRows, Draw, OrderConfig, Pack, PackStream, Packing, RowRef, Split, random, sampler::SamplerFeedback,
};
use std::{collections::BTreeMap, sync::Arc};

/// Draws packs of training rows.
#[derive(Clone)]
pub(crate) struct DataLoader {
    /// What the present phase draws from.
    pub(crate) stream: PackStream,
    /// What each phase draws from, at its beginning.
    streams: Vec<PackStream>,
    pub(crate) phases: Vec<Phase>,
    /// Which of them is the present one.
    phase: usize,
    /// The corpora, in the order of the stream, and the views of each.
    corpora: Vec<(Arc<str>, Vec<usize>)>,
    seed: u64,
}

impl DataLoader {
    /// The loader at its beginning. Only rows that carry a label of some task of the phase, and have a token, are drawn.
    ///
    /// # Errors
    /// A phase that does not fit or has nothing to train; rows without the value that they are ordered by; budgets that do not fit.
    pub(crate) fn new(job: &Job, settings: &Settings) -> Result<Self, TrainError> {
        let phases = Phase::all(job, settings)?;
        let corpora = corpora(&job.views.train);
        let mut streams = Vec::new();
        for (number, phase) in phases.iter().enumerate() {
            let mut rows: Vec<CorpusRows> = corpora
                .iter()
                .map(|(name, views)| candidates(job, settings, phase, name.clone(), views))
                .collect::<Result<_, _>>()?;
            budgets(job, phase, &corpora, &mut rows)?;
            let train = &settings.train;
            let wanted = phase.sampling.adaptive().is_some_and(|sampler| sampler.one_corpus());
            let one_corpus = wanted || train.batching == Batching::SingleCorpus;
            let packing = Packing { tokens: train.tokens_per_batch, one_corpus };
            let stream = PackStream::new(rows, &phase.sampling, phase.epochs, packing, train.seed);
            if stream.draws_in_epoch() == 0 {
                let many = phases.len() > 1;
                return Err(if many {
                    TrainError::NothingInPhase { number: number + 1 }
                } else {
                    TrainError::NothingToTrain
                });
            }
            streams.push(stream);
        }
        let stream = streams[0].clone();
        Ok(DataLoader { stream, streams, phases, phase: 0, corpora, seed: settings.train.seed })
    }

    /// Begins a phase: passes over the corpora go on where they are.
    pub(crate) fn enter(&mut self, phase: usize) {
        self.stream = self.streams[phase].clone().continuing(self.stream.drawn_counts());
        self.phase = phase;
    }

    /// The present phase.
    pub(crate) fn phase(&self) -> &Phase {
        &self.phases[self.phase]
    }

    /// Its number, from 0 on.
    pub(crate) fn phase_number(&self) -> usize {
        self.phase
    }

    /// The stream of a phase at its beginning.
    pub(crate) fn stream_of(&self, phase: usize) -> &PackStream {
        &self.streams[phase]
    }

    /// Disables every corpus whose tasks are all trained no more. `trained` has an entry for each task of the model.
    pub(crate) fn drop_finished_tasks(&mut self, tasks: &[TaskSlot], trained: &[bool]) {
        for (corpus, (_, views)) in self.corpora.iter().enumerate() {
            let mut readers = tasks.iter().zip(trained).filter(|(task, _)| views.contains(&task.view));
            self.stream.set_disabled(corpus, !readers.any(|(_, trained)| *trained));
        }
    }

    /// Whether the epoch is over: nothing is left of it that a task is trained on.
    pub(crate) fn at_end(&mut self, job: &Job, trained: &[bool]) -> bool {
        let phase = &self.phases[self.phase];
        // Until a task is done, every row is for one. What an adaptive sampler draws next is not decided yet.
        if self.stream.at_end() || *trained == *phase.trained || phase.sampling.adaptive().is_some() {
            return self.stream.at_end();
        }
        let mut rest = self.stream.clone();
        while let Some(draws) = rest.next() {
            if !self.rows(job, &draws, trained).is_empty() {
                return false;
            }
        }
        true
    }

    /// The next step's packs: `count` of them, fewer at the end of an epoch. `step` is its number; which tokens of a pack are masked
    /// depends on it.
    pub(crate) fn packs(&mut self, job: &Job, count: usize, step: usize) -> Vec<Pack> {
        let trained: Vec<bool> = job.model.tasks.iter().map(|task| task.is_trained).collect();
        let drawn = self.draw(job, count, &trained).into_iter().filter(|drawn| !drawn.rows.is_empty());
        let pack = |(number, drawn): (usize, Drawn)| {
            let name = format!("hidden tokens in pack {number}");
            Pack::drawn(&job.views.train, &drawn.rows, random::derive_seed(self.seed, &name, step as u64))
        };
        drawn.enumerate().map(pack).collect()
    }

    /// Draws the next step's packs: `count` that have rows, fewer at the end of an epoch, and what was drawn between them of which
    /// no row carries a label of a task that is trained.
    pub(crate) fn draw(&mut self, job: &Job, count: usize, trained: &[bool]) -> Vec<Drawn> {
        let (mut packs, mut with_rows) = (Vec::new(), 0);
        let mut epochs_begun = 0;
        while with_rows < count {
            // The end of the epoch is consumed by the step that begins the next, so that the stream is still at its end after this one.
            if with_rows > 0 && self.stream.at_end() {
                break;
            }
            match self.stream.next() {
                Some(draws) => {
                    let rows = self.rows(job, &draws, trained);
                    with_rows += usize::from(!rows.is_empty());
                    packs.push(Drawn { draws, rows });
                }
                // The end of the epoch: of this step too, or still that of the step before.
                None if with_rows > 0 || epochs_begun > 0 => break,
                None => epochs_begun += 1,
            }
        }
        packs
    }

    /// Gives the sampler the signals of a step, or of an evaluation.
    pub(crate) fn observe(&mut self, tasks: &[TaskSlot], signals: &TrainingSignals) {
        let of_corpora = |values: &BTreeMap<String, f64>| -> Vec<Option<f64>> {
            let of = |(_, views): &(Arc<str>, Vec<usize>)| {
                let own = tasks.iter().filter(|task| views.contains(&task.view));
                let found: Vec<(f64, f64)> = own
                    .filter_map(|task| Some((task.training.importance, *values.get(&task.name)?)))
                    .filter(|(importance, value)| *importance > 0.0 && value.is_finite())
                    .collect();
                let importance: f64 = found.iter().map(|(importance, _)| importance).sum();
                (importance > 0.0).then(|| {
                    found.iter().map(|(importance, value)| importance * value).sum::<f64>() / importance
                })
            };
            self.corpora.iter().map(of).collect()
        };
        self.stream.observe(&SamplerFeedback {
            loss: of_corpora(&signals.loss),
            validation_loss: of_corpora(&signals.validation_loss),
            gap: of_corpora(&signals.gap),
            agreement: of_corpora(&signals.agreement),
        });
    }

    /// Of every drawn row the views in which it carries a label of a task that is trained.
    fn rows(&self, job: &Job, draws: &[Draw], trained: &[bool]) -> Vec<RowRef> {
        let mut rows = Vec::with_capacity(draws.len());
        for draw in draws {
            let views = self.corpora.get(draw.corpus as usize).map_or(&[][..], |(_, views)| views);
            let is_trained = |task: usize| trained[task];
            let carrying = views.iter().filter(|v| carries(job, &is_trained, **v, draw.row as usize));
            rows.extend(carrying.map(|v| RowRef { view: *v as u32, row: draw.row }));
        }
        rows
    }
}

/// A pack that was drawn.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    /// Its draws.
    pub(crate) draws: Vec<Draw>,
    /// The rows that carry a label of a task that is trained.
    pub(crate) rows: Vec<RowRef>,
}

/// The signals of a step or an evaluation for the sampler, by task ([`SamplerFeedback`]).
#[derive(Debug, Clone, Default)]
pub(crate) struct TrainingSignals {
    pub(crate) loss: BTreeMap<String, f64>,
    pub(crate) validation_loss: BTreeMap<String, f64>,
    pub(crate) gap: BTreeMap<String, f64>,
    pub(crate) agreement: BTreeMap<String, f64>,
}

/// The rows of a corpus worth drawing in a phase, with their tokens in all views that carry a label.
fn candidates(
    job: &Job,
    settings: &Settings,
    phase: &Phase,
    name: Arc<str>,
    views: &[usize],
) -> Result<CorpusRows, TrainError> {
    let trained: Vec<&TaskSlot> = job
        .model
        .tasks
        .iter()
        .zip(&phase.trained)
        .filter_map(|(task, trained)| trained.then_some(task))
        .collect();
    let wanted = |task: usize| phase.trained[task];
    let mut corpus = CorpusRows::new(name.clone(), Vec::new(), Vec::new());
    corpus.importance =
        trained.iter().filter(|t| views.contains(&t.view)).map(|t| t.training.importance).sum();
    let encoded: Vec<_> =
        views.iter().filter_map(|v| Some((*v, &job.views.train.get(*v)?.encoded))).collect();
    let rows = encoded.iter().map(|(_, e)| e.rows()).max().unwrap_or(0);
    for row in 0..rows {
        let carrying = encoded.iter().filter(|(v, e)| row < e.rows() && carries(job, &wanted, *v, row));
        let tokens: usize = carrying.map(|(_, e)| e.length(row)).sum();
        if tokens > 0 {
            corpus.candidates.push(row as u32);
            corpus.tokens.push(tokens as u32);
        }
    }
    if let Some(order) = settings.orders.get(&*name) {
        corpus.order = order_of(job, order, &corpus, views)?;
    }
    Ok(corpus)
}

/// The order of a corpus's rows, as its config says.
fn order_of(
    job: &Job,
    order: &OrderConfig,
    corpus: &CorpusRows,
    views: &[usize],
) -> Result<data::Order, TrainError> {
    let rows = views.first().and_then(|v| job.views.train.get(*v)).map_or(&[][..], |view| &view.rows);
    let losses = || per_example_losses(job, views, &corpus.candidates);
    order.order(rows, &corpus.candidates, &corpus.tokens, losses).map_err(TrainError::Order)
}

/// Gives the corpora the shares of computation that their tasks have as budgets.
fn budgets(
    job: &Job,
    phase: &Phase,
    corpora: &[(Arc<str>, Vec<usize>)],
    rows: &mut [CorpusRows],
) -> Result<(), TrainError> {
    let trained =
        || job.model.tasks.iter().zip(&phase.trained).filter_map(|(task, trained)| trained.then_some(task));
    for ((_, views), corpus) in corpora.iter().zip(rows.iter_mut()) {
        let shares = trained().filter(|task| views.contains(&task.view)).filter_map(share_of);
        corpus.budget = Some(shares.sum::<f64>()).filter(|sum| *sum > 0.0);
    }
    let with_rows = || rows.iter().filter(|corpus| !corpus.candidates.is_empty());
    let sum: f64 = with_rows().filter_map(|corpus| corpus.budget).sum();
    let free = with_rows().any(|corpus| corpus.budget.is_none());
    if sum > 1.0 + 1e-9 || (free && sum > 1.0 - 1e-9) {
        return Err(TrainError::Budgets { sum, free });
    }
    if sum > 0.0 && phase.sampling.adaptive().is_some() {
        return Err(TrainError::BudgetsWithAdaptiveSampler { sampler: phase.sampling.name() });
    }
    // A row costs what the trunk does with its tokens, which is the same for every token.
    let per_token = flops::flops_per_token(&job.model, None);
    for corpus in rows.iter_mut().filter(|_| sum > 0.0) {
        corpus.costs = corpus.tokens.iter().map(|tokens| f64::from(*tokens) * per_token).collect();
    }
    Ok(())
}

fn share_of(task: &TaskSlot) -> Option<f64> {
    task.training.budget.and_then(|budget| budget.share)
}

fn carries(job: &Job, wanted: &dyn Fn(usize) -> bool, view: usize, row: usize) -> bool {
    let mut tasks = job.model.tasks.iter().enumerate();
    tasks.any(|(i, task)| task.view == view && wanted(i) && task.head.labelled(Split::Train, row))
}
