//! Learning rates of heads that are balanced by the progress of their tasks, after the idea of GradNorm.
//!
//! Of every task with labels in a step, with the loss `l_i` and, where the balancer looks at gradients, the norm `g_i` of the task's
//! gradient over the shared parameters (before weights and clipping)
//!
//! ```text
//! L_i <- memory L_i + (1 - memory) l_i        from its first loss l_i0 on
//! G_i <- memory G_i + (1 - memory) g_i        from its first norm on
//! q_i  = L_i / l_i0                           what is left of the loss
//! r_i  = q_i / mean_j q_j                     the inverse training rate, above 1 for a task that has learnt less than the others
//! s_i  = r_i^alpha                            or r_i^alpha mean_j(G_j) / G_i where there are norms
//! ```
//!
//! and in the next step the learning rate of the task's head is multiplied by `s_i`, held between `least` and `most`: a head catches
//! up, or waits. The means are over the tasks seen so far; a task that was not has 1. A head of several tasks has the mean of their
//! factors. The trunk's rate stays as it is: how much each task counts there is up to the balancer. GradNorm itself learns loss weights that
//! bring the norms to `mean_j(G_j) r_i^alpha`; here that ratio is taken at once, and for learning rates. Adam and its relatives
//! normalize the size of gradients anyway, so that there the norms only say how tasks compare.
//!
//! Defaults: `alpha = 1.5`, `memory = 0.95`, `least = 0.1`, `most = 10`. Cost: none.
//! When to use: heads that learn at different speeds, none of which is to be tuned by hand; losses that begin and end alike high (a
//! language model's beside a classifier's) mislead it.
//! Paper: Chen et al., *GradNorm*, ICML 2018.

use crate::config::SettingError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `head_lr_balancing = { .. }` of `[train]`: the learning rate of each head is balanced by its task's progress. What is left of a task's loss, by
/// the mean of all tasks', to the power of `alpha` is the factor; where the balancer measures gradients, times their mean norm by the
/// task's (after Chen et al., GradNorm, 2018).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadLrBalancing {
    /// How strongly a task that is behind is sped up, and one that is ahead slowed down; 1.5 by default, 0 for the norms alone.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// How much of the running means of losses and norms stays from step to step; 0.95 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub memory: f64,
    /// The least factor of a head's learning rate; 0.1 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub least: f64,
    /// The greatest factor of a head's learning rate; 10 by default.
    #[schemars(range(min = 1.0))]
    pub most: f64,
}

impl Default for HeadLrBalancing {
    fn default() -> Self {
        HeadLrBalancing { alpha: 1.5, memory: 0.95, least: 0.1, most: 10.0 }
    }
}

impl HeadLrBalancing {
    /// The settings that are out of range.
    pub(crate) fn errors(&self) -> Vec<SettingError> {
        let checks = [
            (
                "alpha",
                self.alpha,
                self.alpha >= 0.0 && self.alpha.is_finite(),
                "a number from 0, such as 1.5",
            ),
            (
                "memory",
                self.memory,
                (0.0..1.0).contains(&self.memory),
                "a number from 0 to below 1, such as 0.95",
            ),
            ("least", self.least, (0.0..=1.0).contains(&self.least), "a factor from 0 to 1, such as 0.1"),
            ("most", self.most, self.most >= 1.0 && self.most.is_finite(), "a factor from 1, such as 10"),
        ];
        let wrong = checks.into_iter().filter(|(_, _, good, _)| !good);
        let error = |(key, found, _, expected)| {
            SettingError::new(&format!("train.head_lr_balancing.{key}"), found, expected)
        };
        wrong.map(error).collect()
    }
}

/// The progress of the losses, by task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LossProgress {
    tasks: BTreeMap<String, TaskProgress>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskProgress {
    /// The loss of the first step that had one.
    first: f64,
    /// The running mean of the losses.
    loss: f64,
    /// The running mean of the gradient's norm, where that is measured.
    norm: Option<f64>,
}

impl LossProgress {
    /// Updates the running means with the losses and norms of a step, of the tasks that had labels in it.
    pub(crate) fn update(
        &mut self,
        config: &HeadLrBalancing,
        losses: &BTreeMap<String, f64>,
        norms: Option<&BTreeMap<String, f64>>,
    ) {
        let mix = |old: f64, new: f64| config.memory * old + (1.0 - config.memory) * new;
        for (task, loss) in losses {
            let norm = norms.and_then(|norms| norms.get(task)).copied();
            let fresh = TaskProgress { first: *loss, loss: *loss, norm };
            let Some(old) = self.tasks.get(task) else {
                self.tasks.insert(task.clone(), fresh);
                continue;
            };
            let norm = match (old.norm, norm) {
                (Some(old), Some(new)) => Some(mix(old, new)),
                (old, new) => new.or(old),
            };
            let next = TaskProgress { first: old.first, loss: mix(old.loss, *loss), norm };
            self.tasks.insert(task.clone(), next);
        }
    }

    /// The factor of the learning rate of each task that was seen.
    pub(crate) fn factors(&self, config: &HeadLrBalancing) -> BTreeMap<String, f64> {
        let left = |progress: &TaskProgress| progress.loss / progress.first.max(f64::MIN_POSITIVE);
        let mean_left = mean(self.tasks.values().map(left));
        let mean_norm = mean(self.tasks.values().filter_map(|progress| progress.norm));
        let factor = |progress: &TaskProgress| {
            // Where no loss is left at all, none is ahead.
            let rate = if mean_left > 0.0 { (left(progress) / mean_left).max(0.0) } else { 1.0 };
            let norms = progress.norm.map_or(1.0, |norm| mean_norm / norm.max(f64::MIN_POSITIVE));
            let factor = rate.powf(config.alpha) * norms.min(f64::MAX);
            factor.clamp(config.least, config.most)
        };
        self.tasks.iter().map(|(task, progress)| (task.clone(), factor(progress))).collect()
    }
}

/// The mean; 0 of no values.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses and norms of a step, by task.
    type StepValues<'a> = (&'a [(&'a str, f64)], &'a [(&'a str, f64)]);

    fn table(values: &[(&str, f64)]) -> BTreeMap<String, f64> {
        values.iter().map(|(task, value)| ((*task).to_owned(), *value)).collect()
    }

    fn factors(config: &HeadLrBalancing, steps: &[StepValues<'_>]) -> Vec<f64> {
        let mut progress = LossProgress::default();
        for (losses, norms) in steps {
            let norms = (!norms.is_empty()).then(|| table(norms));
            progress.update(config, &table(losses), norms.as_ref());
        }
        progress.factors(config).into_values().collect()
    }

    #[test]
    fn a_task_that_is_behind_is_sped_up() {
        let config = HeadLrBalancing { alpha: 2.0, memory: 0.0, ..Default::default() };
        // A quarter and three quarters are left, half in the mean; the scale of a loss does not matter.
        let found =
            factors(&config, &[(&[("a", 4.0), ("b", 100.0)], &[]), (&[("a", 1.0), ("b", 75.0)], &[])]);
        assert_eq!(found, [0.25, 2.25]);
        assert_eq!(factors(&config, &[(&[("a", 4.0), ("b", 100.0)], &[])]), [1.0, 1.0]);
        let bounded = HeadLrBalancing { least: 0.5, most: 2.0, ..config };
        let found = factors(&bounded, &[(&[("a", 4.0), ("b", 1.0)], &[]), (&[("a", 1.0), ("b", 0.75)], &[])]);
        assert_eq!(found, [0.5, 2.0]);
    }

    #[test]
    fn means_run_from_the_first_and_absent_tasks_stand_still() {
        let config = HeadLrBalancing { alpha: 1.0, memory: 0.5, ..Default::default() };
        let steps: [StepValues<'_>; 3] =
            [(&[("a", 1.0), ("b", 2.0)], &[]), (&[("a", 0.5)], &[]), (&[("a", 0.25)], &[])];
        // What is left of a: ((1 + 0.5) / 2 + 0.25) / 2 = 0.5, of b all.
        assert_eq!(factors(&config, &steps), [0.5 / 0.75, 1.0 / 0.75]);
    }

    #[test]
    fn long_gradients_slow_down_where_they_are_measured() {
        let config = HeadLrBalancing { alpha: 0.0, memory: 0.5, ..Default::default() };
        let steps: [StepValues<'_>; 2] = [
            (&[("a", 1.0), ("b", 1.0)], &[("a", 1.0), ("b", 4.0)]),
            (&[("a", 1.0), ("b", 1.0)], &[("a", 3.0), ("b", 8.0)]),
        ];
        // Norms of 2 and 6 in the running mean.
        assert_eq!(factors(&config, &steps), [2.0, 4.0 / 6.0]);
    }

    #[test]
    fn losses_and_gradients_of_nothing_give_numbers() {
        let config = HeadLrBalancing { alpha: 1.5, memory: 0.0, ..Default::default() };
        let nothing: [StepValues<'_>; 2] = [
            (&[("a", 0.0), ("b", 0.0)], &[("a", 0.0), ("b", 0.0)]),
            (&[("a", 0.0), ("b", 0.0)], &[("a", 0.0), ("b", 0.0)]),
        ];
        assert!(factors(&config, &nothing).iter().all(|factor| (0.1..=10.0).contains(factor)));
        let one: [StepValues<'_>; 2] = [
            (&[("a", 1.0), ("b", 0.0)], &[("a", 0.0), ("b", 1e300)]),
            (&[("a", 0.0), ("b", 1e300)], &[("a", 0.0), ("b", 1e300)]),
        ];
        assert!(factors(&config, &one).iter().all(|factor| (0.1..=10.0).contains(factor)));
    }
}
