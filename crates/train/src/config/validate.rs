//! What a run works with, made from the job and the settings: balancer, criterion; and what does not go together.

use crate::{
    config::gradient_scope::GradientScope,
    config::{SettingError, Settings},
    error::TrainError,
    job::{Job, TaskSlot},
    loading::phases::Phase,
    optimizer::OptimizerConfig,
    pruning,
    run::best::Criterion,
    run::step::LookaheadBatch,
};
use balance::{Balancer, Needs};
use data::{SamplerConfig, Split};

/// The balancer over the job's tasks.
///
/// # Errors
/// When its settings do not fit, or it does not go with the scope, the data or what is frozen.
pub(crate) fn balancer(job: &Job, settings: &Settings) -> Result<Box<dyn Balancer>, TrainError> {
    let names: Vec<&str> = job.model.tasks.iter().map(|t| t.name.as_str()).collect();
    let importance: Vec<f64> = job.model.tasks.iter().map(|t| t.training.importance).collect();
    let mut balancer = settings.balance.build(&names, &importance)?;
    match misfit(job, settings.train.gradient_scope, balancer.as_mut()) {
        Some(reason) => Err(TrainError::Balancer { method: settings.balance.name(), reason: reason.into() }),
        None => Ok(balancer),
    }
}

/// Why a balancer does not go with a job.
fn misfit(job: &Job, scope: GradientScope, balancer: &mut dyn Balancer) -> Option<&'static str> {
    let needs = balancer.needs();
    let keeps_buffers = balancer.gradient_transform().is_some_and(|transform| transform.keeps_buffers());
    if needs == Needs::Losses {
        let narrow = scope != GradientScope::AllShared;
        return narrow
            .then_some("looks at losses only, so that `train.gradient_scope` has no meaning; leave it out");
    }
    let (trunk, parameters) = (&job.model.trunk, &job.model.parameters);
    let trained = |wanted: &dyn Fn(usize) -> bool| {
        (0..parameters.len()).any(|index| {
            let parameter = parameters.parameter(index);
            parameter.trainable && parameter.is_shared() && wanted(index)
        })
    };
    let no_validation = || LookaheadBatch::of(job, 1).is_none();
    match scope {
        _ if !trained(&|_| true) => {
            Some("compares gradients of shared parameters, and none is trained; freeze fewer layers")
        }
        _ if needs == Needs::Lookahead && no_validation() => {
            Some("looks ahead at validation rows, and no row of a validation split carries a label")
        }
        GradientScope::Representation if trunk.has_lanes() => Some(
            "compares gradients of states that tasks share, and with this sharing scheme they share none; use `train.gradient_scope = \"last_layer\"`",
        ),
        GradientScope::LastLayer if trunk.sharing().prompt_length() > 0 => Some(
            "compares gradients of states below the last layer, among which this sharing scheme has prompts; use `train.gradient_scope = \"all_shared\"`",
        ),
        GradientScope::LastLayer if !trained(&|index| trunk.is_in_last_layer(parameters, index)) => {
            Some("has no last layer to look at: none is trained; use `train.gradient_scope = \"all_shared\"`")
        }
        GradientScope::Representation if keeps_buffers => Some(
            "keeps numbers of every parameter, and the representation has none; use `train.gradient_scope = \"last_layer\"`",
        ),
        GradientScope::Representation if needs == Needs::Lookahead || needs == Needs::IndependentHalves => {
            Some(
                "compares gradients of different rows, which are not the same representation; use `train.gradient_scope = \"last_layer\"`",
            )
        }
        _ => None,
    }
}

/// Whether a row of the validation split carries a label of the task.
pub(crate) fn is_evaluated(job: &Job, task: &TaskSlot) -> bool {
    let rows = job.views.validation.get(task.view).map_or(0, |view| view.encoded.rows());
    (0..rows).any(|row| task.head.labelled(Split::Validation, row))
}

/// The tasks without a labelled row in a validation split, in their order: they are not evaluated, so that the choice of the best
/// checkpoint does not regard them.
pub fn unevaluated_tasks(job: &Job) -> Vec<String> {
    let without = job.model.tasks.iter().filter(|task| !is_evaluated(job, task));
    without.map(|task| task.name.clone()).collect()
}

/// Refuses settings of the run and of tasks that wait for evaluations that do not come.
fn evaluations_come(job: &Job, settings: &Settings) -> Result<(), TrainError> {
    const EXPECTED: &str =
        "labelled rows in its validation split, which decide when; without them leave the key out";
    let no_rows = "no row of the validation split carries a label";
    let mut errors = Vec::new();
    for task in job.model.tasks.iter().filter(|task| !is_evaluated(job, task)) {
        let training = &task.training;
        let set = [
            ("early_stopping", training.early_stopping.is_some()),
            ("reduce_lr_on_plateau", training.reduce_lr_on_plateau.is_some()),
        ];
        let keys = set.into_iter().filter(|(_, is_set)| *is_set);
        errors.extend(
            keys.map(|(key, _)| SettingError::new(&format!("task.{}.{key}", task.name), no_rows, EXPECTED)),
        );
    }
    let train = &settings.train;
    let set = [
        ("train.early_stopping", train.early_stopping.is_some()),
        ("train.reduce_lr_on_plateau", train.reduce_lr_on_plateau.is_some()),
    ];
    if let (true, None) = (set.iter().any(|(_, is_set)| *is_set), criterion(job, settings)?) {
        let keys = set.into_iter().filter(|(_, is_set)| *is_set);
        errors.extend(keys.map(|(key, _)| SettingError::new(key, no_rows, EXPECTED)));
    }
    if errors.is_empty() { Ok(()) } else { Err(TrainError::Settings(errors)) }
}

/// What decides which evaluation is best; `None` where there is nothing to evaluate.
pub(crate) fn criterion(job: &Job, settings: &Settings) -> Result<Option<Criterion>, TrainError> {
    let metrics: Vec<(&str, &[&str])> =
        job.model.tasks.iter().map(|t| (t.name.as_str(), t.kind.metrics())).collect();
    let criterion = Criterion::of(&settings.train, &metrics)?;
    let wanted = |task: &&TaskSlot| match &criterion {
        Criterion::Mean => true,
        Criterion::Metric { task: name, .. } => task.name == *name,
    };
    let any = job.model.tasks.iter().filter(wanted).any(|task| is_evaluated(job, task));
    match (&criterion, any) {
        (Criterion::Mean, false) => Ok(None),
        (Criterion::Metric { .. }, false) => {
            Err(TrainError::NoValue { step: 0, criterion: criterion.to_string() })
        }
        _ => Ok(Some(criterion)),
    }
}

/// Refuses a sampler that looks at what no step or evaluation shows.
fn sampler_fits(job: &Job, settings: &Settings, sampling: &SamplerConfig) -> Result<(), TrainError> {
    let lacks = |reason: &str| Err(TrainError::Sampler { sampler: sampling.name(), reason: reason.into() });
    if sampling.needs_validation() && criterion(job, settings)?.is_none() {
        return lacks("looks at validation scores, and no row of a validation split carries a label");
    }
    if sampling.needs_task_gradients() && balancer(job, settings)?.needs() == Needs::Losses {
        let method = settings.balance.name();
        return lacks(&format!(
            "looks at the gradients of the tasks, and [balance.{method}] does not; take a method that compares them, such as upgrad"
        ));
    }
    Ok(())
}

/// Refuses rows of a corpus that has no vector where others have one.
fn every_corpus_has_a_vector(job: &Job) -> Result<(), TrainError> {
    let known = &job.model.datasets;
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
    let errors = settings.errors();
    if !errors.is_empty() {
        return Err(TrainError::Settings(errors));
    }
    let stops = job.model.tasks.iter().find(|task| task.training.early_stopping.is_some());
    if let (Some(task), OptimizerConfig::ScheduleFree(_)) = (stops, &settings.optimizer) {
        let key = format!("task.{}.early_stopping", task.name);
        let expected = "another optimizer: the averages of this one are not of any one step";
        return Err(TrainError::Settings(vec![SettingError::new(&key, "schedule_free_adamw", expected)]));
    }
    evaluations_come(job, settings)?;
    every_corpus_has_a_vector(job)?;
    for phase in Phase::all(job, settings)? {
        sampler_fits(job, settings, &phase.sampling)?;
    }
    balancer(job, settings)?;
    pruning::check::check(job, settings)?;
    if let (true, Some(task)) =
        (settings.cache_frozen, job.model.tasks.iter().find(|t| t.kind.mask_percent().is_some()))
    {
        return Err(TrainError::CachedMasking { task: task.name.clone() });
    }
    for task in &job.model.tasks {
        let rows = job.views.train.get(task.view).map_or(0, |v| v.encoded.rows());
        if !(0..rows).any(|row| task.head.labelled(Split::Train, row)) {
            return Err(TrainError::NoLabels { task: task.name.clone() });
        }
    }
    Ok(())
}
