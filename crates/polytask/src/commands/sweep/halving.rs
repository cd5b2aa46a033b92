//! Successive halving: all trainings go to the first rung, the best of each rung to the next. A sweep without it has one rung.

use super::Candidate;
use crate::failure::Failure;
use crate::study::{Runner, StudyDir, SweepConfig, SweepMethod, Trial, TrialResult};
use crate::terminal::figures::counted;
use crate::terminal::output;

/// The rungs of a sweep.
pub(super) struct Rungs {
    /// Epochs at which trainings are held against each other, ascending; the last is the whole length.
    epochs: Vec<usize>,
    /// Of so many one goes on.
    factor: usize,
}

impl Rungs {
    /// Rungs of `min_epochs`, and so many times as many each, up to the `epochs` of the config.
    ///
    /// # Errors
    /// A first rung that is longer than the training.
    pub(super) fn of(sweep: &SweepConfig, epochs: usize) -> Result<Rungs, Failure> {
        let factor = sweep.reduction_factor;
        if sweep.method != SweepMethod::SuccessiveHalving {
            return Ok(Rungs { epochs: vec![epochs], factor });
        }
        if sweep.min_epochs == 0 || sweep.min_epochs >= epochs || factor < 2 {
            return Err(Failure::refused([format!(
                "sweep.min_epochs = {}: successive halving needs a first rung of 1 epoch or more, shorter than train.epochs = {epochs}, and a \
                 sweep.reduction_factor of 2 or more",
                sweep.min_epochs
            )]));
        }
        let lengths = std::iter::successors(Some(sweep.min_epochs), |length| length.checked_mul(factor));
        let mut rungs: Vec<usize> = lengths.take_while(|length| *length < epochs).collect();
        rungs.push(epochs);
        Ok(Rungs { epochs: rungs, factor })
    }

    /// How many trainings come to each rung.
    fn sizes(&self, trials: usize) -> Vec<usize> {
        let sizes = std::iter::successors(Some(trials), |size| Some((size / self.factor).max(1)));
        sizes.take(self.epochs.len()).collect()
    }

    /// How many whole trainings it is worth.
    pub(super) fn share(&self, trials: usize) -> f64 {
        let whole = self.epochs.last().copied().unwrap_or(1) as f64;
        let before = std::iter::once(0).chain(self.epochs.iter().copied());
        let lengths = self.epochs.iter().zip(before).map(|(epochs, before)| (epochs - before) as f64 / whole);
        lengths.zip(self.sizes(trials)).map(|(length, size)| length * size as f64).sum()
    }

    /// What is added to the number of trainings.
    pub(super) fn describe(&self, trials: usize) -> String {
        if self.epochs.len() == 1 {
            return String::new();
        }
        let rungs = self.epochs.iter().zip(self.sizes(trials));
        let rungs: Vec<String> = rungs.map(|(epochs, size)| format!("{size} to epoch {epochs}")).collect();
        format!(" ({})", rungs.join(", "))
    }

    /// Trains; the result of each training with the epochs that it came to, in the order of the candidates.
    pub(super) fn run(
        &self,
        runner: &Runner,
        dir: &StudyDir,
        candidates: &[Candidate],
        resume: &str,
        value: &dyn Fn(&TrialResult) -> Option<f64>,
    ) -> Result<Vec<(usize, usize, TrialResult)>, Failure> {
        let mut left: Vec<usize> = (0..candidates.len()).collect();
        let mut found: Vec<Option<(usize, TrialResult)>> = vec![None; candidates.len()];
        let mut before = 0;
        for (rung, epochs) in self.epochs.iter().enumerate() {
            let is_last = rung + 1 == self.epochs.len();
            let trials: Vec<Trial> = left.iter().map(|index| candidates[*index].trial.clone()).collect();
            if self.epochs.len() > 1 && !runner.quiet {
                let heading = counted(trials.len(), "training");
                output::line(format_args!(
                    "  rung {} of {}: {heading} to epoch {epochs}",
                    rung + 1,
                    self.epochs.len()
                ));
            }
            let work = vec![(epochs - before) as f64; trials.len()];
            let pause = (!is_last).then_some(*epochs);
            let results = runner.run_until(dir, &trials, &work, resume, pause)?;
            for (index, result) in left.iter().zip(results) {
                found[*index] = Some((*epochs, result));
            }
            before = *epochs;
            let keep = (left.len() / self.factor).max(1);
            left = best(&left, &found, keep, value);
        }
        let results = found.into_iter().enumerate();
        Ok(results
            .filter_map(|(index, found)| found.map(|(epochs, result)| (index, epochs, result)))
            .collect())
    }
}

/// The `keep` trainings with the best values, in the order of the candidates; of equal ones the first.
fn best(
    left: &[usize],
    found: &[Option<(usize, TrialResult)>],
    keep: usize,
    value: &dyn Fn(&TrialResult) -> Option<f64>,
) -> Vec<usize> {
    let key = |index: &usize| {
        let result = found[*index].as_ref().and_then(|(_, result)| value(result));
        result.unwrap_or(f64::NEG_INFINITY)
    };
    let mut ranked = left.to_vec();
    ranked.sort_by(|a, b| key(b).total_cmp(&key(a)));
    ranked.truncate(keep);
    ranked.sort_unstable();
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halving(min_epochs: usize) -> SweepConfig {
        SweepConfig { method: SweepMethod::SuccessiveHalving, min_epochs, ..SweepConfig::default() }
    }

    #[test]
    fn rungs_grow_and_trainings_get_fewer() {
        let rungs = Rungs::of(&halving(1), 10).unwrap();
        assert_eq!((rungs.epochs.clone(), rungs.sizes(16)), (vec![1, 3, 9, 10], vec![16, 5, 1, 1]));
        // 16 to epoch 1, 5 two more, 1 six more, 1 the last.
        assert!((rungs.share(16) - (16.0 + 10.0 + 6.0 + 1.0) / 10.0).abs() < 1e-12);
        assert!(Rungs::of(&halving(10), 10).is_err());
        let random = Rungs::of(&SweepConfig::default(), 10).unwrap();
        assert_eq!((random.epochs.len(), random.share(7)), (1, 7.0));
    }
}
