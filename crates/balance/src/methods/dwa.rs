//! Dynamic weight average: tasks whose losses decrease slowly get a higher weight.
//!
//! Formula: `w = K softmax(r / temperature)`, where `r_i = L_i(e-1) / L_i(e-2)` is the ratio of task i's mean losses in
//! the last two epochs. Weights are constant within an epoch, whichever tasks have labels in a step, and sum to K over
//! all tasks.
//!
//! Defaults: `temperature = 2`, the paper's and LibMTL's. All weights are 1 until the end of the second epoch. A task
//! that was absent in one of the two epochs, or whose mean loss was not above 0, has ratio 1.
//!
//! Importance multiplies the weight.
//!
//! Cost: none. State: three mean losses per task.
//!
//! When to use: runs of several epochs with tasks that learn at different speeds. At this temperature the weights stay
//! close to `equal`, and results usually do, too.
//!
//! Paper: Liu, Johns and Davison, "End-to-end multi-task learning with attention", CVPR 2019 (arXiv:1803.10704).

use crate::method_impl::{ActiveTasks, MethodImpl, State};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest ratio; larger ones are clamped.
const LARGEST_RATIO: f64 = 1e6;

/// Weights by the rate of change of the losses between epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dwa {
    /// Temperature of the softmax: the higher, the closer to equal weights.
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub temperature: f64,
}

impl Default for Dwa {
    fn default() -> Self {
        Dwa { temperature: 2.0 }
    }
}

/// The state of [`Dwa`] for one task.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Epochs {
    /// The mean loss of this epoch so far, and the number of its steps.
    mean: f64,
    steps: u64,
    /// The mean losses of the last epoch and the one before.
    last: Option<f64>,
    before: Option<f64>,
}

impl Epochs {
    fn ratio(&self) -> f64 {
        match (self.last, self.before) {
            (Some(last), Some(before)) if last > 0.0 && before > 0.0 => (last / before).min(LARGEST_RATIO),
            _ => 1.0,
        }
    }
}

impl State for Vec<Epochs> {
    fn initial(tasks: usize) -> Self {
        vec![Epochs::default(); tasks]
    }

    fn is_valid(&self, tasks: usize) -> bool {
        let is_finite =
            |of: &Epochs| [Some(of.mean), of.last, of.before].iter().flatten().all(|mean| mean.is_finite());
        self.len() == tasks && self.iter().all(is_finite)
    }
}

impl MethodImpl for Dwa {
    const NAME: &'static str = "dwa";
    type State = Vec<Epochs>;

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("temperature", self.temperature, 0.01, 1000.0)
    }

    fn weights(&self, epochs: &mut Vec<Epochs>, active: &ActiveTasks<'_>) -> Vec<f64> {
        for (&task, loss) in active.indices.iter().zip(&active.losses) {
            let epoch = &mut epochs[task];
            epoch.steps = epoch.steps.saturating_add(1);
            let share = 1.0 / epoch.steps as f64;
            epoch.mean += loss * share - epoch.mean * share;
        }
        let ratios: Vec<f64> =
            active.order.iter().map(|&task| epochs[task].ratio() / self.temperature).collect();
        let shares = softmax(&ratios);
        let share = |task: &usize| active.order.iter().position(|of| of == task).map_or(0.0, |at| shares[at]);
        active.indices.iter().map(|task| epochs.len() as f64 * share(task)).collect()
    }

    fn epoch_end(&self, epochs: &mut Vec<Epochs>) {
        for epoch in epochs {
            let mean = (epoch.steps > 0).then_some(epoch.mean);
            *epoch = Epochs { last: mean, before: epoch.last, ..Epochs::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{balancer, close};

    /// Ratios 1 and 4, the second of means over two steps.
    #[test]
    fn golden_values() {
        let mut dwa = balancer(&Dwa::default(), 2);
        for epoch in [[[2.0, 0.5], [2.0, 1.5]], [[1.0, 5.0], [3.0, 3.0]]] {
            for losses in epoch {
                assert_eq!(dwa.weights_from_losses(&losses.map(Some)), [1.0, 1.0]);
            }
            dwa.epoch_end();
        }
        let weights = dwa.weights_from_losses(&[Some(3.0), Some(5.0)]);
        close(&weights, &[0.364851, 1.635149]);
        assert!((3.0 * weights[0] + 5.0 * weights[1] - 9.270297904774576).abs() < 1e-12);
        // Alone in a step, a task keeps its weight.
        assert_eq!(dwa.weights_from_losses(&[None, Some(5.0)]), [0.0, weights[1]]);
    }

    #[test]
    fn a_task_that_was_not_seen_has_ratio_one() {
        let mut dwa = balancer(&Dwa::default(), 2);
        for losses in [[Some(2.0), None], [Some(2.0), Some(4.0)]] {
            dwa.weights_from_losses(&losses);
            dwa.epoch_end();
        }
        assert_eq!(dwa.weights_from_losses(&[Some(3.0), Some(5.0)]), [1.0, 1.0]);
    }
}
