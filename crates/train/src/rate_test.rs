//! The learning-rate range test: how losses move while the learning rate grows from next to nothing until they diverge.
//!
//! Step `k` (from 0) of `N` is made with the trunk's learning rate `from (to / from)^(k / (N - 1))`, without a schedule; the rates of
//! the heads keep their ratio to it. Beside it stand the losses of the step, which were computed before it. Each task's loss is
//! smoothed (`S <- 0.9 S + 0.1 l`, corrected for its start as in Adam), and what counts is the mean over the tasks, weighted by
//! importance. The test ends when that is above four times its least value, or a loss or gradient is no finite number: there training
//! has diverged.
//!
//! Two rates are proposed: the one where the smoothed loss falls most steeply by the logarithm of the rate (least squares over seven
//! steps; the first tenth of the steps, of which the mean knows little, is left out), and a tenth of the one that diverged.
//! Paper: Smith, *Cyclical Learning Rates for Training Neural Networks*, WACV 2017; the proposals are those in use since fastai.

use crate::{
    buffers::Buffers,
    config::{Fault, Settings},
    error::TrainError,
    feed::Feed,
    job::Job,
    optimizer::Moments,
    setup,
    step::{self, At, Movers, Validation},
};
use balance::Needs;
use std::collections::BTreeMap;

/// How much of a running mean stays.
const MEMORY: f64 = 0.9;
/// Training has diverged when the loss is so many times its least value.
const DIVERGED: f64 = 4.0;
/// Steps on either side of the one whose slope is taken.
const AROUND: usize = 3;

/// The rates that are tried.
#[derive(Debug, Clone, PartialEq)]
pub struct RateRange {
    /// How many steps; 100 is usual.
    pub steps: usize,
    /// The learning rate of the first.
    pub from: f64,
    /// The learning rate of the last.
    pub to: f64,
}

impl RateRange {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !(20..=100_000).contains(&self.steps) {
            faults.push(Fault::new("steps", self.steps, "20 to 100000, such as 100"));
        }
        if !(self.from > 0.0 && self.from.is_finite()) {
            faults.push(Fault::new("from", self.from, "a learning rate above 0, such as 1e-7"));
        }
        if !(self.to > self.from && self.to.is_finite()) {
            faults.push(Fault::new("to", self.to, "a learning rate above the first, such as 1"));
        }
        faults
    }

    fn rate(&self, step: usize) -> f64 {
        let share = step as f64 / (self.steps - 1) as f64;
        (self.from.ln() + share * (self.to.ln() - self.from.ln())).exp()
    }
}

/// A learning rate and the losses that were found with it.
#[derive(Debug, Clone, PartialEq)]
pub struct TriedRate {
    /// The trunk's.
    pub rate: f64,
    /// The losses of the step, by task.
    pub losses: BTreeMap<String, f64>,
    /// The smoothed losses of the tasks seen so far.
    pub smoothed: BTreeMap<String, f64>,
    /// Their mean, weighted by importance.
    pub mean: f64,
}

/// What a test found.
#[derive(Debug, Clone, PartialEq)]
pub struct RateTest {
    /// Every step, in order.
    pub tried: Vec<TriedRate>,
    /// Where the loss fell most steeply; `None` where it never fell.
    pub steepest: Option<f64>,
    /// Where training diverged; `None` where it did not.
    pub diverged: Option<f64>,
}

impl RateTest {
    /// The lower of the rate of steepest descent and a tenth of the one that diverged.
    pub fn proposed(&self) -> Option<f64> {
        let tenth = self.diverged.map(|rate| rate / 10.0);
        [self.steepest, tenth].into_iter().flatten().reduce(f64::min)
    }
}

/// Tries learning rates on a job. Its weights are afterwards what they were, and nothing is written.
///
/// # Errors
/// A range or settings out of range, or a job that cannot be trained.
pub fn test_rates(job: &mut Job, settings: &Settings, range: &RateRange) -> Result<RateTest, TrainError> {
    let faults = range.faults();
    if !faults.is_empty() {
        return Err(TrainError::Settings(faults));
    }
    setup::check(job, settings)?;
    let before = job.model.parameters.clone();
    let tried = try_rates(job, settings, range);
    job.model.parameters = before;
    let (tried, diverged) = tried?;
    Ok(RateTest { steepest: steepest(&tried, range.steps / 10), tried, diverged })
}

/// The steps up to the end or to where training diverged, and the rate there.
fn try_rates(
    job: &mut Job,
    settings: &Settings,
    range: &RateRange,
) -> Result<(Vec<TriedRate>, Option<f64>), TrainError> {
    let mut feed = Feed::new(job, settings)?;
    let mut balancer = setup::balancer(job, settings)?;
    let looks_ahead = balancer.needs() == Needs::Lookahead;
    let validation = looks_ahead.then(|| Validation::of(job, settings.train.tokens_per_step)).flatten();
    let named = job.model.tasks.iter().map(|task| (task.name.clone(), task.config.learning_rate));
    let rates = settings.optimizer.rates(named);
    let (mut moments, mut buffers) = (Moments::new(job.model.parameters.len()), Buffers::default());
    let importance = job.model.tasks.iter().map(|task| (task.name.clone(), task.config.importance)).collect();
    let mut losses = Smoothed { importance, of: BTreeMap::new() };
    let (mut tried, mut least) = (Vec::new(), f64::INFINITY);
    for index in 0..range.steps {
        let rate = range.rate(index);
        let packs = feed.packs(job, settings.train.accumulate, index);
        if packs.is_empty() {
            return Err(TrainError::NothingToTrain);
        }
        let movers = Movers {
            settings,
            balancer: balancer.as_mut(),
            buffers: &mut buffers,
            validation: validation.as_ref(),
            moments: &mut moments,
            rates: &rates,
            factor: rate / rates.trunk,
            room: None,
        };
        let below = packs.iter().map(|_| None).collect();
        let at = At { index, progress: 0.0, part: None };
        let Ok(measured) = step::step(&mut job.model, &job.views, &packs, below, at, movers) else {
            return Ok((tried, Some(rate)));
        };
        losses.take_in(&measured.losses);
        let (smoothed, mean) = losses.values();
        tried.push(TriedRate { rate, losses: measured.losses, smoothed, mean });
        least = least.min(mean);
        if mean > DIVERGED * least {
            return Ok((tried, Some(rate)));
        }
    }
    Ok((tried, None))
}

/// Running means of losses.
struct Smoothed {
    importance: BTreeMap<String, f64>,
    /// By task: the mean from 0 on, and how much of it is not that 0.
    of: BTreeMap<String, (f64, f64)>,
}

impl Smoothed {
    fn take_in(&mut self, losses: &BTreeMap<String, f64>) {
        for (task, loss) in losses {
            let (sum, weight) = self.of.entry(task.clone()).or_default();
            (*sum, *weight) = (MEMORY * *sum + (1.0 - MEMORY) * loss, MEMORY * *weight + (1.0 - MEMORY));
        }
    }

    /// By task, and their mean.
    fn values(&self) -> (BTreeMap<String, f64>, f64) {
        let each: BTreeMap<String, f64> =
            self.of.iter().map(|(task, (sum, weight))| (task.clone(), sum / weight)).collect();
        let importance = |task: &String| self.importance.get(task).copied().unwrap_or(1.0);
        let total: f64 = each.keys().map(importance).sum();
        let sum: f64 = each.iter().map(|(task, loss)| importance(task) * loss).sum();
        (each, if total > 0.0 { sum / total } else { 0.0 })
    }
}

/// The rate around which the mean falls most steeply, the first `skip` left out.
fn steepest(tried: &[TriedRate], skip: usize) -> Option<f64> {
    let slope = |at: usize| {
        let around = -(AROUND as i64)..=AROUND as i64;
        let moment = |by: i64| by as f64 * tried[(at as i64 + by) as usize].mean;
        around.map(moment).sum::<f64>()
    };
    let inner = skip.max(AROUND)..tried.len().saturating_sub(AROUND);
    let slopes = inner.map(|at| (slope(at), at));
    let (slope, at) = slopes.min_by(|a, b| a.0.total_cmp(&b.0))?;
    (slope < 0.0).then(|| tried[at].rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(loss: impl Fn(f64) -> f64) -> Vec<TriedRate> {
        let range = RateRange { steps: 71, from: 1e-7, to: 1.0 };
        let tried = |step| {
            let rate = range.rate(step);
            TriedRate { rate, losses: BTreeMap::new(), smoothed: BTreeMap::new(), mean: loss(rate.log10()) }
        };
        (0..range.steps).map(tried).collect()
    }

    #[test]
    fn rates_grow_by_the_same_factor() {
        let rates: Vec<f64> = curve(|_| 0.0).iter().map(|tried| tried.rate).collect();
        assert!((rates[0] - 1e-7).abs() < 1e-15 && (rates[70] - 1.0).abs() < 1e-12);
        assert!(rates.windows(2).all(|two| (two[1] / two[0] - 10f64.powf(0.1)).abs() < 1e-9));
    }

    #[test]
    fn the_steepest_descent_is_found_and_no_ascent_is_one() {
        // A slope of the form of a hyperbolic tangent is steepest at its middle.
        let found = steepest(&curve(|x| -((x + 3.0) * 2.0).tanh()), 7).unwrap();
        assert!((found.log10() + 3.0).abs() < 1e-9, "{found}");
        assert_eq!(steepest(&curve(|x| x), 7), None);
        assert_eq!(steepest(&curve(|x| -x)[..5], 7), None);
        // What falls within the first tenth is noise.
        let early = steepest(&curve(|x| -((x + 6.8) * 50.0).tanh() + 0.01 * x), 9);
        assert_eq!(early, None);
    }

    #[test]
    fn means_are_of_tasks_seen_by_importance() {
        let importance = [("a".to_owned(), 3.0), ("b".to_owned(), 1.0)].into();
        let mut smoothed = Smoothed { importance, of: BTreeMap::new() };
        smoothed.take_in(&[("a".to_owned(), 2.0)].into());
        assert!((smoothed.values().1 - 2.0).abs() < 1e-12);
        smoothed.take_in(&[("b".to_owned(), 6.0)].into());
        smoothed.take_in(&[("a".to_owned(), 4.0)].into());
        let (each, mean) = smoothed.values();
        let expected = (0.9 * 0.1 * 2.0 + 0.1 * 4.0) / 0.19;
        assert!((each["a"] - expected).abs() < 1e-12 && (each["b"] - 6.0).abs() < 1e-12);
        assert!((mean - (3.0 * expected + 6.0) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn the_more_careful_rate_is_proposed() {
        let test = |steepest, diverged| RateTest { tried: vec![], steepest, diverged }.proposed();
        assert_eq!(test(Some(1e-3), Some(0.5)), Some(1e-3));
        assert_eq!(test(Some(0.1), Some(0.5)), Some(0.05));
        assert_eq!((test(None, Some(0.5)), test(None, None)), (Some(0.05), None));
    }
}
