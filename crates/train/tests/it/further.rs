//! A run that is trained further than it was planned: from its last checkpoint, without a jump of the learning rate, to the same bits
//! however it is interrupted.

use crate::job::{bag, bert, bits, job, record, settings};
use polytask_train::{
    Event, Outcome, RunDir, ScheduleCourse, Settings, Start, TrainError, checkpoints, lengthened,
};
use serde_json::{Value, json};
use std::path::Path;

type Ran = (Result<Outcome, TrainError>, Vec<Event>, Vec<(String, Vec<u32>)>);

fn go(backbone: &Value, settings: &Settings, dir: &Path, start: Start, stop: Option<usize>) -> Ran {
    let mut job = job(backbone.clone(), 17);
    let (outcome, events) = record(&mut job, settings, dir, start, stop);
    (outcome, events, bits(&job.model))
}

fn steps(events: &[Event]) -> Vec<(usize, f64, u64)> {
    let step = |event: &Event| match event {
        Event::Step(s) => Some((s.step, s.learning_rate, s.gradient_norm.to_bits())),
        _ => None,
    };
    events.iter().filter_map(step).collect()
}

fn said(events: &[Event]) -> Option<(usize, usize, usize, ScheduleCourse)> {
    events.iter().find_map(|event| match event {
        Event::Lengthened(e) => Some((e.step, e.before, e.steps, e.course)),
        _ => None,
    })
}

fn of(length: Value, rest: Value) -> Settings {
    let mut train = json!({"tokens_per_batch": 64, "seed": 11});
    train.as_object_mut().unwrap().extend(length.as_object().unwrap().clone());
    let mut all = json!({ "train": train });
    all.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    settings(all)
}

/// A finished run (`first`), then a longer one (`second`), the latter in one part and in several: the same bits, every step once.
fn same_bits(backbone: Value, first: &Settings, second: &Settings, stop_first: Option<usize>) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    go(&backbone, first, dir.path(), Start::Fresh, stop_first).0.unwrap();
    let begin = *checkpoints(&RunDir::new(dir.path())).unwrap().last().unwrap();
    let (outcome, whole, weights) = go(&backbone, second, dir.path(), Start::Resume, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    let last = steps(&whole).last().unwrap().0;
    let numbers: Vec<usize> = steps(&whole).iter().map(|(step, ..)| *step).collect();
    assert_eq!(numbers, (begin + 1..=last).collect::<Vec<_>>());
    // Ended without a checkpoint of the longer run: it is planned again, alike.
    let dir_of_lost = tempfile::tempdir().unwrap();
    go(&backbone, first, dir_of_lost.path(), Start::Fresh, stop_first).0.unwrap();
    go(&backbone, second, dir_of_lost.path(), Start::Resume, Some(begin + 1)).0.unwrap();
    std::fs::remove_dir_all(RunDir::new(dir_of_lost.path()).checkpoint(begin + 1)).unwrap();
    let (outcome, again, found) = go(&backbone, second, dir_of_lost.path(), Start::Resume, None);
    outcome.unwrap();
    assert_eq!(steps(&again), steps(&whole));
    // An evaluation that was still due saves a checkpoint at the step where the longer run begins.
    assert!(said(&again).is_none() || said(&again) == said(&whole));
    assert!(found == weights, "the result's weights differ");
    for stops in [vec![begin + 1], vec![begin + 2, (begin + last) / 2, last - 1]] {
        let dir = tempfile::tempdir().unwrap();
        go(&backbone, first, dir.path(), Start::Fresh, stop_first).0.unwrap();
        let mut parts = Vec::new();
        for stop in stops.into_iter().map(Some).chain([None]) {
            let (outcome, part, found) = go(&backbone, second, dir.path(), Start::Resume, stop);
            outcome.unwrap();
            assert_eq!(said(&part), if parts.is_empty() { said(&whole) } else { None });
            parts.extend(part);
            assert!(stop.is_some() || found == weights, "the result's weights differ");
        }
        assert_eq!(steps(&parts), steps(&whole));
        let text = std::fs::read_to_string(RunDir::new(dir.path()).metrics()).unwrap();
        let written: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let numbers: Vec<usize> = steps(&written).iter().map(|(step, ..)| *step).collect();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "every step once");
        let count = |is: fn(&Event) -> bool| written.iter().filter(|event| is(event)).count();
        assert_eq!(count(|e| matches!(e, Event::Lengthened(_))), 1);
        assert_eq!(count(|e| matches!(e, Event::Finished(_))), 1);
    }
    whole
}

#[test]
fn more_epochs_are_the_same_to_the_bit_for_every_interruption() {
    for (schedule, course) in [
        (json!({"linear": {}}), ScheduleCourse::Restarted),
        (json!({"cosine": {"warmup_ratio": 0}}), ScheduleCourse::Restarted),
        (json!({"constant": {}}), ScheduleCourse::GoesOn),
    ] {
        let rest = json!({"schedule": schedule, "balance": {"uncertainty": {}}});
        let (first, second) = (of(json!({"epochs": 2}), rest.clone()), of(json!({"epochs": 4}), rest));
        let events = same_bits(bert(), &first, &second, None);
        let (step, before, total, found) = said(&events).unwrap();
        assert_eq!((step, found), (before, course), "{schedule}");
        // Twice as many epochs, each of as many draws.
        assert!(total.abs_diff(2 * before) <= before / 10, "{total} of {before}");
    }
}

/// A number of steps cuts an epoch in two: what is left of it is drawn, and no row twice.
#[test]
fn more_steps_go_on_within_the_epoch() {
    let rest = json!({"optimizer": {"sgd": {"learning_rate": 0.05}}});
    let first = of(json!({"epochs": 9, "max_steps": 5}), rest.clone());
    let second = of(json!({"epochs": 9, "max_steps": 12}), rest);
    let events = same_bits(bag(), &first, &second, None);
    assert_eq!(said(&events), Some((5, 5, 12, ScheduleCourse::Restarted)));
    // The rows are those of a run that was planned with twelve steps from the beginning.
    let dir = tempfile::tempdir().unwrap();
    let (_, whole, _) = go(&bag(), &second, dir.path(), Start::Fresh, None);
    let rows = |events: &[Event]| -> Vec<(usize, usize, usize, usize)> {
        let step = |event: &Event| match event {
            Event::Step(s) if s.step > 5 => Some((s.step, s.epoch, s.rows, s.tokens)),
            _ => None,
        };
        events.iter().filter_map(step).collect()
    };
    assert_eq!(rows(&events), rows(&whole));
}

#[test]
fn an_interrupted_run_spreads_the_rest_of_its_schedule() {
    for stop in [3, 8] {
        let first = of(json!({"epochs": 3}), json!({}));
        let second = of(json!({"epochs": 5}), json!({}));
        let events = same_bits(bag(), &first, &second, Some(stop));
        let (step, before, total, course) = said(&events).unwrap();
        assert_eq!((step, course), (stop, ScheduleCourse::Spread));
        assert!(total > before, "{total} {before}");
        assert!(steps(&events).last().unwrap().1 < 5e-4, "it ends where the schedule ends");
    }
}

/// Twice longer, in the warm-up of the first extension too.
#[test]
fn a_longer_run_becomes_longer_again() {
    let length = |epochs: usize| of(json!({"epochs": epochs}), json!({"schedule": {"cosine": {}}}));
    let dir = tempfile::tempdir().unwrap();
    let mut events = go(&bag(), &length(1), dir.path(), Start::Fresh, None).1;
    events.extend(go(&bag(), &length(3), dir.path(), Start::Resume, Some(11)).1);
    events.extend(go(&bag(), &length(5), dir.path(), Start::Resume, None).1);
    let rates: Vec<f64> = steps(&events).iter().map(|(_, rate, _)| rate / 5e-3).collect();
    assert!(
        rates.windows(2).all(|pair| pair[1] - pair[0] <= 1.0 + 1e-9 && pair[0] - pair[1] < 0.5),
        "{rates:?}"
    );
    assert!(rates.last().unwrap() < &0.1, "{rates:?}");
}

#[test]
fn a_length_that_is_not_greater_is_refused_and_nothing_changes() {
    let first = of(json!({"epochs": 3, "max_steps": 6}), json!({}));
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    go(&bag(), &first, dir.path(), Start::Fresh, None).0.unwrap();
    let metrics = std::fs::read(run.metrics()).unwrap();
    let refused = |length: Value, rest: Value| {
        let settings = of(length, rest);
        let before = lengthened(&job(bag(), 17), &settings, &run).unwrap_err().to_string();
        let error = go(&bag(), &settings, dir.path(), Start::Resume, None).0.unwrap_err().to_string();
        assert_eq!(before, error);
        assert_eq!(std::fs::read(run.metrics()).unwrap(), metrics);
        error
    };
    let error = refused(json!({"epochs": 3, "max_steps": 4}), json!({}));
    assert!(
        error.contains("train.max_steps: 6 in the checkpoint, 4 now: a run can become longer"),
        "{error}"
    );
    let error = refused(json!({"epochs": 2, "max_steps": 9}), json!({}));
    assert!(error.contains("train.epochs: 3 in the checkpoint, 2 now"), "{error}");
    // More epochs of a run that ends by its steps.
    let error = refused(json!({"epochs": 30, "max_steps": 6}), json!({}));
    assert!(error.contains("cannot be trained further") && error.contains("train.max_steps = 6"), "{error}");
    let error = refused(json!({"epochs": 30, "max_steps": 6}), json!({"schedule": {"constant": {}}}));
    assert!(error.contains("schedule"), "nothing else may change: {error}");
}

#[test]
fn a_sampler_that_goes_by_epochs_is_not_given_more_of_them() {
    let length = |epochs: usize| of(json!({"epochs": epochs}), json!({"sampling": {"annealed": {}}}));
    let dir = tempfile::tempdir().unwrap();
    go(&bag(), &length(2), dir.path(), Start::Fresh, None).0.unwrap();
    let error = go(&bag(), &length(4), dir.path(), Start::Resume, None).0.unwrap_err().to_string();
    assert!(error.contains("[sampling.annealed] draws by the number of epochs"), "{error}");
    assert!(checkpoints(&RunDir::new(dir.path())).unwrap().len() == 2, "none is set aside");
}

/// The best evaluation so far stays the best until there is a better one, and patience goes on.
#[test]
fn evaluations_and_early_stopping_go_on() {
    let length = |epochs: usize, patience: usize| {
        of(json!({"epochs": epochs, "early_stopping": {"patience": patience}}), json!({}))
    };
    let dir = tempfile::tempdir().unwrap();
    let (_, first, _) = go(&bag(), &length(3, 50), dir.path(), Start::Fresh, None);
    let (outcome, second, _) = go(&bag(), &length(6, 50), dir.path(), Start::Resume, None);
    let Outcome::Finished { step, .. } = outcome.unwrap() else { panic!() };
    let values: Vec<(usize, f64, bool)> = first
        .iter()
        .chain(&second)
        .filter_map(|e| if let Event::Evaluated(e) = e { Some((e.step, e.value, e.best)) } else { None })
        .collect();
    assert_eq!(values.len(), 6);
    let mut best = (0, f64::NEG_INFINITY);
    for (step, value, is_best) in values {
        assert_eq!(is_best, value > best.1);
        best = if is_best { (step, value) } else { best };
    }
    assert_eq!(step, best.0, "the result is the best of all");
    let dir = tempfile::tempdir().unwrap();
    let still = json!({"adamw": {"learning_rate": 1e-12}});
    let stopped = |epochs: usize| {
        let length = json!({"epochs": epochs, "early_stopping": {"patience": 1}});
        of(length, json!({"optimizer": still}))
    };
    let small = || {
        let mut small = job(bag(), 17);
        small.model.tasks.iter_mut().for_each(|task| task.training.head_learning_rate = None);
        small
    };
    record(&mut small(), &stopped(5), dir.path(), Start::Fresh, None).0.unwrap();
    let error = record(&mut small(), &stopped(9), dir.path(), Start::Resume, None).0.unwrap_err();
    assert!(error.to_string().contains("it was stopped early, after 1 evaluations"), "{error}");
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let settings = of(json!({"epochs": 2}), json!({}));
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    go(&bag(), &settings, dir.path(), Start::Fresh, None).0.unwrap();
    let metrics = std::fs::read(run.metrics()).unwrap();
    let (outcome, events, _) = go(&bag(), &settings, dir.path(), Start::Resume, None);
    assert!(matches!(outcome.unwrap(), Outcome::AlreadyFinished { .. }) && events.is_empty());
    assert_eq!(std::fs::read(run.metrics()).unwrap(), metrics);
    // A result that is gone is written again.
    std::fs::remove_dir_all(run.model()).unwrap();
    let (outcome, ..) = go(&bag(), &settings, dir.path(), Start::Resume, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    assert!(run.model().join("polytask.json").is_file());
}

/// More minutes: the schedule that had gone to its end by the time does not jump back.
#[test]
fn more_minutes_begin_where_the_rate_is() {
    let minutes = |minutes: f64| of(json!({"epochs": 50, "max_minutes": minutes}), json!({}));
    let dir = tempfile::tempdir().unwrap();
    let (_, first, _) = go(&bag(), &minutes(0.003), dir.path(), Start::Fresh, None);
    let (outcome, second, _) = go(&bag(), &minutes(0.02), dir.path(), Start::Resume, None);
    outcome.unwrap();
    assert_eq!(said(&second).unwrap().3, ScheduleCourse::Restarted);
    let (before, after) = (steps(&first).last().unwrap().1, steps(&second)[0].1);
    assert!(before < 2e-3 && after < 1e-3, "{before} {after}");
    let highest = steps(&second).iter().map(|(_, rate, _)| *rate).fold(0.0, f64::max);
    assert!(highest > 3e-3, "it rises again: {highest}");
}

/// The last phase has more epochs; those before it are over, and one that is just over has no step more.
#[test]
fn a_run_in_phases_is_longer_in_the_phases_that_are_left() {
    let rest = json!({"phases": [{"steps": 4}, {"tasks": ["polarity"]}]});
    let (first, second) = (of(json!({"epochs": 1}), rest.clone()), of(json!({"epochs": 3}), rest));
    for stop in [None, Some(4), Some(2)] {
        let events = same_bits(bag(), &first, &second, stop);
        let began =
            events.iter().find_map(|e| if let Event::PhaseBegan(e) = e { Some(e.step) } else { None });
        assert_eq!(began, stop.map(|_| 4));
        let (_, before, total, _) = said(&events).unwrap();
        assert_eq!(total - 4, 3 * (before - 4));
    }
}
