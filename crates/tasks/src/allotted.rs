//! What a config says about how much of a run a task gets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[task.NAME] budget`: exactly one of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The share of the floating-point operations, above 0 to below 1, that the rows of the task's corpus take. Tasks that read
    /// the same corpus have one budget together: the sum of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: Option<f64>,
    /// Tokens of rows that carry its label, at most; then the task is trained no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens: Option<u64>,
    /// Steps that have such a row, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// Seconds of steps, shared out among the tasks of each by their operations, at most. Another machine does other work in
    /// them: with it a run cannot be repeated to the bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub seconds: Option<f64>,
}

impl Budget {
    /// Key, what was found and what was expected, where the budget makes no sense.
    pub(crate) fn fault(&self) -> Option<(String, String, &'static str)> {
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
        let most = if key == "share" { 1.0 } else { f64::INFINITY };
        let good = value > 0.0 && value < most;
        let expected = if key == "share" { "a number above 0 and below 1" } else { "a number above 0" };
        (!good).then(|| (format!("budget.{key}"), value.to_string(), expected))
    }
}

/// `[task.NAME] early_stopping`: when a task is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Evaluations in a row without a better main score.
    #[schemars(range(min = 1))]
    pub patience: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_has_one_key_in_its_range() {
        let fault = |json: &str| {
            let budget: Budget = serde_json::from_str(json).unwrap();
            budget.fault().map(|(key, found, expected)| format!("{key}: {found}, {expected}"))
        };
        assert_eq!(fault(r#"{"share": 0.25}"#), None);
        assert_eq!(fault(r#"{"tokens": 100}"#), None);
        let one = "exactly one of share, tokens, steps, seconds";
        assert_eq!(fault("{}"), Some(format!("budget: nothing, {one}")));
        assert_eq!(fault(r#"{"steps": 1, "seconds": 2}"#), Some(format!("budget: steps, seconds, {one}")));
        assert_eq!(fault(r#"{"share": 1.0}"#), Some("budget.share: 1, a number above 0 and below 1".into()));
        assert_eq!(fault(r#"{"steps": 0}"#), Some("budget.steps: 0, a number above 0".into()));
    }
}
