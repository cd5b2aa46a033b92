//! Settings for the computation that a task gets, and for when it stops.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[task.NAME] budget`: exactly one of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The share of the floating-point operations, above 0 and below 1, that the rows of the task's corpus take. Tasks on the same
    /// corpus have one common budget: the sum of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: Option<f64>,
    /// The maximum number of tokens of rows with its label. The training of the task stops there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens: Option<u64>,
    /// The maximum number of steps with such a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// The maximum time of steps in seconds; the time of a step is divided among its tasks by their operations. A run with such a
    /// budget depends on the speed of the machine and cannot be repeated to the bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub seconds: Option<f64>,
}

impl Budget {
    /// The key, the value found and what is allowed, if the budget is not valid.
    pub(crate) fn error(&self) -> Option<(String, String, &'static str)> {
        let given = [
            self.share.map(|share| ("share", share)),
            self.tokens.map(|tokens| ("tokens", tokens as f64)),
            self.steps.map(|steps| ("steps", steps as f64)),
            self.seconds.map(|seconds| ("seconds", seconds)),
        ];
        let given: Vec<(&str, f64)> = given.into_iter().flatten().collect();
        let [(key, value)] = given[..] else {
            let found = given.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ");
            let found = if found.is_empty() { "nothing".into() } else { found };
            return Some(("budget".into(), found, "exactly one of share, tokens, steps, seconds"));
        };
        let max = if key == "share" { 1.0 } else { f64::INFINITY };
        let valid = value > 0.0 && value < max;
        let expected = if key == "share" { "a number above 0 and below 1" } else { "a number above 0" };
        (!valid).then(|| (format!("budget.{key}"), value.to_string(), expected))
    }
}

/// `[task.NAME] early_stopping`: when the training of a task stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStoppingConfig {
    /// The number of consecutive evaluations without a better primary score.
    #[schemars(range(min = 1))]
    pub patience: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_has_one_key_in_its_range() {
        let error = |json: &str| {
            let budget: Budget = serde_json::from_str(json).unwrap();
            budget.error().map(|(key, found, expected)| format!("{key}: {found}, {expected}"))
        };
        assert_eq!(error(r#"{"share": 0.25}"#), None);
        assert_eq!(error(r#"{"tokens": 100}"#), None);
        let one = "exactly one of share, tokens, steps, seconds";
        assert_eq!(error("{}"), Some(format!("budget: nothing, {one}")));
        assert_eq!(error(r#"{"steps": 1, "seconds": 2}"#), Some(format!("budget: steps, seconds, {one}")));
        assert_eq!(error(r#"{"share": 1.0}"#), Some("budget.share: 1, a number above 0 and below 1".into()));
        assert_eq!(error(r#"{"steps": 0}"#), Some("budget.steps: 0, a number above 0".into()));
    }
}
