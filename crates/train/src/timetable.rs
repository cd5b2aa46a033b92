//! How many steps a run has, and where its epochs end.

use crate::config::TrainConfig;

/// The steps of a run, known before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    /// Steps done at the end of each epoch that the run completes; strictly rising.
    ends: Vec<usize>,
    /// Steps of the whole run.
    total: usize,
}

impl Timetable {
    /// The timetable for epochs of so many packs each; only those that the run begins are asked for.
    pub fn new(config: &TrainConfig, packs: impl IntoIterator<Item = usize>) -> Self {
        let mut ends = Vec::new();
        let mut total = 0;
        for packs in packs.into_iter().take(config.epochs) {
            total += packs.div_ceil(config.accumulate.max(1));
            ends.push(total);
            if config.max_steps.is_some_and(|most| total >= most) {
                break;
            }
        }
        Timetable { total: config.max_steps.map_or(total, |most| most.min(total)), ends }
    }

    /// Steps of the whole run.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Steps of each epoch; the last may be cut short.
    pub fn epochs(&self) -> Vec<usize> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| (*end).min(self.total) - start).collect()
    }

    /// The epoch (from 0) of a step (from 0).
    pub fn epoch(&self, step: usize) -> usize {
        self.ends.partition_point(|end| *end <= step).min(self.ends.len().saturating_sub(1))
    }

    /// Whether an epoch, or the run, ends when `done` steps are done.
    pub fn ends_epoch(&self, done: usize) -> bool {
        done == self.total || self.ends.binary_search(&done).is_ok()
    }

    /// Whether an evaluation is due when `done` steps are done.
    pub fn evaluates(&self, config: &TrainConfig, done: usize) -> bool {
        match config.evaluate_every {
            Some(every) => done == self.total || done.is_multiple_of(every.max(1)),
            None => self.ends_epoch(done),
        }
    }

    /// Whether a checkpoint is due when `done` steps are done.
    pub fn saves(&self, config: &TrainConfig, done: usize) -> bool {
        self.ends_epoch(done)
            || config.checkpoint_every.is_some_and(|every| done.is_multiple_of(every.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(epochs: usize, accumulate: usize, max_steps: Option<usize>) -> TrainConfig {
        TrainConfig { epochs, accumulate, max_steps, ..Default::default() }
    }

    #[test]
    fn a_step_never_crosses_an_epoch() {
        let table = Timetable::new(&config(3, 2, None), [5, 4, 1]);
        assert_eq!((table.total(), table.epochs()), (6, vec![3, 2, 1]));
        assert_eq!((0..6).map(|s| table.epoch(s)).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 2]);
        assert_eq!((1..=6).filter(|d| table.ends_epoch(*d)).collect::<Vec<_>>(), [3, 5, 6]);
    }

    #[test]
    fn max_steps_cuts_the_last_epoch() {
        let table = Timetable::new(&config(3, 1, Some(7)), [5, 5, 5]);
        assert_eq!((table.total(), table.epochs()), (7, vec![5, 2]));
        assert!(table.ends_epoch(7) && table.ends_epoch(5) && !table.ends_epoch(6));
    }

    #[test]
    fn evaluations_and_checkpoints_fall_due() {
        let table = Timetable::new(&config(1, 1, None), [10]);
        let every = TrainConfig { evaluate_every: Some(4), checkpoint_every: Some(5), ..config(1, 1, None) };
        assert_eq!((1..=10).filter(|d| table.evaluates(&every, *d)).collect::<Vec<_>>(), [4, 8, 10]);
        assert_eq!((1..=10).filter(|d| table.saves(&every, *d)).collect::<Vec<_>>(), [5, 10]);
        assert_eq!((1..=10).filter(|d| table.evaluates(&config(1, 1, None), *d)).collect::<Vec<_>>(), [10]);
    }
}
