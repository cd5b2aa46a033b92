//! `[[phase]]`: the phases of a run, each with its tasks, its length, its frozen layers and its sampler.

use crate::{
    config::{MAX_EPOCHS, Settings, validate::is_evaluated},
    error::TrainError,
    forward::evaluate::Evaluation,
    job::Job,
    run::best::Criterion,
};
use data::SamplerConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One phase of a run. Phases come in the order of the config; without any, the whole run is one phase with every task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PhaseConfig {
    /// The tasks that are trained in it; all by default. The others' heads stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<String>>,
    /// How many times it goes through the rows of its tasks; `train.epochs` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: Option<usize>,
    /// How many steps it has, in place of epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<usize>,
    /// A score at which it ends before its last step: `{ metric = "intent.accuracy", threshold = 0.9 }`, on the validation split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// How many of the lower layers are frozen in it, with the embeddings below them; by default what `model.freeze` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<usize>,
    /// How often it draws each corpus; by default what `[sampling]` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<SamplerConfig>,
}

/// `until = { metric = "intent.accuracy", threshold = 0.9 }`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// A task's metric as `"task.metric"`; `"mean"` for the mean of every task's primary metric, weighted by importance.
    pub metric: String,
    /// The score that ends the phase, a fraction.
    pub threshold: f64,
}

/// A phase of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phase {
    /// `[tasks of the model]` whether each is trained.
    pub(crate) trained: Vec<bool>,
    /// Epochs at most.
    pub(crate) epochs: usize,
    /// Steps at most.
    pub(crate) steps: Option<usize>,
    until: Option<(Criterion, f64)>,
    /// Layers that are frozen, where the phase says so.
    pub(crate) freeze: Option<usize>,
    pub(crate) sampling: SamplerConfig,
}

impl Phase {
    /// The phases of a run: one where the config names none.
    ///
    /// # Errors
    /// A task, metric or layer that does not exist; a phase without tasks; both epochs and steps; a sampler that does not fit.
    pub(crate) fn all(job: &Job, settings: &Settings) -> Result<Vec<Phase>, TrainError> {
        let whole = [PhaseConfig::default()];
        let configs = if settings.phases.is_empty() { &whole[..] } else { &settings.phases };
        let phase = |(i, config): (usize, &PhaseConfig)| Phase::of(job, settings, config, i);
        configs.iter().enumerate().map(phase).collect()
    }

    fn of(job: &Job, settings: &Settings, config: &PhaseConfig, number: usize) -> Result<Phase, TrainError> {
        let error = |key: &str, found: String, expected: String| TrainError::Phase {
            number: number + 1,
            key: key.into(),
            found,
            expected,
        };
        let names: Vec<&str> = job.model.tasks.iter().map(|task| task.name.as_str()).collect();
        let trained: Vec<bool> = match &config.tasks {
            None => vec![true; names.len()],
            Some(wanted) => {
                if let Some(unknown) = wanted.iter().find(|task| !names.contains(&task.as_str())) {
                    return Err(error(
                        "tasks",
                        format!("{unknown:?}"),
                        format!("one of {}", names.join(", ")),
                    ));
                }
                names.iter().map(|name| wanted.iter().any(|task| task == name)).collect()
            }
        };
        if !trained.contains(&true) {
            return Err(error("tasks", "none".into(), "one task or more; leave the key out for all".into()));
        }
        if let (Some(epochs), Some(steps)) = (config.epochs, config.steps) {
            let found = format!("epochs = {epochs} and steps = {steps}");
            return Err(error("steps", found, "one of the two".into()));
        }
        for (key, value) in [("epochs", config.epochs), ("steps", config.steps)] {
            if value == Some(0) {
                return Err(error(key, "0".into(), "at least 1".into()));
            }
        }
        if let Some(epochs) = config.epochs.filter(|epochs| *epochs > MAX_EPOCHS) {
            return Err(error("epochs", epochs.to_string(), format!("at most {MAX_EPOCHS}")));
        }
        let trunk = &job.model.trunk;
        let most = trunk.layers();
        if let Some(layers) = config.freeze.filter(|layers| *layers > most) {
            return Err(error(
                "freeze",
                layers.to_string(),
                format!("at most the {most} layers of the backbone"),
            ));
        }
        if let Some(layers) = config.freeze.filter(|layers| !trunk.can_freeze(*layers)) {
            let expected = format!("0 or {most}: layers above and below have the same weights");
            return Err(error("freeze", layers.to_string(), expected));
        }
        let cached = if settings.cache_frozen { trunk.middle_layers().start } else { 0 };
        if config.freeze.is_some_and(|layers| layers < cached) {
            let expected = "no fewer layers than model.freeze, whose states are cached".into();
            return Err(error("freeze", config.freeze.unwrap_or(0).to_string(), expected));
        }
        let until = config.until.as_ref().map(|until| {
            let metrics: Vec<(&str, &[&str])> =
                job.model.tasks.iter().map(|t| (t.name.as_str(), t.kind.metrics())).collect();
            let named = Some(until.metric.as_str()).filter(|metric| *metric != "mean");
            let criterion = Criterion::named(named, &metrics)?;
            let mut tasks = job.model.tasks.iter();
            let comes = match &criterion {
                Criterion::Mean => tasks.any(|task| is_evaluated(job, task)),
                Criterion::Metric { task: name, .. } => {
                    tasks.any(|task| task.name == *name && is_evaluated(job, task))
                }
            };
            if !comes {
                let found =
                    format!("{}, and no row of the validation split carries a label for it", until.metric);
                return Err(error("until", found, "a metric of a task with labelled validation rows".into()));
            }
            Ok((criterion, until.threshold))
        });
        let sampling = config.sampling.as_ref().unwrap_or(&settings.sampling).clone();
        if config.steps.is_some() && sampling.goes_by_epochs() {
            let found =
                format!("a number of steps under the sampler {}, which goes by epochs", sampling.name());
            return Err(error("steps", found, "epochs, or another sampler".into()));
        }
        let epochs = match config.steps {
            Some(_) => usize::MAX,
            None => config.epochs.unwrap_or(settings.train.epochs),
        };
        sampling.check(epochs)?;
        Ok(Phase {
            trained,
            epochs,
            steps: config.steps,
            until: until.transpose()?,
            freeze: config.freeze,
            sampling,
        })
    }

    /// Whether an evaluation ends it.
    pub(crate) fn is_reached(&self, evaluation: &Evaluation) -> bool {
        let reached =
            |(criterion, score): &(Criterion, f64)| criterion.value(evaluation).is_some_and(|v| v >= *score);
        self.until.as_ref().is_some_and(reached)
    }
}
