//! `polytask train --resume RUN --set train.epochs=N`: a run that is trained further.

use crate::cli::Overrides;
use crate::config::{self, Config};
use crate::failure::Failure;
use train::{LENGTH_KEYS, RunDir, TrainConfig};

/// The config of a run with the greater length that the command line gives it.
///
/// # Errors
/// Another key than those of its length, or a lesser length.
pub fn longer_config(run: &RunDir, overrides: &Overrides) -> Result<Config, Failure> {
    if overrides.set.is_empty() {
        return super::config_of_run(run);
    }
    let key = |set: &String| set.split('=').next().unwrap_or_default().trim().to_owned();
    let others: Vec<String> = overrides.set.iter().map(key).filter(|key| !is_length(key)).collect();
    if !others.is_empty() {
        return Err(Failure::refused([format!(
            "--set {} beside --resume: a run keeps its settings; only its length can be raised, by {}",
            others.join(", "),
            LENGTH_KEYS.join(", ")
        )]));
    }
    let after = super::config_of_run_with(run, overrides)?;
    // Its warnings are said already.
    let (before, _) = config::load(&run.config(), &[], &[]).map_err(Failure::failed)?;
    let shorter: Vec<String> = LENGTH_KEYS
        .into_iter()
        .zip(lengths(&before.train).into_iter().zip(lengths(&after.train)))
        .filter_map(|(key, (before, after))| refused(key, before, after))
        .collect();
    if shorter.is_empty() { Ok(after) } else { Err(Failure::refused(shorter)) }
}

/// How to train a finished run further, as an option of the command line: its limit, doubled.
pub fn suggestion(train: &TrainConfig) -> String {
    let limits = LENGTH_KEYS.into_iter().zip(lengths(train)).rev();
    let given = limits.filter_map(|(key, limit)| Some((key, limit?))).next();
    let (key, limit) = given.unwrap_or((LENGTH_KEYS[0], train.epochs as f64));
    format!("--set {key}={}", 2.0 * limit)
}

fn is_length(key: &str) -> bool {
    LENGTH_KEYS.contains(&key)
}

/// The values of [`LENGTH_KEYS`].
fn lengths(train: &TrainConfig) -> [Option<f64>; 4] {
    let number = |limit: Option<usize>| limit.map(|limit| limit as f64);
    [Some(train.epochs as f64), number(train.max_steps), number(train.max_tokens), train.max_minutes]
}

/// Why a run cannot have this length, if it cannot.
fn refused(key: &str, before: Option<f64>, after: Option<f64>) -> Option<String> {
    match (before, after) {
        (Some(before), Some(after)) if after < before => Some(format!(
            "--set {key}={after} beside --resume: the run has {key} = {before}, and can become longer, not shorter"
        )),
        (None, Some(after)) => Some(format!(
            "--set {key}={after} beside --resume: the run has no {key}, and a limit does not make it longer"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_greater_length_passes() {
        assert_eq!(refused("train.epochs", Some(3.0), Some(3.0)), None);
        assert_eq!(refused("train.epochs", Some(3.0), Some(4.0)), None);
        let shorter = refused("train.max_steps", Some(3.0), Some(2.0)).unwrap();
        assert!(shorter.contains("can become longer, not shorter"), "{shorter}");
        let limit = refused("train.max_tokens", None, Some(9.0)).unwrap();
        assert!(limit.contains("the run has no train.max_tokens"), "{limit}");
    }

    #[test]
    fn the_limit_that_a_run_has_is_proposed() {
        let train = TrainConfig { epochs: 4, ..TrainConfig::default() };
        assert_eq!(suggestion(&train), "--set train.epochs=8");
        let train = TrainConfig { max_steps: Some(50), ..train };
        assert_eq!(suggestion(&train), "--set train.max_steps=100");
        let train = TrainConfig { max_minutes: Some(0.5), ..train };
        assert_eq!(suggestion(&train), "--set train.max_minutes=1");
    }
}
