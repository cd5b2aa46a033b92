//! What a run works with, made from the job and the settings: balancer, criterion; and what does not go together.

use crate::{
    best::Criterion,
    config::{Fault, Settings},
    error::TrainError,
    job::Job,
    optimizer::Optimizing,
    phase::Phase,
    scope::Scope,
    step::Validation,
};
use balance::{Balancer, Needs};
use data::{Sampling, Split};
use model::Group;

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

/// Refuses a sampler that looks at what no step or evaluation shows.
fn sampler_fits(job: &Job, settings: &Settings, sampling: &Sampling) -> Result<(), TrainError> {
    let lacks = |reason: &str| Err(TrainError::Sampler { sampler: sampling.name(), reason: reason.into() });
    match sampling {
        Sampling::Validation(_) if criterion(job, settings)?.is_none() => {
            lacks("looks at validation scores, and no row of a validation split carries a label")
        }
        Sampling::Conflict(_) if balancer(job, settings)?.needs() == Needs::Losses => {
            let method = settings.balance.name();
            lacks(&format!(
                "looks at the gradients of the tasks, and [balance.{method}] does not; take a method that compares them, such as upgrad"
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses rows of a corpus that has no vector where others have one.
fn every_corpus_has_a_vector(job: &Job) -> Result<(), TrainError> {
    let known = &job.model.corpora;
    let mut views = Split::ALL.into_iter().flat_map(|split| job.views.of(split));
    match views.find(|view| !known.iter().any(|corpus| **corpus == *view.corpus)) {
        Some(view) if !known.is_empty() => {
            Err(TrainError::NoVector { corpus: view.corpus.to_string(), known: known.clone() })
        }
        _ => Ok(()),
    }
}

/// Refuses settings and jobs that cannot be trained.
pub(crate) fn check(job: &Job, settings: &Settings) -> Result<(), TrainError> {
    let faults = settings.faults();
    if !faults.is_empty() {
        return Err(TrainError::Settings(faults));
    }
    let stops = job.model.tasks.iter().find(|task| task.config.early_stopping.is_some());
    if let (Some(task), Optimizing::ScheduleFree(_)) = (stops, &settings.optimizer) {
        let key = format!("task.{}.early_stopping", task.name);
        let expected = "another optimizer: the averages of this one are not of any one step";
        return Err(TrainError::Settings(vec![Fault::new(&key, "schedule_free_adamw", expected)]));
    }
    every_corpus_has_a_vector(job)?;
    for phase in Phase::all(job, settings)? {
        sampler_fits(job, settings, &phase.sampling)?;
    }
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
