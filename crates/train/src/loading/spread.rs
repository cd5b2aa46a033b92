//! Where the schedule of learning rates is, in a run whose rest was planned again: because a task was done, or because the run was
//! given more steps or time than it was planned for.
//!
//! A run that is trained further has three cases, none of which lets the learning rate jump. A schedule that does not depend on the
//! length of the run goes on step by step. What is left of a schedule that is not at its end is spread over the steps that are left. A
//! schedule that has come to its end begins again over them (re-warming and re-decaying: Ibrahim et al. 2024, "Simple and Scalable
//! Strategies to Continually Pre-train Large Language Models", arXiv:2403.08763). It begins at the factor at which it ended: the
//! difference to the schedule's own first factor is added, and falls to zero over the warm-up, or a tenth of the steps where that is
//! longer.
//!
//! Where more steps are left than the schedule has, a step lies between two of the schedule; its factor is interpolated.

use crate::config::Settings;
use serde::{Deserialize, Serialize};

/// The rest of a schedule, over the steps that are left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spread {
    /// The step of the plan at which it begins.
    pub(crate) from: usize,
    /// The step of the schedule there; it may lie between two.
    pub(crate) position: f64,
    /// The steps of the schedule.
    pub(crate) length: usize,
    /// Whether each step of the run is one of the schedule, beyond its length too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) goes_on: bool,
    /// Whether the schedule has begun again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) restarted: bool,
    /// What is added to the factor at the schedule's first step, and falls to zero.
    #[serde(default)]
    pub(crate) gap: f64,
    /// The seconds that the run had used when it was lengthened, and the step of the schedule then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<(f64, f64)>,
}

/// The time of a run in seconds: what it has used, and what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Time {
    pub(crate) used: f64,
    pub(crate) limit: Option<f64>,
}

impl Time {
    /// Of a run that may use so many minutes.
    pub(crate) fn new(used: f64, max_minutes: Option<f64>) -> Time {
        Time { used, limit: max_minutes.map(|minutes| 60.0 * minutes) }
    }

    /// The fraction of the time since a moment that has been used; 0 where time is not bounded.
    fn fraction_since(self, moment: f64) -> f64 {
        let Some(limit) = self.limit else { return 0.0 };
        let left = limit - moment;
        if left > 0.0 { ((self.used - moment) / left).clamp(0.0, 1.0) } else { 1.0 }
    }
}

impl Spread {
    /// That of a run whose rest was never planned again.
    pub(crate) const NONE: Spread =
        Spread { from: 0, position: 0.0, length: 0, goes_on: false, restarted: false, gap: 0.0, clock: None };

    /// The position of a step of the plan in the schedule, in a run of `total` steps.
    pub(crate) fn position(&self, step: usize, total: usize) -> f64 {
        let done = step.saturating_sub(self.from) as f64;
        if self.goes_on {
            return self.position + done;
        }
        let left = total.saturating_sub(self.from).max(1) as f64;
        let ahead = (self.length as f64 - self.position).max(0.0);
        self.position + ahead * done / left
    }

    /// What is added to the factor at a position.
    fn correction(&self, position: f64, settings: &Settings) -> f64 {
        if self.gap == 0.0 {
            return 0.0;
        }
        let ramp = (settings.schedule.warmup_ratio().max(0.1) * self.length as f64).ceil().max(1.0);
        self.gap * (1.0 - position / ramp).max(0.0)
    }
}

/// The position in a schedule of `length` steps, by the steps (`by_steps`) or by the time where that is further.
pub(crate) fn position(spread: Option<&Spread>, by_steps: f64, length: usize, time: Time) -> f64 {
    if spread.is_some_and(|spread| spread.goes_on) {
        return by_steps;
    }
    let (moment, first) = spread.and_then(|spread| spread.clock).unwrap_or((0.0, 0.0));
    by_steps.max(first + time.fraction_since(moment) * (length as f64 - first).max(0.0))
}

/// The factor of all learning rates at a position, interpolated between two steps of the schedule.
pub(crate) fn factor(spread: Option<&Spread>, position: f64, length: usize, settings: &Settings) -> f64 {
    let step = position.floor();
    let at = |step: f64| settings.factor(step as usize, length);
    let factor = match position - step {
        0.0 => at(step),
        beyond => at(step) + beyond * (at(step + 1.0) - at(step)),
    };
    match spread.map_or(0.0, |spread| spread.correction(position, settings)) {
        0.0 => factor,
        correction => (factor + correction).clamp(0.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loading::step_plan::{Epoch, StepPlan};

    fn plan(total: usize) -> StepPlan {
        StepPlan::of_epochs(vec![Epoch { end: total, phase: 0, cut: false }])
    }

    fn longer(before: &StepPlan, done: usize, total: usize, settings: &Settings) -> StepPlan {
        let epochs = vec![Epoch { end: total, phase: 0, cut: false }];
        before.lengthened(done, epochs, settings, Time::default())
    }

    fn settings(schedule: serde_json::Value) -> Settings {
        Settings { schedule: serde_json::from_value(schedule).unwrap(), ..Settings::default() }
    }

    /// Whenever a run is lengthened, and lengthened again: the factor is where it was, and changes from step to step by no more than a
    /// warm-up of a tenth does.
    #[test]
    fn no_schedule_jumps() {
        for (name, _) in crate::schedule::CATALOGUE {
            for warmup in [0.0, 0.1, 0.5] {
                let settings = settings(serde_json::json!({ *name: { "warmup_ratio": warmup } }));
                let first = plan(200);
                for done in [1, 10, 60, 199, 200] {
                    let second = longer(&first, done, done + 300, &settings);
                    for again in [done, done + 5, done + 100, done + 300] {
                        let third = longer(&second, again, again + 250, &settings);
                        let at = |plan: &StepPlan, step| plan.factor(&settings, step, Time::default());
                        for (before, after, step) in [(&first, &second, done), (&second, &third, again)] {
                            let (was, is) = (at(before, step), at(after, step));
                            assert!((was - is).abs() < 1e-12, "{name} {warmup} {step}: {was}, {is}");
                        }
                        let factors: Vec<f64> = (again..=again + 250).map(|step| at(&third, step)).collect();
                        // Cosine restarts jump by themselves, at the beginning of each cycle.
                        let jump = factors.windows(2).map(|f| (f[1] - f[0]).abs()).fold(0.0, f64::max);
                        let most = if *name == "cosine_restarts" { 1.0 } else { 0.13 };
                        assert!(jump <= most, "{name} {warmup} {done} {again}: {jump}");
                        assert!(factors.iter().all(|factor| (0.0..=1.0).contains(factor)));
                    }
                }
            }
        }
    }

    #[test]
    fn each_schedule_takes_its_course() {
        let linear = settings(serde_json::json!({"linear": {}}));
        let at = |plan: &StepPlan, settings: &Settings, step| plan.factor(settings, step, Time::default());
        // At its end it begins again: the very schedule of a run of so many steps.
        let again = longer(&plan(100), 100, 180, &linear);
        for step in 0..80 {
            assert_eq!(at(&again, &linear, 100 + step), linear.factor(step, 80));
        }
        assert_eq!((again.progress(100), again.progress(150)), (1.0, 1.0));
        // Half of what is left falls over twice the steps.
        let rest = longer(&plan(100), 50, 150, &linear);
        assert_eq!(at(&rest, &linear, 100), linear.factor(75, 100));
        assert_eq!(at(&rest, &linear, 150), 0.0);
        let between = (linear.factor(50, 100) + linear.factor(51, 100)) / 2.0;
        assert!((at(&rest, &linear, 51) - between).abs() < 1e-12);
        // It goes on step by step, beyond the length that was planned.
        let root = settings(serde_json::json!({"inverse_square_root": {}}));
        let on = longer(&plan(100), 100, 400, &root);
        assert_eq!(at(&on, &root, 100), (10.0_f64 / 100.0).sqrt());
        assert_eq!(at(&on, &root, 360), (10.0_f64 / 360.0).sqrt());
        let constant = settings(serde_json::json!({"constant": {}}));
        let on = longer(&plan(100), 100, 400, &constant);
        assert!((100..400).all(|step| at(&on, &constant, step) == 1.0));
    }

    #[test]
    fn time_is_counted_from_where_the_run_was_lengthened() {
        let linear = settings(serde_json::json!({"linear": {"warmup_ratio": 0}}));
        let first = plan(1000);
        let half = Time { used: 30.0, limit: Some(60.0) };
        assert_eq!(first.factor(&linear, 5, half), 0.5);
        let epochs = vec![Epoch { end: 1000, phase: 0, cut: false }];
        let second = first.lengthened(5, epochs, &linear, half);
        let later = |used: f64| second.factor(&linear, 6, Time { used, limit: Some(130.0) });
        assert!((later(30.0) - 0.5).abs() < 2e-3 && (later(80.0) - 0.25).abs() < 2e-3, "{}", later(80.0));
        assert_eq!(later(130.0), 0.0);
    }
}
