//! What each task uses of a run: phases, budgets, tasks that are done early, samplers that adapt to how training goes.

use crate::job::{bag, bert, bits, job, record, settings};
use polytask_train::{
    Event, Job, Outcome, RunDir, Settings, Start, StepEvent, StopReason, TaskTable, UsageReport, step_plan,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A job whose tasks have these keys over their own.
fn job_of(backbone: Value, tasks: &Value) -> Job {
    let mut job = job(backbone, 17);
    for slot in &mut job.model.tasks {
        let table = TaskTable { config: slot.config.clone(), training: slot.training.clone() };
        let mut table = serde_json::to_value(table).unwrap();
        for (key, value) in tasks.get(&slot.name).and_then(Value::as_object).into_iter().flatten() {
            table[key] = value.clone();
        }
        TaskTable { config: slot.config, training: slot.training } = serde_json::from_value(table).unwrap();
    }
    job
}

/// A run to its end: the job, its events, its directory.
fn ran(mut job: Job, settings: &Settings) -> (Job, Vec<Event>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) = record(&mut job, settings, dir.path(), Start::Fresh, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    (job, events, dir)
}

fn steps(events: &[Event]) -> Vec<&StepEvent> {
    events.iter().filter_map(|e| if let Event::Step(step) = e { Some(step) } else { None }).collect()
}

fn learned(step: &StepEvent) -> BTreeSet<&str> {
    step.losses.keys().map(String::as_str).collect()
}

fn usage_reports(events: &[Event]) -> Vec<&UsageReport> {
    let reports = events.iter().filter_map(|event| match event {
        Event::UsageReport(report) => Some(report),
        _ => None,
    });
    reports.collect()
}

/// The weights whose names begin so.
fn weights(job: &Job, prefix: &str) -> Vec<(String, Vec<u32>)> {
    bits(&job.model).into_iter().filter(|(name, _)| name.starts_with(prefix)).collect()
}

#[test]
fn a_run_of_several_packs_a_step_ends_where_its_last_step_is_short() {
    for (accumulate, epochs) in [(2, 2), (3, 2), (5, 3)] {
        let train = json!({"epochs": epochs, "tokens_per_batch": 60,
                           "gradient_accumulation_steps": accumulate});
        let settings = settings(json!({"train": train}));
        let expected = step_plan(&job(bag(), 17), &settings).unwrap();
        let (_, events, _dir) = ran(job(bag(), 17), &settings);
        let steps = steps(&events);
        assert_eq!(steps.len(), expected.total(), "{accumulate} packs a step");
        assert_eq!(steps.last().unwrap().epoch, epochs, "{accumulate} packs a step");
    }
}

#[test]
fn important_tasks_come_first_and_others_join() {
    let settings = settings(json!({
        "train": {"epochs": 1, "tokens_per_batch": 60},
        "phases": [{"tasks": ["polarity"], "epochs": 2}, {"tasks": ["polarity", "tags"], "steps": 3}, {}],
    }));
    let fresh = job(bag(), 17);
    let expected = step_plan(&fresh, &settings).unwrap();
    let (trained, events, _dir) = ran(job(bag(), 17), &settings);
    let steps = steps(&events);
    assert_eq!((steps.len(), expected.epochs().len()), (expected.total(), 4));
    let first = expected.epochs()[..2].iter().sum::<usize>();
    assert!(first > 4 && expected.epochs()[2] == 3);
    assert!(steps[..first].iter().all(|step| learned(step) == ["polarity"].into()));
    let second: BTreeSet<&str> = steps[first..first + 3].iter().flat_map(|step| learned(step)).collect();
    assert_eq!(second, ["polarity", "tags"].into());
    let third: BTreeSet<&str> = steps[first + 3..].iter().flat_map(|step| learned(step)).collect();
    assert_eq!(third, ["polarity", "tags", "topic"].into());
    let began: Vec<(usize, usize)> = events
        .iter()
        .filter_map(|e| if let Event::PhaseBegan(phase) = e { Some((phase.phase, phase.step)) } else { None })
        .collect();
    assert_eq!(began, [(1, 0), (2, first), (3, first + 3)]);
    // Of 60 rows 12 have no topic; those of the phase before do not come again at once.
    let rows = usage_reports(&events).last().unwrap().tasks["topic"].rows;
    assert!((44..=52).contains(&rows), "{rows}");
    assert!(trained.model.tasks.iter().all(|task| task.is_trained));
}

#[test]
fn a_phase_ends_at_its_score_and_the_schedule_keeps_to_its_plan() {
    let until = |threshold: f64| {
        settings(json!({
            "train": {"epochs": 2, "tokens_per_batch": 60},
            "schedule": {"linear": {"warmup_ratio": 0}},
            "phases": [
                {"tasks": ["polarity"], "epochs": 5,
                 "until": {"metric": "polarity.accuracy", "threshold": threshold}},
                {},
            ],
        }))
    };
    let table = step_plan(&job(bag(), 17), &until(0.0)).unwrap();
    let (_, early, _dir) = ran(job(bag(), 17), &until(0.0));
    let (_, late, _dir) = ran(job(bag(), 17), &until(2.0));
    let (early, late) = (steps(&early), steps(&late));
    let (first, phase) = (table.epochs()[0], table.epochs()[..5].iter().sum::<usize>());
    // How far the passes over the corpora have come differs, and so, by a few packs, what is left.
    let expected = table.total() - phase + first;
    assert!(
        late.len() == table.total() && early.len().abs_diff(expected) <= 6,
        "{}, {expected}",
        early.len()
    );
    assert!(learned(early[first - 1]) == ["polarity"].into() && early[first].losses.len() > 1);
    let rates = |steps: &[&StepEvent]| steps.iter().map(|step| step.learning_rate).collect::<Vec<_>>();
    assert_eq!(rates(&early[..first]), rates(&late[..first]));
    assert_eq!(rates(&early[first..first + 5]), rates(&late[phase..phase + 5]));
    assert_eq!((early[first].epoch, late[phase].epoch), (6, 6));
}

#[test]
fn a_phase_can_freeze_lower_layers() {
    let fresh = job(bert(), 17);
    let settings = settings(json!({
        "train": {"epochs": 1, "tokens_per_batch": 60, "max_steps": 4, "export": "last"},
        "phases": [{"freeze": 1, "steps": 4}, {}],
    }));
    let (frozen, _, _dir) = ran(job(bert(), 17), &settings);
    for (prefix, moved) in
        [("backbone.embeddings.", false), ("backbone.layer.0.", false), ("backbone.layer.1.", true)]
    {
        assert_eq!(weights(&frozen, prefix) != weights(&fresh, prefix), moved, "{prefix}");
    }
    assert!(frozen.model.parameters.iter().all(|p| p.trainable), "only within the phase");
}

/// Frozen parameters and no dropout in the frozen layers, whoever freezes them.
#[test]
fn a_phase_that_freezes_layers_trains_as_a_model_whose_layers_are_frozen() {
    let with = |phases: Value| {
        let train = json!({"epochs": 2, "max_steps": 6, "tokens_per_batch": 60, "export": "last"});
        settings(json!({"train": train, "phases": phases}))
    };
    for layers in [0, 1] {
        let (by_phase, events, _dir) = ran(job(bert(), 17), &with(json!([{"freeze": layers}])));
        let mut frozen = job(bert(), 17);
        frozen.model.trunk.freeze(layers, &mut frozen.model.parameters);
        let (by_model, events_by_model, _dir) = ran(frozen, &with(json!([])));
        let losses =
            |events: &[Event]| steps(events).iter().map(|step| step.losses.clone()).collect::<Vec<_>>();
        assert_eq!(losses(&events), losses(&events_by_model), "{layers} layers");
        assert!(bits(&by_phase.model) == bits(&by_model.model), "{layers} layers");
    }
}

#[test]
fn a_budget_ends_a_task_within_one_step() {
    let plain = settings(json!({"train": {"epochs": 3, "tokens_per_batch": 60, "export": "last"}}));
    let longest = 60 + 32;
    for (budget, most) in [(json!({"tokens": 100}), 100), (json!({"steps": 2}), 2)] {
        let tasks = json!({"polarity": {"budget": budget}});
        let (_, events, _dir) = ran(job_of(bag(), &tasks), &plain);
        let told = usage_reports(&events).last().unwrap().tasks["polarity"];
        match budget["tokens"].is_u64() {
            true => assert!((most..most + longest).contains(&told.tokens), "{told:?}"),
            false => assert_eq!(told.steps, most),
        }
        let done: Vec<usize> = events
            .iter()
            .filter_map(|e| match e {
                Event::TaskDone(done) => {
                    assert_eq!((done.task.as_str(), done.reason), ("polarity", StopReason::Budget));
                    Some(done.step)
                }
                _ => None,
            })
            .collect();
        let after = |step: &&&StepEvent| step.step > done[0];
        assert_eq!(done.len(), 1);
        assert!(steps(&events).iter().filter(after).all(|step| !learned(step).contains("polarity")));
        assert!(steps(&events).iter().filter(after).any(|step| learned(step).contains("topic")));
    }
}

/// The steps at which tasks were done, and those that the run then had.
fn done(events: &[Event]) -> Vec<(usize, usize)> {
    let done =
        events.iter().filter_map(|e| if let Event::TaskDone(e) = e { Some((e.step, e.steps)) } else { None });
    done.collect()
}

/// Budgets of tokens and steps are known before the run: it has the steps that were planned, and the schedule ends with it.
#[test]
fn a_run_is_as_long_as_planned_with_budgets() {
    let tasks = [
        json!({"polarity": {"budget": {"tokens": 300}}}),
        json!({"topic": {"budget": {"steps": 4}}, "tags": {"budget": {"tokens": 500}}}),
        json!({"tags": {"budget": {"steps": 3}}}),
        json!({"topic": {"budget": {"steps": 7}}, "tags": {"budget": {"steps": 7}}, "polarity": {"budget": {"steps": 9}}}),
    ];
    let trains = [
        json!({"epochs": 4, "tokens_per_batch": 60}),
        json!({"epochs": 4, "tokens_per_batch": 40, "batching": "single_corpus"}),
        json!({"epochs": 3, "tokens_per_batch": 40, "gradient_accumulation_steps": 3}),
        json!({"epochs": 9, "tokens_per_batch": 60, "max_steps": 30}),
        json!({"epochs": 9, "tokens_per_batch": 60, "max_tokens": 1500}),
    ];
    for tasks in &tasks {
        for train in &trains {
            let settings = settings(json!({"train": train, "schedule": {"linear": {"warmup_ratio": 0}}}));
            let planned = polytask_train::plan(&job_of(bag(), tasks), &settings).unwrap();
            let (total, epochs) = (planned.step_plan.total(), planned.step_plan.epochs().len());
            let free = step_plan(&job(bag(), 17), &settings).unwrap().total();
            assert!(
                total < free || train["max_steps"].is_u64() || train["max_tokens"].is_u64(),
                "{tasks}, {train}"
            );
            let (_, events, _dir) = ran(job_of(bag(), tasks), &settings);
            let steps = steps(&events);
            assert_eq!((steps.len(), steps.last().unwrap().epoch), (total, epochs), "{tasks}, {train}");
            assert!(done(&events).iter().all(|(_, steps)| *steps == total), "{tasks}, {train}");
            let rates: Vec<f64> = steps.iter().map(|step| step.learning_rate).collect();
            let expected = |step: usize| rates[0] * (1.0 - step as f64 / total as f64);
            for (step, rate) in rates.iter().enumerate() {
                assert!((rate - expected(step)).abs() < 1e-12, "{tasks}, {train}, step {step}: {rates:?}");
            }
            let told = (*usage_reports(&events).last().unwrap()).clone();
            for (task, used) in &planned.tasks {
                assert_eq!((used.rows, used.tokens, used.steps), {
                    let given = told.tasks[task];
                    (given.rows, given.tokens, given.steps)
                });
            }
        }
    }
}

/// A budget of seconds, and scores that do not improve, are known when they come: then what is left of the schedule is spread over
/// the steps that are left, without a jump.
#[test]
fn the_rest_is_planned_again_when_a_task_is_done() {
    let settings = settings(json!({
        "train": {"epochs": 12, "tokens_per_batch": 60},
        "schedule": {"linear": {"warmup_ratio": 0}},
    }));
    for tasks in [
        json!({"polarity": {"early_stopping": {"patience": 1}}}),
        // The clock of these tests goes on by a millisecond each time it is read.
        json!({"polarity": {"budget": {"seconds": 0.01}}}),
        json!({"topic": {"budget": {"seconds": 0.02}}, "tags": {"budget": {"seconds": 0.01}}}),
    ] {
        let (_, events, _dir) = ran(job_of(bert(), &tasks), &settings);
        let (steps, done) = (steps(&events), done(&events));
        let free = step_plan(&job(bert(), 17), &settings).unwrap().total();
        let &(at, total) = done.last().unwrap();
        assert!(at < total && total < free, "{tasks}: {done:?} of {free}");
        assert_eq!(steps.len(), total, "{tasks}");
        assert_eq!(steps.last().unwrap().epoch, 12, "{tasks}");
        let rates: Vec<f64> = steps.iter().map(|step| step.learning_rate / steps[0].learning_rate).collect();
        // As planned before, then steeper, to the end.
        let planned = 1.0 - (at - 1) as f64 / free as f64;
        assert!(done.len() > 1 || (rates[at - 1] - planned).abs() < 1e-12, "{tasks}: {rates:?}");
        let steepest = 2.0 * (rates[at - 1] / (total - at) as f64) + 1.0 / free as f64;
        assert!(
            rates.windows(2).all(|two| two[1] <= two[0] && two[0] - two[1] < steepest),
            "{tasks}: {rates:?}"
        );
        assert!(*rates.last().unwrap() < 0.05, "{tasks}: {rates:?}");
    }
}

/// With what is left of an epoch gone, the run is at the next one, and has no more of them than it was to have.
#[test]
fn epochs_end_where_nothing_is_left_of_them() {
    let tasks = json!({"topic": {"budget": {"steps": 2}}, "tags": {"budget": {"steps": 2}}});
    let settings = settings(json!({
        "train": {"epochs": 3, "tokens_per_batch": 60, "batching": "single_corpus"},
        "sampling": {"importance": {"alpha": 0.0}},
    }));
    let (_, events, _dir) = ran(job_of(bag(), &tasks), &settings);
    let evaluated: Vec<usize> = events
        .iter()
        .filter_map(|e| if let Event::Evaluated(e) = e { Some(e.epoch) } else { None })
        .collect();
    assert_eq!(evaluated, [1, 2, 3]);
    let draws = usage_reports(&events).last().unwrap().corpora["reviews"].draws;
    let planned = polytask_train::plan(&job_of(bag(), &tasks), &settings).unwrap();
    assert_eq!(draws, planned.corpora["reviews"].draws);
}

#[test]
fn a_share_of_the_operations_is_kept() {
    for share in [0.2, 0.6] {
        let tasks = json!({"polarity": {"budget": {"share": share}}});
        let settings = settings(json!({"train": {"epochs": 4, "tokens_per_batch": 60}}));
        let (_, events, _dir) = ran(job_of(bert(), &tasks), &settings);
        let all: usize = steps(&events).iter().map(|step| step.tokens).sum();
        let found = usage_reports(&events).last().unwrap().shares["polarity"];
        assert!(
            (found - share).abs() <= 60.0 / all as f64,
            "{found} of {share}, one pack is {}",
            60.0 / all as f64
        );
    }
}

#[test]
fn shares_that_leave_nothing_are_refused() {
    let tasks = json!({"polarity": {"budget": {"share": 0.6}}, "tags": {"budget": {"share": 0.5}}});
    let refused = |settings: Value, tasks: &Value| {
        step_plan(&job_of(bag(), tasks), &crate::job::settings(settings)).unwrap_err().to_string()
    };
    let message = refused(json!({}), &tasks);
    assert!(message.contains("1.1") && message.contains("1 at most"), "{message}");
    let tasks = json!({"polarity": {"budget": {"share": 0.6}}});
    let message = refused(json!({"sampling": {"exp3": {}}}), &tasks);
    assert!(message.contains("sampling.exp3"), "{message}");
    let message = refused(json!({"sampling": {"conflict": {}}}), &json!({}));
    assert!(message.contains("balance.equal") && message.contains("upgrad"), "{message}");
    let message = refused(json!({"phases": [{"tasks": ["polarity", "none"]}]}), &json!({}));
    assert!(
        message.contains("phase 1: tasks: found \"none\", expected one of topic, tags, polarity"),
        "{message}"
    );
}

#[test]
fn a_task_that_is_done_keeps_its_head_at_its_best() {
    // Rates so high that scores fall as often as they rise.
    let with = |epochs: usize| {
        settings(json!({
            "train": {"epochs": epochs, "tokens_per_batch": 60, "export": "last", "max_grad_norm": 0.0,
                      "save_total_limit": 100},
            "optimizer": {"adamw": {"learning_rate": 0.5}}, "schedule": {"constant": {}},
        }))
    };
    let tasks = json!({"polarity": {"early_stopping": {"patience": 1}, "head_learning_rate": 0.5}});
    let (stopped, events, dir) = ran(job_of(bag(), &tasks), &with(8));
    let done =
        events.iter().find_map(|e| if let Event::TaskDone(done) = e { Some(done) } else { None }).unwrap();
    let StopReason::Stopped { best } = done.reason else { panic!("{done:?}") };
    assert!(best < done.step && done.task == "polarity");
    // The head of the checkpoint of the best step, by name.
    let head = |step: usize| {
        let file = RunDir::new(dir.path()).checkpoint(step).join("weights.safetensors");
        let bytes = std::fs::read(file).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let named = tensors.tensors().into_iter().filter(|(name, _)| name.starts_with("head.polarity."));
        named.map(|(name, tensor)| (name, tensor.data().to_vec())).collect::<BTreeMap<_, _>>()
    };
    let last = steps(&events).len();
    assert!(last > done.step, "the others went on");
    assert_eq!(head(best), head(last));
    assert!(!head(best).is_empty());
    let after = |step: &&&StepEvent| step.step > done.step;
    assert!(!steps(&events).iter().filter(after).any(|step| learned(step).contains("polarity")));
    // It did move in the steps between, which were taken back: without early stopping the head is another by then.
    let (moved, _, _dir) = ran(job(bag(), 17), &with(8));
    assert!(weights(&moved, "head.polarity.") != weights(&stopped, "head.polarity."));
}

#[test]
fn a_run_whose_tasks_are_all_done_ends() {
    let tasks = json!({"topic": {"budget": {"steps": 2}}, "tags": {"budget": {"steps": 3}},
                       "polarity": {"budget": {"steps": 1}}});
    let settings = settings(json!({"train": {"epochs": 3, "tokens_per_batch": 60}}));
    let (_, events, _dir) = ran(job_of(bag(), &tasks), &settings);
    let told = (*usage_reports(&events).last().unwrap()).clone();
    assert_eq!(["topic", "tags", "polarity"].map(|task| told.tasks[task].steps), [2, 3, 1]);
    assert!(steps(&events).len() <= 6);
}

#[test]
fn a_number_of_tokens_or_minutes_ends_a_run_and_its_schedule() {
    let with = |train: Value| settings(json!({"train": train, "schedule": {"linear": {"warmup_ratio": 0}}}));
    let by_tokens = with(json!({"epochs": 9, "tokens_per_batch": 60, "max_tokens": 500}));
    let (_, events, _dir) = ran(job(bag(), 17), &by_tokens);
    let tokens: Vec<usize> = steps(&events).iter().map(|step| step.tokens).collect();
    let all: usize = tokens.iter().sum();
    assert!(all >= 500 && all - tokens.last().unwrap() < 500);
    let rates: Vec<f64> = steps(&events).iter().map(|step| step.learning_rate).collect();
    assert!(rates.last().unwrap() < &(rates[0] * 0.2), "planned to its end: {rates:?}");
    // The clock of these tests goes on by a millisecond each time it is read.
    let by_time = with(json!({"epochs": 99, "tokens_per_batch": 60, "max_minutes": 0.002}));
    let (_, events, _dir) = ran(job(bag(), 17), &by_time);
    let rates: Vec<f64> = steps(&events).iter().map(|step| step.learning_rate).collect();
    assert!((5..100).contains(&rates.len()), "{}", rates.len());
    assert!(rates.last().unwrap() < &(rates[0] * 0.2), "{rates:?}");
}

#[test]
fn samplers_that_look_at_training_move_the_shares() {
    // Not `conflict`: of two corpora each is to the other what the other is to it.
    for sampling in [
        json!({"loss_ratio": {"alpha": 5.0, "smoothing": 0.5}}),
        json!({"validation": {"alpha": 3.0}}),
        json!({"validation": {"signal": "loss", "alpha": 3.0}}),
        json!({"exp3": {"gamma": 0.5}}),
    ] {
        let tasks = json!({"polarity": {"target": 0.3}});
        let settings = settings(json!({
            "train": {"epochs": 12, "tokens_per_batch": 60}, "sampling": sampling,
        }));
        let (_, events, _dir) = ran(job_of(bag(), &tasks), &settings);
        let told = (*usage_reports(&events).last().unwrap()).clone();
        let draws: Vec<u64> = told.corpora.values().map(|corpus| corpus.draws).collect();
        let share = draws[0] as f64 / draws.iter().sum::<u64>() as f64;
        assert!((share - 0.5).abs() > 0.02, "{sampling}: {draws:?}");
    }
}

/// Everything that decides what comes next is in the checkpoint.
#[test]
fn usage_goes_on_where_it_was() {
    let cases = [
        (json!({"sampling": {"loss_ratio": {}}}), json!({})),
        (json!({"sampling": {"validation": {}}}), json!({})),
        (json!({"sampling": {"exp3": {}}}), json!({})),
        (json!({"sampling": {"conflict": {}}, "balance": {"upgrad": {}}}), json!({})),
        (json!({"phases": [{"tasks": ["polarity"], "steps": 4}, {"freeze": 1, "epochs": 1}, {}]}), json!({})),
        (
            json!({"phases": [{"epochs": 3, "until": {"metric": "mean", "threshold": 0.0}}, {}], "orders": {
                "chat": {"curriculum": {"by": "loss"}}, "reviews": {"balanced": "polarity"}}}),
            json!({}),
        ),
        (json!({}), json!({"polarity": {"budget": {"share": 0.5}}, "tags": {"budget": {"tokens": 150}}})),
        (
            json!({"optimizer": {"adamw": {"learning_rate": 0.3}}}),
            json!({"polarity": {"early_stopping": {"patience": 1}},
                   "topic": {"early_stopping": {"patience": 2}}}),
        ),
    ];
    for (more, tasks) in cases {
        let mut all = json!({"train": {"epochs": 3, "tokens_per_batch": 60, "export": "last"}});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let settings = settings(all);
        let (whole, events, _dir) = ran(job_of(bert(), &tasks), &settings);
        let total = steps(&events).len();
        let dir = tempfile::tempdir().unwrap();
        let (mut start, mut parts) = (Start::Fresh, Vec::new());
        for stop in [2, 5, total / 2, total - 1] {
            let mut part = job_of(bert(), &tasks);
            let (outcome, told) = record(&mut part, &settings, dir.path(), start, Some(stop));
            assert!(matches!(outcome.unwrap(), Outcome::Interrupted { .. }));
            parts.extend(told);
            start = Start::Resume;
        }
        let mut last = job_of(bert(), &tasks);
        let (outcome, told) = record(&mut last, &settings, dir.path(), start, None);
        assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
        parts.extend(told);
        assert!(bits(&whole.model) == bits(&last.model), "{more} {tasks}: the weights differ");
        let counted = |events: &[Event]| {
            let mut told = (*usage_reports(events).last().unwrap()).clone();
            told.tasks.values_mut().for_each(|used| used.seconds = 0.0);
            told
        };
        assert_eq!(counted(&events), counted(&parts), "{more} {tasks}");
        let losses =
            |events: &[Event]| steps(events).iter().map(|step| step.losses.clone()).collect::<Vec<_>>();
        assert_eq!(losses(&events), losses(&parts));
    }
}

/// What waits for evaluations of a task without labelled validation rows is refused, and the task is named.
#[test]
fn settings_that_need_validation_rows_are_refused_without_them() {
    let refused = |tasks: Value, settings: Value, views: usize| {
        let mut job = job_of(bag(), &tasks);
        job.views.validation.truncate(views);
        step_plan(&job, &crate::job::settings(settings)).err().map(|error| error.to_string())
    };
    let stopping = json!({"early_stopping": {"patience": 1}});
    let plateau = json!({"reduce_lr_on_plateau": {"patience": 1}});
    let until = |metric: &str| json!({"phases": [{"until": {"metric": metric, "threshold": 0.5}}, {}]});
    // (settings of polarity, of the run, views with validation rows, what the message names)
    let cases = [
        (
            stopping.clone(),
            json!({}),
            1,
            Some("task.polarity.early_stopping: found no row of the validation split"),
        ),
        (plateau.clone(), json!({}), 1, Some("task.polarity.reduce_lr_on_plateau: found no row")),
        (stopping.clone(), json!({}), 2, None),
        (
            json!({}),
            until("polarity.accuracy"),
            1,
            Some("phase 1: until: found polarity.accuracy, and no row"),
        ),
        (json!({}), until("topic.accuracy"), 1, None),
        (json!({}), until("mean"), 1, None),
        (json!({}), until("mean"), 0, Some("phase 1: until: found mean, and no row")),
        (json!({}), json!({"train": stopping}), 1, None),
        (json!({}), json!({"train": stopping}), 0, Some("train.early_stopping: found no row")),
        (json!({}), json!({"train": plateau}), 0, Some("train.reduce_lr_on_plateau: found no row")),
    ];
    for (polarity, settings, views, expected) in cases {
        let found = refused(json!({"polarity": polarity}), settings.clone(), views);
        let is_right = match (&found, expected) {
            (None, None) => true,
            (Some(message), Some(expected)) => message.contains(expected),
            _ => false,
        };
        assert!(is_right, "{polarity}, {settings}, {views}: {found:?}, expected {expected:?}");
    }
    let mut job = job(bag(), 17);
    assert!(polytask_train::unevaluated_tasks(&job).is_empty());
    job.views.validation.truncate(1);
    assert_eq!(polytask_train::unevaluated_tasks(&job), ["polarity"]);
}
