//! Dynamic weight average: tasks whose losses have stopped falling count more.
//!
//! Formula: `w = K softmax(r / temperature)`, `r_i = L_i(e-1) / L_i(e-2)` the ratio of task i's mean losses over the last two
//! epochs. Weights stay the same within an epoch, whichever tasks are in a step, and sum to K over all tasks.
//!
//! Defaults: `temperature = 2`, the paper's and LibMTL's. All weights are 1 until a second epoch is over; a task that was not
//! seen in one of two epochs, or whose mean was not above 0, has ratio 1.
//!
//! Importance multiplies the weight.
//!
//! Cost: nothing. State: three mean losses a task.
//!
//! When to use: some epochs, and tasks that learn at different speeds. Noise in the means moves the weights little at this
//! temperature: it is close to `equal`, and usually does about as well.
//!
//! Paper: Liu, Johns and Davison, "End-to-end multi-task learning with attention", CVPR 2019 (arXiv:1803.10704).

use crate::rule::{Memory, Present, Rule};
use crate::softmax::softmax;
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ratios are cut to it.
const LARGEST_RATIO: f64 = 1e6;

/// Weights by how fast the losses fell from one epoch to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dwa {
    /// How even the weights are: the higher, the closer to equal.
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub temperature: f64,
}

impl Default for Dwa {
    fn default() -> Self {
        Dwa { temperature: 2.0 }
    }
}

/// What [`Dwa`] keeps of a task.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Epochs {
    /// The mean loss of this epoch so far, of how many steps.
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

impl Memory for Vec<Epochs> {
    fn of_start(tasks: usize) -> Self {
        vec![Epochs::default(); tasks]
    }

    fn is_sound(&self, tasks: usize) -> bool {
        let is_finite =
            |of: &Epochs| [Some(of.mean), of.last, of.before].iter().flatten().all(|mean| mean.is_finite());
        self.len() == tasks && self.iter().all(is_finite)
    }
}

impl Rule for Dwa {
    const NAME: &'static str = "dwa";
    type Memory = Vec<Epochs>;

    fn needs(&self) -> Needs {
        Needs::Losses
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("temperature", self.temperature, 0.01, 1000.0)
    }

    fn weigh(&self, epochs: &mut Vec<Epochs>, present: &Present<'_>) -> Vec<f64> {
        for (&task, loss) in present.at.iter().zip(&present.losses) {
            let epoch = &mut epochs[task];
            epoch.steps = epoch.steps.saturating_add(1);
            let share = 1.0 / epoch.steps as f64;
            epoch.mean += loss * share - epoch.mean * share;
        }
        let ratios: Vec<f64> =
            present.order.iter().map(|&task| epochs[task].ratio() / self.temperature).collect();
        let shares = softmax(&ratios);
        let share =
            |task: &usize| present.order.iter().position(|of| of == task).map_or(0.0, |at| shares[at]);
        present.at.iter().map(|task| epochs.len() as f64 * share(task)).collect()
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
    use crate::golden::{balancer, close};

    /// Ratios 1 and 4, the second of means over two steps.
    #[test]
    fn golden_values() {
        let mut dwa = balancer(&Dwa::default(), 2);
        for epoch in [[[2.0, 0.5], [2.0, 1.5]], [[1.0, 5.0], [3.0, 3.0]]] {
            for losses in epoch {
                assert_eq!(dwa.weights(&losses.map(Some)), [1.0, 1.0]);
            }
            dwa.epoch_end();
        }
        let weights = dwa.weights(&[Some(3.0), Some(5.0)]);
        close(&weights, &[0.364851, 1.635149]);
        assert!((3.0 * weights[0] + 5.0 * weights[1] - 9.270297904774576).abs() < 1e-12);
        // Alone in a step, a task keeps its weight.
        assert_eq!(dwa.weights(&[None, Some(5.0)]), [0.0, weights[1]]);
    }

    #[test]
    fn a_task_that_was_not_seen_has_ratio_one() {
        let mut dwa = balancer(&Dwa::default(), 2);
        for losses in [[Some(2.0), None], [Some(2.0), Some(4.0)]] {
            dwa.weights(&losses);
            dwa.epoch_end();
        }
        assert_eq!(dwa.weights(&[Some(3.0), Some(5.0)]), [1.0, 1.0]);
    }
}
