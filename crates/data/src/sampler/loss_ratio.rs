//! Draws a corpus more often, the less its training loss has decreased.
//!
//! With l_i(t) the exponential moving average (decay `smoothing`) of the losses of corpus i and l_i(0) the mean of its
//! first ten:
//!
//! ```text
//! r_i = l_i(t) / l_i(0)    and    p_i ~ r_i^alpha
//! ```
//! A corpus that has not been drawn yet gets the mean of the others.
//!
//! Options: `alpha` (default 1, from -10 to 10; 0 draws all corpora equally, a negative value draws more of what learns
//! fast), `smoothing` (default 0.9, from 0 to below 1). Errors: an option out of range. Cost: none.
//!
//! Use it for GradNorm's idea of equal training rates, with sampling in place of loss weights. The loss of a task with
//! noisy labels does not decrease, so its share keeps growing: `validation` with a target, or a budget, bounds it.
//!
//! Paper: the rates r_i are those of Chen et al., GradNorm, ICML 2018, eq. 2 (there of losses at single steps, and for
//! weights).
//!
//! Example: losses that decreased to 0.2 and to 0.6 of their first values give shares 0.25 and 0.75.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adaptive::{Adaptive, SamplerFeedback, SamplerState, by_weight, mean_of};
use super::{Epoch, check_range};
use crate::DataError;

/// The largest exponent. Ratios are bounded, so powers up to this one stay finite; far larger ones would overflow.
const MAX_ALPHA: f64 = 10.0;

/// `[sampling.loss_ratio]`: by the ratio of the current loss to the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossRatio {
    /// Exponent of the ratio, from -10 to 10; larger values react more strongly, 0 not at all. 1 by default.
    #[schemars(range(min = -10.0, max = 10.0))]
    pub alpha: f64,
    /// Decay of the moving average: the fraction of the old average that each value keeps; 0.9 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub smoothing: f64,
}

impl Default for LossRatio {
    fn default() -> Self {
        Self { alpha: 1.0, smoothing: 0.9 }
    }
}

/// The ratio of the current loss to the first; `None` for a loss that is not above 0 (negative log-densities).
fn ratio(state: &SamplerState) -> Option<f64> {
    let (value, first) = (state.value?, state.first?);
    (value > 0.0 && first > 0.0).then(|| value / first)
}

impl Adaptive for LossRatio {
    fn check(&self) -> Result<(), DataError> {
        let bounded = (-MAX_ALPHA..=MAX_ALPHA).contains(&self.alpha);
        check_range("loss_ratio.alpha", self.alpha, bounded, "a number from -10 to 10")?;
        let smooth = (0.0..1.0).contains(&self.smoothing);
        check_range("loss_ratio.smoothing", self.smoothing, smooth, "a number from 0 to below 1")
    }

    fn observe(&self, states: &mut [SamplerState], feedback: &SamplerFeedback, _: &[f64]) {
        for (state, loss) in states.iter_mut().zip(&feedback.loss) {
            loss.iter().for_each(|loss| state.update(*loss, self.smoothing));
        }
    }

    fn shares(&self, epoch: &Epoch<'_>, states: &[SamplerState]) -> Vec<f64> {
        let mean = mean_of(epoch, states, ratio, 1.0);
        // Bounded, so that no corpus is dropped altogether or takes all draws.
        let weight = |c: usize| (ratio(&states[c]).unwrap_or(mean) / mean).clamp(1e-3, 1e3).powf(self.alpha);
        by_weight(epoch, weight)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{near, only};
    use super::*;

    #[test]
    fn the_smaller_decrease_is_drawn_more() {
        let sampler = LossRatio { smoothing: 0.0, ..LossRatio::default() };
        let mut states = vec![SamplerState::default(); 3];
        let mut tell = |a: f64, b: f64| {
            let loss = vec![Some(a), Some(b), None];
            let feedback = SamplerFeedback { loss, ..SamplerFeedback::default() };
            sampler.observe(&mut states, &feedback, &[]);
            states.clone()
        };
        (0..10).for_each(|_| drop(tell(2.0, 5.0)));
        let states = tell(0.4, 3.0);
        near(&sampler.shares(&only(&[9, 1]), &states[..2]), &[0.25, 0.75]);
        near(&sampler.shares(&only(&[9, 1, 4]), &states), &[0.2 / 1.2, 0.6 / 1.2, 0.4 / 1.2]);
        let other = LossRatio { alpha: -1.0, smoothing: 0.0 };
        near(&other.shares(&only(&[9, 1]), &states[..2]), &[0.75, 0.25]);
    }

    /// Beyond the range a power of the ratios overflows, and the shares would be NaN.
    #[test]
    fn alpha_is_bounded() {
        let with = |alpha| LossRatio { alpha, ..LossRatio::default() };
        for alpha in [-10.0, 10.0] {
            with(alpha).check().unwrap();
            let states = [1e-9, 1e9].map(|value| SamplerState {
                value: Some(value),
                first: Some(1.0),
                ..SamplerState::default()
            });
            let shares = with(alpha).shares(&only(&[9, 1]), &states);
            assert!(shares.iter().all(|share| share.is_finite() && *share > 0.0), "{shares:?}");
        }
        for alpha in [-10.1, 200.0, f64::NAN] {
            let error = with(alpha).check().unwrap_err().to_string();
            assert!(error.starts_with("sampling.loss_ratio.alpha: found "), "{error}");
        }
    }
}
