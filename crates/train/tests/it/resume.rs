//! Going on from a checkpoint gives the same bits as never having stopped, on every device.

use crate::job::{bag, bert, bits, devices, job, job_on, record, settings};
use burn::tensor::Device;
use polytask_train::{
    Event, MemoryLimit, Outcome, RunDir, RunHooks, Settings, Start, TrainError, checkpoints, run,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Every weight of a result, the events on the way, and the run's directory.
type Ran = (Vec<(String, Vec<u32>)>, Vec<Event>, tempfile::TempDir);

/// All steps in one go.
fn whole(device: &Device, backbone: Value, settings: &Settings) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job_on(device, backbone, 17);
    let (outcome, events) = record(&mut job, settings, dir.path(), Start::Fresh, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    (bits(&job.model), events, dir)
}

/// The same, stopped after each of `stops` and gone on with by a new job each time.
fn in_parts(device: &Device, backbone: Value, settings: &Settings, stops: &[usize]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let mut events = Vec::new();
    let mut start = Start::Fresh;
    for stop in stops {
        let mut job = job_on(device, backbone.clone(), 17);
        let (outcome, part) = record(&mut job, settings, dir.path(), start, Some(*stop));
        let checkpoint = RunDir::new(dir.path()).checkpoint(*stop);
        assert_eq!(outcome.unwrap(), Outcome::Interrupted { step: *stop, checkpoint });
        events.extend(part);
        start = Start::Resume;
    }
    let mut job = job_on(device, backbone, 17);
    let (outcome, part) = record(&mut job, settings, dir.path(), start, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    events.extend(part);
    (bits(&job.model), events, dir)
}

/// The metrics, without times.
fn metrics(events: &[Event]) -> Vec<Event> {
    let timeless = |event: &Event| match event.clone() {
        Event::Step(s) => Some(Event::Step(polytask_train::StepEvent { seconds: 0.0, elapsed: 0.0, ..s })),
        Event::Evaluated(e) => {
            Some(Event::Evaluated(polytask_train::Evaluated { seconds: 0.0, elapsed: 0.0, ..e }))
        }
        reduced @ Event::LearningRateReduced(_) => Some(reduced),
        _ => None,
    };
    events.iter().filter_map(timeless).collect()
}

/// The steps in `metrics.jsonl`, every line of which is an event.
fn steps_written(dir: &Path) -> Vec<usize> {
    let text = std::fs::read_to_string(RunDir::new(dir).metrics()).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    events.filter_map(|e: Event| if let Event::Step(s) = e { Some(s.step) } else { None }).collect()
}

fn files(dir: &Path, names: &[&str]) -> Vec<blake3::Hash> {
    names.iter().map(|n| blake3::hash(&std::fs::read(dir.join(n)).unwrap())).collect()
}

/// Methods that look at gradients, with a state.
#[test]
fn balancers_of_gradients_go_on_where_they_were() {
    for balance in [
        json!({"gradvac": {}}),
        json!({"cr_mogm": {"method": {"upgrad": {}}}}),
        json!({"gradnorm": {}}),
        json!({"pcgrad": {}}),
        // Buffers, halves, a lookahead.
        json!({"moco": {}}),
        json!({"modo": {}}),
        json!({"auto_lambda": {}}),
    ] {
        let settings = settings(json!({
            "train": {"epochs": 10, "max_steps": 40, "tokens_per_batch": 100,
                      "gradient_accumulation_steps": 2, "seed": 11},
            "balance": balance,
        }));
        same_bits_on(&Device::flex(), bag(), &settings, &[3, 17]);
    }
}

/// The state of each of them is in the checkpoint.
#[test]
fn optimizers_go_on_where_they_were() {
    for optimizer in [
        json!({"sgd": {"learning_rate": 0.05}}),
        json!({"sgd": {"momentum": 0.0}}),
        json!({"lion": {"learning_rate": 1e-4}}),
        json!({"adafactor": {"layerwise_lr_decay": 0.8}}),
        json!({"muon": {}}),
        json!({"schedule_free_adamw": {"learning_rate": 1e-3}}),
    ] {
        let settings = settings(json!({
            "train": {"epochs": 10, "max_steps": 20, "tokens_per_batch": 100, "seed": 11},
            "optimizer": optimizer,
        }));
        same_bits_on(&Device::flex(), bert(), &settings, &[3, 11]);
    }
}

fn same_bits(backbone: Value, settings: &Settings, stops: &[usize]) {
    for device in devices() {
        same_bits_on(&device, backbone.clone(), settings, stops);
    }
}

fn same_bits_on(device: &Device, backbone: Value, settings: &Settings, stops: &[usize]) {
    let (weights, events, dir) = whole(device, backbone.clone(), settings);
    let (weights_in_parts, events_in_parts, dir_in_parts) = in_parts(device, backbone, settings, stops);
    assert_eq!(metrics(&events), metrics(&events_in_parts));
    assert!(weights == weights_in_parts, "the result's weights differ");
    let last = *checkpoints(&RunDir::new(dir.path())).unwrap().last().unwrap();
    let names = ["weights.safetensors", "optimizer.safetensors"];
    let checkpoint = |dir: &tempfile::TempDir| files(&RunDir::new(dir.path()).checkpoint(last), &names);
    assert_eq!(checkpoint(&dir), checkpoint(&dir_in_parts));
    let names = ["model.safetensors", "heads.safetensors", "polytask.json", "tokenizer.json", "config.json"];
    assert_eq!(files(&dir.path().join("model"), &names), files(&dir_in_parts.path().join("model"), &names));
}

/// A run of which the steps up to 20 are done, and its settings.
fn interrupted() -> (tempfile::TempDir, Settings) {
    let settings =
        settings(json!({"train": {"epochs": 50, "max_steps": 40, "tokens_per_batch": 64, "save_steps": 8}}));
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(bag(), 17);
    record(&mut job, &settings, dir.path(), Start::Fresh, Some(20)).0.unwrap();
    (dir, settings)
}

fn resumed(dir: &Path, settings: &Settings) -> (Result<Outcome, TrainError>, Vec<Event>) {
    record(&mut job(bag(), 17), settings, dir, Start::Resume, None)
}

/// What is below a directory, but for what this test's own event sink appends to.
fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// A link to itself stands for every file that is there and cannot be read.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_cannot_be_read_is_not_set_aside() {
    let (dir, settings) = interrupted();
    let run = RunDir::new(dir.path());
    let before = names(&run.checkpoints());
    let weights = run.checkpoint(20).join("weights.safetensors");
    let aside = dir.path().join("aside");
    std::fs::rename(&weights, &aside).unwrap();
    std::os::unix::fs::symlink("weights.safetensors", &weights).unwrap();
    let error = resumed(dir.path(), &settings).0.unwrap_err();
    assert!(matches!(error, TrainError::UnreadableCheckpoint { .. }), "{error}");
    assert!(error.to_string().contains("rename the checkpoint to 000020.broken"), "{error}");
    assert_eq!(names(&run.checkpoints()), before);
    std::fs::remove_file(&weights).unwrap();
    std::fs::rename(&aside, &weights).unwrap();
    let (outcome, events) = resumed(dir.path(), &settings);
    outcome.unwrap();
    assert!(matches!(&events[0], Event::Started(started) if started.step == 20), "{:?}", events[0]);
}

#[test]
fn a_run_that_lost_its_checkpoints_does_not_begin_again() {
    let (dir, settings) = interrupted();
    let run = RunDir::new(dir.path());
    for step in checkpoints(&run).unwrap() {
        std::fs::write(run.checkpoint(step).join("state.json"), "{").unwrap();
    }
    let error = resumed(dir.path(), &settings).0.unwrap_err();
    assert!(matches!(error, TrainError::NoUsableCheckpoint { .. }), "{error}");
    let metrics = std::fs::read(run.metrics()).unwrap();
    for _ in 0..2 {
        let error = resumed(dir.path(), &settings).0.unwrap_err();
        assert!(matches!(error, TrainError::CheckpointsLost { .. }), "{error}");
        assert!(error.to_string().contains("000020.broken to 000020"), "{error}");
    }
    assert_eq!(std::fs::read(run.metrics()).unwrap(), metrics);
    // Without a trace of them, the metrics tell that there were some.
    std::fs::remove_dir_all(run.checkpoints()).unwrap();
    let error = resumed(dir.path(), &settings).0.unwrap_err();
    assert!(error.to_string().contains("metrics.jsonl has 20 steps and says that one was saved"), "{error}");
}

#[test]
fn a_run_that_never_had_a_checkpoint_says_that_it_begins_again() {
    let (dir, settings) = interrupted();
    let run = RunDir::new(dir.path());
    std::fs::remove_dir_all(run.checkpoints()).unwrap();
    let text = std::fs::read_to_string(run.metrics()).unwrap();
    let steps: Vec<&str> = text.lines().take_while(|line| !line.contains("\"saved\"")).collect();
    std::fs::write(run.metrics(), steps.join("\n") + "\n").unwrap();
    let (outcome, events) = resumed(dir.path(), &settings);
    outcome.unwrap();
    assert!(matches!(&events[0], Event::BeganAgain(again) if again.lost == 8), "{:?}", events[0]);
    assert_eq!(steps_written(dir.path()), (1..=40).collect::<Vec<_>>());
}

/// One damaged line costs none of the others.
#[test]
fn damaged_metrics_are_told_and_kept() {
    let (dir, settings) = interrupted();
    let run = RunDir::new(dir.path());
    let text = std::fs::read_to_string(run.metrics()).unwrap();
    let at = text.find("\"step\":5,").unwrap();
    let mut bytes = text.into_bytes();
    bytes[at] = b'x';
    std::fs::write(run.metrics(), &bytes).unwrap();
    let (outcome, events) = resumed(dir.path(), &settings);
    outcome.unwrap();
    let Event::DamagedMetrics(told) = &events[0] else { panic!("{:?}", events[0]) };
    assert_eq!(told.lines.len(), 1);
    let text = String::from_utf8(std::fs::read(run.metrics()).unwrap()).unwrap();
    let step = |line: &str| match serde_json::from_str::<Event>(line) {
        Ok(Event::Step(step)) => Some(step.step),
        _ => None,
    };
    let found: Vec<usize> = text.lines().filter_map(step).collect();
    assert_eq!(found, (1..=40).filter(|step| *step != 5).collect::<Vec<_>>());
}

/// A time that no run has is no time to print at the end, when the model is written already.
#[test]
fn forged_times_are_refused() {
    for time in ["-1.0", "1e308"] {
        let (dir, settings) = interrupted();
        let run = RunDir::new(dir.path());
        let path = run.checkpoint(20);
        let text = std::fs::read_to_string(path.join("state.json")).unwrap();
        let from = text.find("\"elapsed\": ").unwrap() + 11;
        let to = from + text[from..].find(',').unwrap();
        let forged = format!("{}{time}{}", &text[..from], &text[to..]);
        std::fs::write(path.join("state.json"), &forged).unwrap();
        let manifest = std::fs::read_to_string(path.join("manifest.json")).unwrap();
        let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
        let hash = blake3::hash(forged.as_bytes()).to_hex().to_string();
        manifest["files"]["state.json"] = json!({"bytes": forged.len(), "blake3": hash});
        std::fs::write(path.join("manifest.json"), manifest.to_string()).unwrap();
        let (outcome, events) = resumed(dir.path(), &settings);
        outcome.unwrap();
        assert!(matches!(&events[0], Event::BrokenCheckpoint(_)), "{time}: {:?}", events[0]);
    }
}

/// What a run by the clock has trained is evaluated and saved, and more minutes go on with it.
#[test]
fn the_end_by_the_clock_is_an_end_like_any_other() {
    // The clock of these tests ticks by a millisecond a question.
    let minutes = |minutes: f64| {
        settings(
            json!({"train": {"epochs": 50, "max_minutes": minutes, "tokens_per_batch": 64, "export": "last"}}),
        )
    };
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) = record(&mut job(bag(), 17), &minutes(0.003), dir.path(), Start::Fresh, None);
    let Outcome::Finished { step, .. } = outcome.unwrap() else { panic!() };
    let mut evaluated =
        events.iter().filter_map(|e| if let Event::Evaluated(e) = e { Some(e.step) } else { None });
    assert_eq!(evaluated.next_back(), Some(step));
    assert_eq!(checkpoints(&RunDir::new(dir.path())).unwrap().last(), Some(&step));
    let (outcome, events) = resumed(dir.path(), &minutes(0.006));
    let Outcome::Finished { step: later, .. } = outcome.unwrap() else { panic!() };
    assert!(matches!(&events[0], Event::Started(started) if started.step == step) && later > step);
    assert_eq!(steps_written(dir.path()), (1..=later).collect::<Vec<_>>());
}

#[test]
fn a_bag_goes_on_bit_for_bit() {
    let settings = settings(json!({"train": {"epochs": 50, "max_steps": 40, "tokens_per_batch": 64}}));
    same_bits(bag(), &settings, &[20]);
}

#[test]
fn a_transformer_with_dropout_accumulation_and_uncertainty_goes_on_bit_for_bit() {
    let settings = settings(json!({
        "train": {"epochs": 50, "max_steps": 40, "tokens_per_batch": 48, "gradient_accumulation_steps": 2,
                  "eval_steps": 7,
                  "save_steps": 6, "save_total_limit": 1},
        "balance": {"uncertainty": {}},
        "schedule": {"cosine": {"warmup_ratio": 0.2}},
        "sampling": {"temperature": {"temperature": 2.0}},
    }));
    // 20 lies inside an epoch, 21 is followed by an evaluation that is then still due, 28 too.
    same_bits(bert(), &settings, &[20, 21, 28]);
}

#[test]
fn epochs_that_draw_differently_go_on_bit_for_bit() {
    let settings = settings(json!({
        "train": {"epochs": 3, "max_steps": 10, "tokens_per_batch": 200},
        "sampling": {"annealed": {}},
    }));
    same_bits(bag(), &settings, &[2, 7]);
}

/// The rest of a run that was planned again when a task was done is in the checkpoint.
#[test]
fn a_run_without_a_task_that_is_done_goes_on_bit_for_bit() {
    let settings = settings(json!({
        "train": {"epochs": 8, "tokens_per_batch": 64},
        "schedule": {"linear": {"warmup_ratio": 0}},
    }));
    let early = || {
        let mut job = job(bag(), 17);
        let polarity = job.model.tasks.iter_mut().find(|task| task.name == "polarity").unwrap();
        polarity.training.early_stopping = serde_json::from_value(json!({"patience": 1})).unwrap();
        job
    };
    let run = |stop: Option<usize>, start, dir: &Path| {
        let mut job = early();
        let (outcome, events) = record(&mut job, &settings, dir, start, stop);
        outcome.unwrap();
        (bits(&job.model), events)
    };
    let dir = tempfile::tempdir().unwrap();
    let (weights, events) = run(None, Start::Fresh, dir.path());
    let done = |e: &Event| if let Event::TaskDone(done) = e { Some((done.step, done.steps)) } else { None };
    let (step, steps) = events.iter().find_map(done).unwrap();
    assert!(step + 2 < steps, "{step} of {steps}");
    for stop in [step, step + 2] {
        let dir = tempfile::tempdir().unwrap();
        let (_, first) = run(Some(stop), Start::Fresh, dir.path());
        let (parts, second) = run(None, Start::Resume, dir.path());
        let Event::Started(started) = &second[0] else { panic!("{:?}", second[0]) };
        assert!(stop == step || started.steps == steps, "{} of {steps}", started.steps);
        let both: Vec<Event> = first.into_iter().chain(second).collect();
        assert_eq!(metrics(&events), metrics(&both));
        assert!(weights == parts, "the result's weights differ");
    }
}

/// The reductions of the rates are in the checkpoint, evaluations that are still due among them.
#[test]
fn reduced_rates_go_on_where_they_were() {
    let settings = settings(json!({
        "train": {"epochs": 50, "max_steps": 24, "tokens_per_batch": 64, "eval_steps": 3,
                  "reduce_lr_on_plateau": {"patience": 1, "threshold": 2.0}},
    }));
    same_bits_on(&Device::flex(), bag(), &settings, &[9, 10, 17]);
}

#[test]
fn balanced_head_rates_go_on_where_they_were() {
    for balance in [json!({"equal": {}}), json!({"upgrad": {}})] {
        let settings = settings(json!({
            "train": {"epochs": 50, "max_steps": 24, "tokens_per_batch": 64, "head_lr_balancing": {}},
            "balance": balance,
        }));
        same_bits_on(&Device::flex(), bag(), &settings, &[2, 17]);
    }
}

#[test]
fn a_broken_checkpoint_is_quarantined_and_an_older_one_used() {
    let settings = settings(json!({
        "train": {"epochs": 50, "max_steps": 20, "tokens_per_batch": 64, "save_steps": 4,
                  "save_total_limit": 3}
    }));
    let (weights, _, _dir) = whole(&Device::flex(), bag(), &settings);
    let dir = tempfile::tempdir().unwrap();
    let (outcome, _) = record(&mut job(bag(), 17), &settings, dir.path(), Start::Fresh, Some(14));
    outcome.unwrap();
    let run_dir = RunDir::new(dir.path());
    let path = run_dir.checkpoint(14).join("weights.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut again = job(bag(), 17);
    let (outcome, events) = record(&mut again, &settings, dir.path(), Start::Resume, None);
    outcome.unwrap();
    let Event::BrokenCheckpoint(broken) = &events[0] else { panic!("{:?}", events[0]) };
    assert!(
        broken.step == 14 && broken.reason.contains("weights.safetensors: its blake3 hash"),
        "{broken:?}"
    );
    assert!(std::path::Path::new(&broken.moved_to).exists());
    let Event::Started(started) = &events[1] else { panic!("{:?}", events[1]) };
    assert!(started.resumed && started.step < 14);
    assert!(weights == bits(&again.model));
    assert_eq!(steps_written(dir.path()), (1..=20).collect::<Vec<_>>(), "no step is there twice");
}

#[test]
fn a_lost_best_checkpoint_says_what_to_do() {
    let config = |export: &str| {
        settings(json!({
            "train": {"max_steps": 6, "tokens_per_batch": 64, "eval_steps": 2, "save_total_limit": 1,
                      "export": export},
            "optimizer": {"adamw": {"learning_rate": 1e-12}},
        }))
    };
    let small = || {
        let mut small = job(bag(), 17);
        small.model.tasks.iter_mut().for_each(|t| t.training.head_learning_rate = None);
        small
    };
    let dir = tempfile::tempdir().unwrap();
    record(&mut small(), &config("best"), dir.path(), Start::Fresh, Some(5)).0.unwrap();
    std::fs::remove_file(RunDir::new(dir.path()).checkpoint(2).join("weights.safetensors")).unwrap();
    let error = record(&mut small(), &config("best"), dir.path(), Start::Resume, None).0.unwrap_err();
    assert!(error.to_string().contains("train.export = \"last\""), "{error}");
    record(&mut small(), &config("last"), dir.path(), Start::Resume, None).0.unwrap();
}

#[test]
fn without_any_whole_checkpoint_it_says_so() {
    let settings = settings(json!({"train": {"max_steps": 6, "tokens_per_batch": 64}}));
    let dir = tempfile::tempdir().unwrap();
    record(&mut job(bag(), 17), &settings, dir.path(), Start::Fresh, Some(3)).0.unwrap();
    std::fs::write(RunDir::new(dir.path()).checkpoint(3).join("state.json"), "{").unwrap();
    let error = record(&mut job(bag(), 17), &settings, dir.path(), Start::Resume, None).0.unwrap_err();
    assert!(matches!(error, TrainError::NoUsableCheckpoint { .. }), "{error}");
}

#[test]
fn another_config_is_refused_and_named() {
    let config = |seed: u64, limit: usize| {
        settings(json!({"train": {"max_steps": 6, "tokens_per_batch": 64, "seed": seed,
                                  "save_total_limit": limit}}))
    };
    let dir = tempfile::tempdir().unwrap();
    record(&mut job(bag(), 17), &config(17, 2), dir.path(), Start::Fresh, Some(3)).0.unwrap();
    let error = record(&mut job(bag(), 17), &config(18, 2), dir.path(), Start::Resume, None).0.unwrap_err();
    assert!(error.to_string().contains("train.seed: 17 in the checkpoint, 18 now"), "{error}");
    let error = record(&mut job(bert(), 17), &config(17, 2), dir.path(), Start::Resume, None).0.unwrap_err();
    assert!(matches!(error, TrainError::OtherRun { .. }), "{error}");
    // How many checkpoints to keep shapes nothing.
    record(&mut job(bag(), 17), &config(17, 5), dir.path(), Start::Resume, None).0.unwrap();
}

#[test]
fn a_directory_with_checkpoints_is_not_begun_anew() {
    let settings = settings(json!({"train": {"max_steps": 2, "tokens_per_batch": 64}}));
    let dir = tempfile::tempdir().unwrap();
    record(&mut job(bag(), 17), &settings, dir.path(), Start::Fresh, None).0.unwrap();
    let error = record(&mut job(bag(), 17), &settings, dir.path(), Start::Fresh, None).0.unwrap_err();
    assert!(matches!(error, TrainError::Occupied { .. }), "{error}");
    // Resuming a complete run completes it again; resuming where nothing is begins.
    record(&mut job(bag(), 17), &settings, dir.path(), Start::Resume, None).0.unwrap();
    let empty = tempfile::tempdir().unwrap();
    record(&mut job(bag(), 17), &settings, empty.path(), Start::Resume, None).0.unwrap();
}

/// Asks the run to stop at its n-th question, in the middle of a step, and never refuses memory.
struct StopsAt {
    questions: AtomicUsize,
    at: usize,
    stop: &'static AtomicBool,
}

impl MemoryLimit for StopsAt {
    fn start_step(&self) {}

    fn has_headroom(&self) -> bool {
        if self.questions.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.stop.store(true, Ordering::Relaxed);
        }
        true
    }
}

/// A step of several packs is given up between two of them, and done again when the run goes on.
#[test]
fn a_long_step_is_left_between_its_packs() {
    for balance in [json!({"uncertainty": {}}), json!({"gradnorm": {}}), json!({"upgrad": {}})] {
        let settings = settings(json!({
            "train": {"max_steps": 6, "tokens_per_batch": 32, "gradient_accumulation_steps": 8, "seed": 5},
            "balance": balance,
        }));
        let whole_dir = tempfile::tempdir().unwrap();
        let mut whole = job(bag(), 17);
        record(&mut whole, &settings, whole_dir.path(), Start::Fresh, None).0.unwrap();
        let mut left = 0;
        for at in [100, 400] {
            let dir = tempfile::tempdir().unwrap();
            let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
            let limit: Arc<dyn MemoryLimit> = Arc::new(StopsAt { questions: AtomicUsize::new(0), at, stop });
            let mut stopped_in = 0;
            let hooks = RunHooks {
                stop,
                clock: &|| std::time::Duration::ZERO,
                memory_limit: Some(&limit),
                emit: &mut |event| {
                    if let Event::Step(step) = event {
                        stopped_in += usize::from(stop.load(Ordering::Relaxed) && step.step > 0);
                    }
                },
            };
            let run_dir = RunDir::new(dir.path());
            let outcome = run(&mut job(bag(), 17), &settings, &run_dir, Start::Fresh, hooks).unwrap();
            let Outcome::Interrupted { step, .. } = outcome else { panic!("{balance}: {outcome:?}") };
            // It did not finish the step.
            left += usize::from(stopped_in == 0 && step < 6);
            let mut again = job(bag(), 17);
            record(&mut again, &settings, dir.path(), Start::Resume, None).0.unwrap();
            assert!(bits(&again.model) == bits(&whole.model), "{balance} {at}");
        }
        assert!(left > 0, "{balance}");
    }
}
