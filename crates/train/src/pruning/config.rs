//! `[pruning]`: what stays of a network that is pruned while it is trained, and when.

use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[pruning]`: feed-forward columns and attention heads are cut out of the network little by little while it is trained, by scores that come
/// from the gradients of the steps. The result is a smaller dense model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PruningConfig {
    /// The share of the feed-forward columns that stays at the end, as many in every layer; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ffn: Option<f64>,
    /// The share of the attention heads that stays at the end, as many in every layer, with their keys and values; all by default. Of
    /// decoders.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub heads: Option<f64>,
    /// What decides which stay; `"movement"` by default.
    pub score: PruningScore,
    /// The share of the training where it begins; 0.1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub begin: f64,
    /// The share of the training where the final share is reached; 0.7 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub end: f64,
    /// Steps between cuts; 20 by default.
    #[schemars(range(min = 1))]
    pub every: usize,
}

/// What decides which structures stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PruningScore {
    /// What training moves away from zero: the sum over steps of minus weight times gradient (Sanh et al. 2020).
    #[default]
    Movement,
    /// What the loss depends on: the moving mean over steps of the size of weight times gradient (Molchanov et al. 2019).
    Taylor,
}

impl Default for PruningConfig {
    fn default() -> Self {
        PruningConfig {
            ffn: None,
            heads: None,
            score: PruningScore::default(),
            begin: 0.1,
            end: 0.7,
            every: 20,
        }
    }
}

impl PruningConfig {
    /// The settings that are out of range.
    pub(crate) fn errors(&self) -> Vec<SettingError> {
        let mut errors = Vec::new();
        if self.ffn.is_none() && self.heads.is_none() {
            let expected = "`ffn`, `heads` or both: the share that stays, such as `ffn = 0.5`";
            errors.push(SettingError::new("pruning", "nothing to prune", expected));
        }
        for (key, share) in [("pruning.ffn", self.ffn), ("pruning.heads", self.heads)] {
            if let Some(found) = share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
                errors.push(SettingError::new(
                    key,
                    found,
                    "the share that stays: a number above 0, at most 1",
                ));
            }
        }
        if !(0.0..1.0).contains(&self.begin) {
            errors.push(SettingError::new(
                "pruning.begin",
                self.begin,
                "a share of the training from 0, below 1",
            ));
        }
        if !(self.end > self.begin && self.end <= 1.0) {
            let expected = format!("a share of the training above `begin` = {}, at most 1", self.begin);
            errors.push(SettingError::new("pruning.end", self.end, &expected));
        }
        if self.every == 0 {
            errors.push(SettingError::new("pruning.every", 0, "at least 1"));
        }
        errors
    }

    /// The share that stays when so much of the training lies behind, of which `last` stays at the end: with `t` the part of the way from
    /// `begin` to `end`, `last + (1 - last) (1 - t)^3` (Zhu and Gupta 2017, "To prune, or not to prune", equation 1, of which this is
    /// what is not pruned).
    pub(crate) fn share(&self, last: f64, progress: f64) -> f64 {
        let way = ((progress - self.begin) / (self.end - self.begin)).clamp(0.0, 1.0);
        last + (1.0 - last) * (1.0 - way).powi(3)
    }

    /// Whether a cut is due after so many steps, when so much of the training lies behind.
    pub(crate) fn is_due(&self, step: usize, progress: f64) -> bool {
        progress >= self.end || (progress > self.begin && step.is_multiple_of(self.every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_cubic() {
        let config = PruningConfig { begin: 0.2, end: 0.6, every: 5, ..PruningConfig::default() };
        // By hand: a quarter of the way leaves (3/4)^3 = 27/64 of what goes, half of it 1/8, three quarters 1/64.
        let by_hand = [
            (0.0, 1.0),
            (0.2, 1.0),
            (0.3, 0.5 + 0.5 * 27.0 / 64.0),
            (0.4, 0.5625),
            (0.5, 0.5 + 0.5 / 64.0),
            (0.6, 0.5),
            (1.0, 0.5),
        ];
        for (progress, expected) in by_hand {
            let found = config.share(0.5, progress);
            assert!((found - expected).abs() < 1e-12, "{progress}: {found} {expected}");
        }
        assert!(!config.is_due(5, 0.2) && config.is_due(5, 0.21) && !config.is_due(6, 0.21));
        assert!(config.is_due(6, 0.6));
    }
}
