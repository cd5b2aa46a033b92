//! The mean that displays show of what differs from step to step.

/// How much less each older step weighs.
const DECAY: f64 = 0.95;

/// A mean over the latest steps, in which each step weighs less than the one after it. The weights sum to 1 from the first step on,
/// so that the first one does not count for more than others.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RunningMean {
    sum: f64,
    weight: f64,
}

impl RunningMean {
    /// Adds the next step.
    pub fn add(&mut self, value: f64) {
        self.sum = DECAY * self.sum + value;
        self.weight = DECAY * self.weight + 1.0;
    }

    /// The mean so far; 0 before the first step.
    pub fn value(&self) -> f64 {
        self.sum / self.weight.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of few steps is that of all of them; the first has no more weight than it would have later.
    #[test]
    fn a_running_mean_has_no_bias_of_its_start() {
        let mut mean = RunningMean::default();
        mean.add(10.0);
        assert_eq!(mean.value(), 10.0);
        mean.add(1.0);
        let expected = (10.0 * DECAY + 1.0) / (DECAY + 1.0);
        assert!((mean.value() - expected).abs() < 1e-12);
        (0..18).for_each(|_| mean.add(1.0));
        // Begun with the first value, it would be above 4 after twenty steps.
        assert!((1.0..1.4).contains(&mean.value()), "{}", mean.value());
        (0..1000).for_each(|_| mean.add(1.0));
        assert!((mean.value() - 1.0).abs() < 1e-9);
    }
}
