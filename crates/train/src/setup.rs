//! What a run works with, made from the job and the settings: stream of rows, timetable, balancer, criterion.

use crate::{
    best::Criterion,
    config::Settings,
    error::TrainError,
    job::{Job, corpora},
    scope::Scope,
    step::Validation,
    timetable::Timetable,
};
use balance::{Balancer, Needs};
use data::{CorpusRows, Draw, Pack, RowRef, Split, Stream, random};
use model::Group;
use std::sync::Arc;

/// Draws packs of training rows.
pub(crate) struct Feed {
    pub(crate) stream: Stream,
    /// The views of each corpus.
    views: Vec<Vec<usize>>,
    seed: u64,
}

impl Feed {
    /// The feed at its beginning. Only rows that carry a label of some task, and have a token, are drawn.
    pub(crate) fn new(job: &Job, settings: &Settings) -> Result<Self, TrainError> {
        let corpora = corpora(&job.views.train);
        let rows: Vec<CorpusRows> =
            corpora.iter().map(|(name, views)| candidates(job, name.clone(), views)).collect();
        let train = &settings.train;
        let stream = Stream::new(rows, &settings.sampling, train.epochs, train.tokens_per_step, train.seed);
        if stream.draws_in_epoch() == 0 {
            return Err(TrainError::NothingToTrain);
        }
        Ok(Feed { stream, views: corpora.into_iter().map(|(_, views)| views).collect(), seed: train.seed })
    }

    /// The next step's packs: `most` of them, fewer at the end of an epoch.
    /// `step` is its number; what is hidden in a pack depends on it.
    pub(crate) fn packs(&mut self, job: &Job, most: usize, step: usize) -> Vec<Pack> {
        let mut packs = Vec::new();
        let mut epochs_begun = 0;
        while packs.len() < most {
            match self.stream.next() {
                Some(draws) => {
                    let name = format!("hidden tokens in pack {}", packs.len());
                    packs.push(self.pack(job, &draws, random::seed_of(self.seed, &name, step as u64)));
                }
                // The end of the epoch: of this step too, or still that of the step before.
                None if !packs.is_empty() || epochs_begun > 0 => break,
                None => epochs_begun += 1,
            }
        }
        packs
    }

    /// Every view in which a drawn row carries a label.
    fn pack(&self, job: &Job, draws: &[Draw], seed: u64) -> Pack {
        let mut rows = Vec::with_capacity(draws.len());
        for draw in draws {
            let views = self.views.get(draw.corpus as usize).map_or(&[][..], Vec::as_slice);
            let carrying = views.iter().filter(|v| carries(job, **v, draw.row as usize));
            rows.extend(carrying.map(|v| RowRef { view: *v as u32, row: draw.row }));
        }
        Pack::drawn(&job.views.train, &rows, seed)
    }
}

/// The rows of a corpus worth drawing, with their tokens in all views that carry a label.
fn candidates(job: &Job, name: Arc<str>, views: &[usize]) -> CorpusRows {
    let tasks = job.model.tasks.iter().filter(|t| views.contains(&t.view));
    let importance = tasks.map(|t| t.config.importance).sum();
    let mut corpus = CorpusRows { name, candidates: Vec::new(), tokens: Vec::new(), importance };
    let encoded: Vec<_> =
        views.iter().filter_map(|v| Some((*v, &job.views.train.get(*v)?.encoded))).collect();
    let rows = encoded.iter().map(|(_, e)| e.rows()).max().unwrap_or(0);
    for row in 0..rows {
        let carrying = encoded.iter().filter(|(v, e)| row < e.rows() && carries(job, *v, row));
        let tokens: usize = carrying.map(|(_, e)| e.length(row)).sum();
        if tokens > 0 {
            corpus.candidates.push(row as u32);
            corpus.tokens.push(tokens as u32);
        }
    }
    corpus
}

fn carries(job: &Job, view: usize, row: usize) -> bool {
    job.model.tasks.iter().any(|t| t.view == view && t.kind.labelled(Split::Train, row))
}

/// The steps of a run.
pub(crate) fn timetable(feed: &Feed, settings: &Settings) -> Timetable {
    Timetable::new(&settings.train, feed.stream.packs_by_epoch())
}

/// The balancer over the job's tasks.
///
/// # Errors
/// When its settings do not fit, or it does not go with the scope, the data or what is frozen.
pub(crate) fn balancer(job: &Job, settings: &Settings) -> Result<Box<dyn Balancer>, TrainError> {
    let names: Vec<&str> = job.model.tasks.iter().map(|t| t.name.as_str()).collect();
    let importance: Vec<f64> = job.model.tasks.iter().map(|t| t.config.importance).collect();
    let mut balancer = settings.balance.build(&names, &importance)?;
    match misfit(job, settings.train.gradient_scope, balancer.as_mut()) {
        Some(reason) => Err(TrainError::Balancer { method: settings.balance.name(), reason: reason.into() }),
        None => Ok(balancer),
    }
}

/// Why a balancer does not go with a job.
fn misfit(job: &Job, scope: Scope, balancer: &mut dyn Balancer) -> Option<&'static str> {
    let (needs, rows) = (balancer.needs(), balancer.rows().map(|rows| rows.keeps_buffers()));
    if needs == Needs::Losses {
        let narrow = scope != Scope::AllShared;
        return narrow
            .then_some("looks at losses only, so that `train.gradient_scope` has no meaning; leave it out");
    }
    let (backbone, parameters) = (&job.model.backbone, &job.model.parameters);
    let trained = |prefixes: &[String]| {
        let within = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        parameters.iter().any(|p| p.trainable && p.group == Group::Trunk && within(&p.name))
    };
    let no_validation = || Validation::of(job, 1).is_none();
    match scope {
        _ if !trained(&["backbone.".into()]) => {
            Some("compares gradients of shared parameters, and none is trained; freeze fewer layers")
        }
        _ if needs == Needs::Lookahead && no_validation() => {
            Some("looks ahead at validation rows, and no row of a validation split carries a label")
        }
        Scope::LastLayer if !trained(&backbone.last_layer()) => {
            Some("has no last layer to look at: none is trained; use `train.gradient_scope = \"all_shared\"`")
        }
        Scope::Representation if rows == Some(true) => Some(
            "keeps numbers of every parameter, and the representation has none; use `train.gradient_scope = \"last_layer\"`",
        ),
        Scope::Representation if needs == Needs::Lookahead || needs == Needs::TwoHalves => Some(
            "compares gradients of different rows, which are not the same representation; use `train.gradient_scope = \"last_layer\"`",
        ),
        _ => None,
    }
}

/// What decides which evaluation is best; `None` where there is nothing to evaluate.
pub(crate) fn criterion(job: &Job, settings: &Settings) -> Result<Option<Criterion>, TrainError> {
    let metrics: Vec<(&str, &[&str])> =
        job.model.tasks.iter().map(|t| (t.name.as_str(), t.kind.metrics())).collect();
    let criterion = Criterion::of(&settings.train, &metrics)?;
    let evaluated = |view: usize, task: &crate::job::TaskSlot| {
        let rows = job.views.validation.get(view).map_or(0, |v| v.encoded.rows());
        (0..rows).any(|row| task.kind.labelled(Split::Validation, row))
    };
    let wanted = |task: &&crate::job::TaskSlot| match &criterion {
        Criterion::Mean => true,
        Criterion::Metric { task: name, .. } => task.name == *name,
    };
    let any = job.model.tasks.iter().filter(wanted).any(|t| evaluated(t.view, t));
    match (&criterion, any) {
        (Criterion::Mean, false) => Ok(None),
        (Criterion::Metric { .. }, false) => {
            Err(TrainError::NoValue { step: 0, criterion: criterion.to_string() })
        }
        _ => Ok(Some(criterion)),
    }
}

/// Refuses settings and jobs that cannot be trained.
pub(crate) fn check(job: &Job, settings: &Settings) -> Result<(), TrainError> {
    let faults = settings.faults();
    if !faults.is_empty() {
        return Err(TrainError::Settings(faults));
    }
    settings.sampling.check(settings.train.epochs)?;
    balancer(job, settings)?;
    if let (true, Some(task)) =
        (settings.cache_frozen, job.model.tasks.iter().find(|t| t.kind.hides().is_some()))
    {
        return Err(TrainError::CachedHiding { task: task.name.clone() });
    }
    for task in &job.model.tasks {
        let rows = job.views.train.get(task.view).map_or(0, |v| v.encoded.rows());
        if !(0..rows).any(|row| task.kind.labelled(Split::Train, row)) {
            return Err(TrainError::NoLabels { task: task.name.clone() });
        }
    }
    Ok(())
}
