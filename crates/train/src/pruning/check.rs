//! What cannot be pruned while it is trained.

use super::config::PruningConfig;
use crate::{
    config::{SettingError, Settings},
    error::TrainError,
    job::Job,
};
use model::pruning::{ColumnGates, Cut, LayerGates, gates, kept_columns};
use std::path::Path;

/// Refuses, before anything is trained or written, a job that cannot be pruned while it is trained as `[pruning]` says. Nothing where there
/// is none.
///
/// # Errors
/// [`TrainError::Settings`]: key, what was found, and what to do.
pub fn check_pruning(job: &Job, settings: &Settings) -> Result<(), TrainError> {
    check(job, settings)?;
    settings.pruning.as_ref().map_or(Ok(()), |config| can_be_saved(job, config))
}

/// Refuses a network, a sharing scheme and settings that pruning does not go with. Nothing where there is no `[pruning]`.
///
/// # Errors
/// [`TrainError::Settings`]: key, what was found, and what to do.
pub(crate) fn check(job: &Job, settings: &Settings) -> Result<(), TrainError> {
    let Some(config) = &settings.pruning else { return Ok(()) };
    let mut errors = network(job, config);
    if errors.is_empty() {
        errors.extend(untrained(job, config));
    }
    errors.extend(of_settings(job, settings));
    if errors.is_empty() { Ok(()) } else { Err(TrainError::Settings(errors)) }
}

/// What the network's config.json could not say.
fn network(job: &Job, config: &PruningConfig) -> Vec<SettingError> {
    let sizes = job.model.trunk.cuttable();
    let mut errors = Vec::new();
    if let (Some(share), Err(reason)) = (config.ffn, sizes.ffn) {
        let expected =
            format!("a network whose feed-forward columns can be cut: {reason}; leave [pruning] out");
        errors.push(SettingError::new("pruning.ffn", share, &expected));
    }
    match (config.heads, sizes.heads) {
        (Some(share), Err(reason)) => {
            let expected =
                format!("a network whose heads can be cut: {reason}; leave `heads` out, and prune `ffn`");
            errors.push(SettingError::new("pruning.heads", share, &expected));
        }
        (Some(share), Ok(heads)) => {
            let refused = heads.checked(share).err();
            errors.extend(refused.map(|reason| {
                SettingError::new("pruning.heads", share, &format!("a share that can be cut: {reason}"))
            }));
        }
        (None, _) => {}
    }
    errors
}

/// Matrices that get no gradient, or that tasks have for themselves.
fn untrained(job: &Job, config: &PruningConfig) -> Option<SettingError> {
    let (trunk, parameters) = (&job.model.trunk, &job.model.parameters);
    let scheme = trunk.sharing().config().name();
    if trunk.sharing().copies().is_some() {
        let expected = "a sharing scheme in which all tasks have the same matrices: structures would be cut for all of them by what one does; \
                        leave [pruning] or the scheme out";
        return Some(SettingError::new("pruning", format!("[sharing.{scheme}]"), expected));
    }
    let wanted = |layer: LayerGates| {
        let ffn = layer.ffn.filter(|_| config.ffn.is_some());
        ffn.into_iter().chain(layer.heads.filter(|_| config.heads.is_some())).collect::<Vec<ColumnGates>>()
    };
    let all = gates(trunk).into_iter().flat_map(wanted);
    let frozen = all.map(|gates| parameters.parameter(gates.parameter)).find(|p| !p.trainable)?;
    let found = format!("{}, which is not trained", frozen.name);
    let expected = "matrices that are trained, whose gradients are the scores; leave `model.freeze` and sharing schemes out that freeze the \
                    network, or use `polytask prune`, which measures by itself";
    Some(SettingError::new("pruning", found, expected))
}

/// Settings that pruning does not go with.
fn of_settings(job: &Job, settings: &Settings) -> Vec<SettingError> {
    let mut errors = Vec::new();
    let frozen = settings.phases.iter().position(|phase| phase.freeze.is_some());
    if let Some(phase) = frozen {
        let expected =
            "phases without `freeze`: layers that are not trained get no scores; leave it or [pruning] out";
        errors.push(SettingError::new("pruning", format!("phase {} with `freeze`", phase + 1), expected));
    }
    for task in job.model.tasks.iter().filter(|task| task.training.early_stopping.is_some()) {
        let key = format!("task.{}.early_stopping", task.name);
        let expected =
            "nothing with [pruning]: the head would become again what it was with the larger network";
        errors.push(SettingError::new(&key, "early stopping of a task", expected));
    }
    errors
}

/// Refuses, before anything is trained, a model that could not be cut at the end: with a sharing scheme whose parameters have the sizes that
/// are cut.
///
/// # Errors
/// [`TrainError::Settings`]; those of [`crate::Model::cut`].
pub(crate) fn can_be_saved(job: &Job, config: &PruningConfig) -> Result<(), TrainError> {
    let (model, sizes) = (&job.model, job.model.trunk.cuttable());
    let scheme = model.trunk.sharing().config().name();
    if scheme == "hard" {
        return Ok(());
    }
    let all = gates(&model.trunk);
    let first = |count: usize| (0..count).collect::<Vec<usize>>();
    let columns = |share: f64| {
        let of_layer =
            |layer: &LayerGates| layer.ffn.map_or_else(Vec::new, |g| first(kept_columns(g.count, share)));
        all.iter().map(of_layer).collect::<Vec<_>>()
    };
    let heads = config.heads.zip(sizes.heads.ok());
    let keep = Cut {
        layers: None,
        hidden: None,
        ffn: config.ffn.map(columns),
        head_groups: heads.map(|(share, heads)| vec![first(heads.kept(share)); all.len()]),
    };
    match model.cut(&keep, Path::new("model"), model.device()) {
        Err(TrainError::SizedByStructures { parameter }) => {
            let found = format!("[sharing.{scheme}], of which {parameter} has a size that would be cut");
            let expected = "a sharing scheme without parameters of the sizes inside layers; leave [pruning] or the scheme out";
            Err(TrainError::Settings(vec![SettingError::new("pruning", found, expected)]))
        }
        other => other.map(drop),
    }
}
