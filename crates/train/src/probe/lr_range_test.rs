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
    config::validate,
    config::{SettingError, Settings},
    error::TrainError,
    gradients::buffers::Buffers,
    job::Job,
    loading::loader::DataLoader,
    optimizer::OptimizerState,
    run::step::{self, LookaheadBatch, StepContext, StepPosition},
};
use balance::Needs;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// The coefficient of the running mean of losses.
const SMOOTHING: f64 = 0.9;
/// Training has diverged when the loss is so many times its smallest value.
const DIVERGENCE_RATIO: f64 = 4.0;
/// Steps on either side of the one whose slope is taken.
const HALF_WINDOW: usize = 3;

/// The rates that are tried.
#[derive(Debug, Clone, PartialEq)]
pub struct LrRange {
    /// How many steps, such as 100.
    pub steps: usize,
    /// The learning rate of the first.
    pub from: f64,
    /// The learning rate of the last.
    pub to: f64,
}

impl LrRange {
    fn errors(&self) -> Vec<SettingError> {
        let mut errors = Vec::new();
        if !(20..=100_000).contains(&self.steps) {
            errors.push(SettingError::new("steps", self.steps, "20 to 100000, such as 100"));
        }
        if !(self.from > 0.0 && self.from.is_finite()) {
            errors.push(SettingError::new("from", self.from, "a learning rate above 0, such as 1e-7"));
        }
        if !(self.to > self.from && self.to.is_finite()) {
            errors.push(SettingError::new("to", self.to, "a learning rate above the first, such as 1"));
        }
        errors
    }

    fn rate(&self, step: usize) -> f64 {
        let progress = step as f64 / (self.steps - 1) as f64;
        (self.from.ln() + progress * (self.to.ln() - self.from.ln())).exp()
    }
}

/// A learning rate and the losses that were found with it.
#[derive(Debug, Clone, PartialEq)]
pub struct LrTrial {
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
pub struct LrRangeTest {
    /// Every step, in order.
    pub trials: Vec<LrTrial>,
    /// Where the loss fell most steeply; `None` where it never fell.
    pub steepest: Option<f64>,
    /// Where training diverged; `None` where it did not.
    pub diverged: Option<f64>,
}

impl LrRangeTest {
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
pub fn lr_range_test(job: &mut Job, settings: &Settings, range: &LrRange) -> Result<LrRangeTest, TrainError> {
    let errors = range.errors();
    if !errors.is_empty() {
        return Err(TrainError::Settings(errors));
    }
    validate::check(job, settings)?;
    let before = job.model.parameters.clone();
    let found = try_rates(job, settings, range);
    job.model.parameters = before;
    let (trials, diverged) = found?;
    Ok(LrRangeTest { steepest: steepest(&trials, range.steps / 10), trials, diverged })
}

/// The steps up to the end or to where training diverged, and the rate there.
fn try_rates(
    job: &mut Job,
    settings: &Settings,
    range: &LrRange,
) -> Result<(Vec<LrTrial>, Option<f64>), TrainError> {
    let mut loader = DataLoader::new(job, settings)?;
    let mut balancer = validate::balancer(job, settings)?;
    let looks_ahead = balancer.needs() == Needs::Lookahead;
    let validation = looks_ahead.then(|| LookaheadBatch::of(job, settings.train.tokens_per_batch)).flatten();
    let named = job.model.tasks.iter().map(|task| (task.name.clone(), task.training.head_learning_rate));
    let rates = settings.rates(named);
    let mut optimizer_state = OptimizerState::new(job.model.parameters.len());
    let mut buffers = Buffers::default();
    let importance =
        job.model.tasks.iter().map(|task| (task.name.clone(), task.training.importance)).collect();
    let mut losses = Smoothed { importance, of: BTreeMap::new() };
    let (mut trials, mut smallest) = (Vec::new(), f64::INFINITY);
    for index in 0..range.steps {
        let rate = range.rate(index);
        let packs = loader.packs(job, settings.train.gradient_accumulation_steps, index);
        if packs.is_empty() {
            return Err(TrainError::NothingToTrain);
        }
        let context = StepContext {
            settings,
            balancer: balancer.as_mut(),
            buffers: &mut buffers,
            validation: validation.as_ref(),
            optimizer_state: &mut optimizer_state,
            rates: &rates,
            factor: rate / rates.trunk,
            pruning: None,
            memory_limit: None,
            stop: &AtomicBool::new(false),
        };
        let below = packs.iter().map(|_| None).collect();
        let position = StepPosition { index, progress: 0.0, chunk_tokens: None };
        let Ok(metrics) = step::step(&mut job.model, &job.views, &packs, below, position, context) else {
            return Ok((trials, Some(rate)));
        };
        losses.update(&metrics.losses);
        let (smoothed, mean) = losses.values();
        trials.push(LrTrial { rate, losses: metrics.losses, smoothed, mean });
        smallest = smallest.min(mean);
        if mean > DIVERGENCE_RATIO * smallest {
            return Ok((trials, Some(rate)));
        }
    }
    Ok((trials, None))
}

/// Running means of losses.
struct Smoothed {
    importance: BTreeMap<String, f64>,
    /// By task: the mean from 0 on, and how much of it is not that 0.
    of: BTreeMap<String, (f64, f64)>,
}

impl Smoothed {
    fn update(&mut self, losses: &BTreeMap<String, f64>) {
        for (task, loss) in losses {
            let (sum, weight) = self.of.entry(task.clone()).or_default();
            (*sum, *weight) =
                (SMOOTHING * *sum + (1.0 - SMOOTHING) * loss, SMOOTHING * *weight + (1.0 - SMOOTHING));
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
fn steepest(trials: &[LrTrial], skip: usize) -> Option<f64> {
    let slope = |at: usize| {
        let window = -(HALF_WINDOW as i64)..=HALF_WINDOW as i64;
        let moment = |by: i64| by as f64 * trials[(at as i64 + by) as usize].mean;
        window.map(moment).sum::<f64>()
    };
    let inner = skip.max(HALF_WINDOW)..trials.len().saturating_sub(HALF_WINDOW);
    let slopes = inner.map(|at| (slope(at), at));
    let (slope, at) = slopes.min_by(|a, b| a.0.total_cmp(&b.0))?;
    (slope < 0.0).then(|| trials[at].rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(loss: impl Fn(f64) -> f64) -> Vec<LrTrial> {
        let range = LrRange { steps: 71, from: 1e-7, to: 1.0 };
        let trial = |step| {
            let rate = range.rate(step);
            LrTrial { rate, losses: BTreeMap::new(), smoothed: BTreeMap::new(), mean: loss(rate.log10()) }
        };
        (0..range.steps).map(trial).collect()
    }

    #[test]
    fn rates_grow_by_the_same_factor() {
        let rates: Vec<f64> = curve(|_| 0.0).iter().map(|trial| trial.rate).collect();
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
        smoothed.update(&[("a".to_owned(), 2.0)].into());
        assert!((smoothed.values().1 - 2.0).abs() < 1e-12);
        smoothed.update(&[("b".to_owned(), 6.0)].into());
        smoothed.update(&[("a".to_owned(), 4.0)].into());
        let (each, mean) = smoothed.values();
        let expected = (0.9 * 0.1 * 2.0 + 0.1 * 4.0) / 0.19;
        assert!((each["a"] - expected).abs() < 1e-12 && (each["b"] - 6.0).abs() < 1e-12);
        assert!((mean - (3.0 * expected + 6.0) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn the_more_careful_rate_is_proposed() {
        let test = |steepest, diverged| LrRangeTest { trials: vec![], steepest, diverged }.proposed();
        assert_eq!(test(Some(1e-3), Some(0.5)), Some(1e-3));
        assert_eq!(test(Some(0.1), Some(0.5)), Some(0.05));
        assert_eq!((test(None, Some(0.5)), test(None, None)), (Some(0.05), None));
    }
}
