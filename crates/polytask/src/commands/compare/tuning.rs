//! `--tune KEY=VALUE,...`: every model, for all tasks or for some, is trained with each setting and keeps the best, so that none is
//! compared with more trials behind it than another.

use super::contestants::{Contestants, trial_name};
use super::grid::{Combination, settings};
use crate::config::Config;
use crate::failure::Failure;
use crate::study::settings::with_overrides;
use crate::study::{Runner, StudyDir, Trial};
use serde::Serialize;

/// The setting that a model was given.
#[derive(Debug, Clone, Serialize)]
pub struct Tuned {
    /// The model.
    pub model: String,
    /// The setting, `KEY=VALUE`.
    pub setting: String,
    /// The validation value that chose it.
    pub value: f64,
    /// How many settings were tried.
    pub tried: usize,
}

/// The settings to be tried; none where nothing is tuned.
///
/// # Errors
/// What is no `KEY=VALUE,...`, or does not go with the config.
pub(super) fn combinations(tune: &[String], config: &Config) -> Result<Vec<Combination>, Failure> {
    if tune.is_empty() {
        return Ok(Vec::new());
    }
    let found = settings("--tune", tune, config)?;
    for combination in &found {
        with_overrides(config, &combination.set)?;
    }
    Ok(found)
}

/// Trains every model with every setting and the first seed, and gives each the setting with the best validation value; of equal ones
/// the first.
///
/// # Errors
/// A training that fails; a model without validation rows, by which nothing can be chosen.
pub(super) fn tune(
    contestants: &mut Contestants,
    combinations: &[Combination],
    (runner, dir, resume): (&Runner, &StudyDir, &str),
) -> Result<Vec<Tuned>, Failure> {
    let mut candidates = Vec::new();
    let (mut trials, mut work) = (Vec::new(), Vec::new());
    for (index, model) in contestants.models.iter().enumerate().filter(|(_, model)| model.is_trained_here()) {
        for combination in combinations {
            let name = format!("{} {}", model.name, combination.name);
            let config = with_overrides(&model.config, &combination.set)?;
            trials.push(Trial::new(&trial_name(&name, 0), config.clone()));
            work.push(model.work);
            candidates.push((index, name, config, &combination.name));
        }
    }
    let results = runner.run(dir, &trials, &work, resume)?;
    let mut tuned = Vec::new();
    for index in 0..contestants.models.len() {
        if !contestants.models[index].is_trained_here() {
            continue;
        }
        let own = candidates.iter().zip(&results).filter(|((of, ..), _)| *of == index);
        let valued = own.filter_map(|(candidate, result)| Some((candidate, result.validation_value?)));
        // The first of equal ones: `max_by` would give the last.
        let best = valued.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let model = contestants.models[index].name.clone();
        let Some(((_, name, config, setting), value)) = best else {
            return Err(Failure::refused([format!(
                "--tune: {model} has no validation rows, by which a setting could be chosen"
            )]));
        };
        let setting = (*setting).clone();
        contestants.rename(index, name, config.clone());
        tuned.push(Tuned { model, setting, value, tried: combinations.len() });
    }
    Ok(tuned)
}
