//! `--grid KEY=VALUE,...`: the models for all tasks that are compared.

use crate::config::Config;
use crate::failure::Failure;
use crate::study::settings::override_of;

/// Tables of which one member is chosen by its name.
const FAMILIES: [&str; 3] = ["balance", "sampling", "sharing"];

/// Other keys that say how tasks go together, and mean nothing to a model for one task.
const JOINT: [&str; 5] = [
    "phase",
    "train.gradient_scope",
    "train.batching",
    "train.head_lr_balancing",
    "model.dataset_embeddings",
];

/// Settings of a task among others.
const OF_TASK: [&str; 3] = ["importance", "budget", "head"];

/// A combination of values: its name, and its overrides as `--set` takes them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Combination {
    pub(super) name: String,
    pub(super) set: Vec<String>,
}

/// All combinations; one without a name where there is no grid.
///
/// # Errors
/// What is no `KEY=VALUE,...`; a key that a model for one task knows, too.
pub(super) fn combinations(grid: &[String], config: &Config) -> Result<Vec<Combination>, Failure> {
    let other = grid.iter().filter_map(|axis| axis.split_once('=')).map(|(key, _)| key.trim());
    if let Some(key) = other.into_iter().find(|key| !is_joint(key)) {
        return Err(Failure::refused([format!(
            "--grid {key}: this changes models for one task, too, so that the models for all would be tuned and the others not; \
             --tune {key}=... tunes all of them; a grid may have balance, sampling, sharing, {}, task.NAME.{}",
            JOINT.join(", "),
            OF_TASK.join(", task.NAME.")
        )]));
    }
    settings("--grid", grid, config)
}

/// All combinations of the values of any keys.
///
/// # Errors
/// What is no `KEY=VALUE,...`.
pub(super) fn settings(option: &str, axes: &[String], config: &Config) -> Result<Vec<Combination>, Failure> {
    let mut all = vec![Combination::default()];
    for axis in axes {
        let Some((key, values)) = axis.split_once('=').filter(|(_, values)| !values.trim().is_empty()) else {
            return Err(Failure::refused([format!(
                "{option} {axis}: expected KEY=VALUE,VALUE, for example balance=equal,uncertainty"
            )]));
        };
        let values = values_of(values);
        all = all
            .iter()
            .flat_map(|before| values.iter().map(|value| with(before, key.trim(), value, config)))
            .collect();
    }
    Ok(all)
}

fn is_joint(key: &str) -> bool {
    let of_family = FAMILIES.iter().any(|family| key == *family || key.starts_with(&format!("{family}.")));
    let of_task =
        key.starts_with("task.") && OF_TASK.iter().any(|setting| key.contains(&format!(".{setting}")));
    let listed = JOINT.iter().any(|joint| key == *joint || key.starts_with(&format!("{joint}.")));
    of_family || of_task || listed
}

fn with(before: &Combination, key: &str, value: &str, config: &Config) -> Combination {
    let mut combination = before.clone();
    combination.set.extend(override_of(key, value, config));
    let between = if combination.name.is_empty() { "" } else { ", " };
    combination.name += &format!("{between}{key}={value}");
    combination
}

/// Values between commas that stand in no brackets and no quotes.
fn values_of(text: &str) -> Vec<String> {
    let (mut values, mut depth, mut quote) = (vec![String::new()], 0usize, None);
    for sign in text.chars() {
        match (quote, sign) {
            (None, ',') if depth == 0 => {
                values.push(String::new());
                continue;
            }
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth = depth.saturating_sub(1),
            (None, '"' | '\'') => quote = Some(sign),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        if let Some(value) = values.last_mut() {
            value.push(sign);
        }
    }
    values.into_iter().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_split_outside_of_brackets() {
        assert_eq!(values_of("equal, upgrad"), ["equal", "upgrad"]);
        assert_eq!(
            values_of("{static={weights={a=1,b=2}}},equal"),
            ["{static={weights={a=1,b=2}}}", "equal"]
        );
        assert_eq!(values_of("\"a,b\",c"), ["\"a,b\"", "c"]);
    }

    #[test]
    fn a_grid_has_only_what_is_between_tasks() {
        for key in ["balance", "balance.cagrad.c", "sampling", "task.a.importance", "train.gradient_scope"] {
            assert!(is_joint(key), "{key}");
        }
        for key in ["train.epochs", "optimizer.adamw.learning_rate", "balancer", "task.a.metric"] {
            assert!(!is_joint(key), "{key}");
        }
    }
}
