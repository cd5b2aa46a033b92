//! Small jobs in memory: two corpora, three tasks, and what records a run of them.
#![allow(dead_code)] // Every test file uses its part.

use burn::tensor::Device;
use data::{InputField, Place, Row, Split, Tokenizer, TokenizerConfig, Value, View};
use model::{DeviceName, Parameters, Trunk};
use polytask_train::{
    Event, HeadlessTask, Job, MemoryLimit, Model, Outcome, RunDir, RunHooks, Settings, Start, TaskTable,
    TrainError, Views, run,
};
use serde_json::{Value as Json, json};
use std::{
    cell::Cell,
    fs::OpenOptions,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const WORDS: [&str; 12] =
    ["Mia", "Omar", "走る", "reads", "the", "paper", "match", "🙂", "goal", "vote", "naïve", "שלום"];

/// A backbone without layers, or nearly.
pub fn bag() -> Json {
    json!({"bag": {"width": 16, "window": 1, "dropout": 0.1}})
}

/// A transformer small enough for a test, with dropout.
pub fn bert() -> Json {
    json!({"bert": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.1}})
}

pub fn deberta() -> Json {
    json!({"deberta": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.1}})
}

pub fn settings(json: Json) -> Settings {
    let part = |name: &str| json.get(name).cloned();
    Settings {
        train: serde_json::from_value(part("train").unwrap_or_else(|| json!({}))).unwrap(),
        optimizer: serde_json::from_value(
            part("optimizer").unwrap_or_else(|| json!({"adamw": {"learning_rate": 5e-3}})),
        )
        .unwrap(),
        schedule: part("schedule").map_or_else(Default::default, |s| serde_json::from_value(s).unwrap()),
        balance: part("balance").map_or_else(Default::default, |s| serde_json::from_value(s).unwrap()),
        sampling: part("sampling").map_or_else(Default::default, |s| serde_json::from_value(s).unwrap()),
        phases: part("phases").map_or_else(Default::default, |s| serde_json::from_value(s).unwrap()),
        pruning: part("pruning").map(|p| serde_json::from_value(p).unwrap()),
        orders: part("orders").map_or_else(Default::default, |s| serde_json::from_value(s).unwrap()),
        cache_frozen: json.get("cache_frozen").is_some_and(|c| c == true),
        fresh_decoder: false,
    }
}

fn text(words: &[&str]) -> Value {
    Value::Text(words.join(" "))
}

fn list(words: &[&str]) -> Value {
    Value::List(words.iter().map(|w| Value::Text((*w).into())).collect())
}

fn row(file: &str, line: usize, fields: Vec<(&str, Value)>) -> Row {
    let file: Arc<Path> = Arc::from(Path::new(file));
    Row { place: Place { file, line }, fields: fields.into_iter().map(|(n, v)| (Arc::from(n), v)).collect() }
}

/// Rows with a topic that follows from their words, and a tag per word. Every fifth row has no topic.
fn chat(split: Split, rows: usize) -> Arc<[Row]> {
    let seed = split as usize * 1000;
    let make = |i: usize| {
        let length = 2 + (i * 7 + seed) % 6;
        let words: Vec<&str> = (0..length).map(|j| WORDS[(i * 5 + j * j + seed / 7) % WORDS.len()]).collect();
        let tags: Vec<&str> =
            words.iter().map(|w| if ["Mia", "Omar"].contains(w) { "B-PER" } else { "O" }).collect();
        let topic = if words.contains(&"goal") || words.contains(&"match") { "sport" } else { "other" };
        let mut fields = vec![("words", list(&words)), ("tags", list(&tags))];
        if i % 5 != 4 {
            fields.push(("topic", Value::Text(topic.into())));
        }
        row(&format!("chat/{split}.jsonl"), i + 1, fields)
    };
    (0..rows).map(make).collect()
}

fn reviews(split: Split, rows: usize) -> Arc<[Row]> {
    let make = |i: usize| {
        let words: Vec<&str> = (0..2 + i % 4).map(|j| WORDS[(i * 3 + j * 2) % WORDS.len()]).collect();
        let polarity = Value::Bool(words.contains(&"🙂"));
        row(&format!("reviews/{split}.jsonl"), i + 1, vec![("text", text(&words)), ("polarity", polarity)])
    };
    (0..rows).map(make).collect()
}

/// The devices that are built in, the processor first.
pub fn devices() -> Vec<Device> {
    DeviceName::BUILT.iter().map(|name| name.open().unwrap()).collect()
}

/// Two corpora, three tasks: topic and tags read the same rows, polarity others. On the processor.
pub fn job(backbone: Json, seed: u64) -> Job {
    job_on(&Device::flex(), backbone, seed)
}

/// The same on any device.
pub fn job_on(device: &Device, backbone: Json, seed: u64) -> Job {
    job_with(device, backbone, seed, 0.1)
}

/// The same with another dropout of the heads.
pub fn job_with(device: &Device, backbone: Json, seed: u64, dropout: f64) -> Job {
    let device = device.clone().autodiff();
    let configs = [
        ("topic", json!({"corpus": "chat", "classification": {"tokens": "words", "label": "topic"}})),
        ("tags", json!({"corpus": "chat", "tagging": {"tokens": "words", "tags": "tags"}})),
        (
            "polarity",
            json!({"corpus": "reviews", "importance": 2.0, "head_learning_rate": 1e-2,
                   "classification": {"text": "text", "label": "polarity", "label_smoothing": 0.1}}),
        ),
    ];
    let configs = configs.map(|(name, mut config): (&str, Json)| {
        let kind = if config["tagging"].is_object() { "tagging" } else { "classification" };
        config[kind]["dropout"] = dropout.into();
        (name, config)
    });
    let tokenizer = Tokenizer::train(&WORDS, &TokenizerConfig { size: 300, ..Default::default() }).unwrap();
    let mut parameters = Parameters::new(&device, seed);
    let scratch = serde_json::from_value(backbone).unwrap();
    let backbone = model::build(&scratch, tokenizer.vocabulary(), [0, 1], &mut parameters).unwrap();
    let trunk = Trunk::new(backbone);
    let mut views = Views::default();
    for (split, into) in [(Split::Train, &mut views.train), (Split::Validation, &mut views.validation)] {
        let sizes = if split == Split::Train { (60, 30) } else { (20, 10) };
        let view = |corpus: &str, input, rows| View::new(corpus, input, rows, &tokenizer, 32, None).unwrap();
        into.push(view("chat", InputField::Words("words".into()), chat(split, sizes.0)));
        into.push(view("reviews", InputField::Text("text".into()), reviews(split, sizes.1)));
    }
    let mut tasks = Vec::new();
    for (name, config) in configs {
        let table: TaskTable = serde_json::from_value(config).unwrap();
        let mut kind = table.build(name).unwrap();
        if trunk.spec().is_causal() {
            kind.set_causal(None).unwrap();
        }
        let view = usize::from(table.config.corpus == "reviews");
        let label_space = kind.fit_labels(&views.train[view].rows).unwrap();
        let task = HeadlessTask { name: name.into(), table, kind, label_space, view };
        let mut slot = task.build(&trunk, None, &tokenizer, &mut parameters).unwrap();
        slot.head.encode_targets(Split::Train, &views.train[view]).unwrap();
        slot.head.encode_targets(Split::Validation, &views.validation[view]).unwrap();
        tasks.push(slot);
    }
    let datasets = Vec::new();
    Job {
        model: Model {
            parameters,
            trunk,
            decoder: None,
            tokenizer,
            datasets,
            max_length: 32,
            same_text: Vec::new(),
            tasks,
        },
        views,
    }
}

/// Every weight, bit for bit.
pub fn bits(model: &Model) -> Vec<(String, Vec<u32>)> {
    let one =
        |(i, name): (usize, String)| (name, model.parameters.data(i).into_iter().map(f32::to_bits).collect());
    model.parameters.iter().map(|p| p.name.clone()).enumerate().map(one).collect()
}

/// Runs a job and records its events, in `metrics.jsonl` too; stops it after `stop_after` steps in all.
pub fn record(
    job: &mut Job,
    settings: &Settings,
    dir: &Path,
    start: Start,
    stop_after: Option<usize>,
) -> (Result<Outcome, TrainError>, Vec<Event>) {
    record_in(None, job, settings, dir, start, stop_after)
}

/// [`record`] under a memory limit.
pub fn record_in(
    memory_limit: Option<&Arc<dyn MemoryLimit>>,
    job: &mut Job,
    settings: &Settings,
    dir: &Path,
    start: Start,
    stop_after: Option<usize>,
) -> (Result<Outcome, TrainError>, Vec<Event>) {
    in_pool(|| {
        let stop = AtomicBool::new(false);
        let mut events = Vec::new();
        let mut metrics =
            OpenOptions::new().create(true).append(true).open(RunDir::new(dir).metrics()).unwrap();
        let ticks = Cell::new(0);
        let clock = || {
            ticks.set(ticks.get() + 1);
            Duration::from_millis(ticks.get())
        };
        let mut emit = |event: &Event| {
            if matches!(event, Event::Step(s) if Some(s.step) == stop_after) {
                stop.store(true, Ordering::Relaxed);
            }
            events.push(event.clone());
            writeln!(metrics, "{}", serde_json::to_string(event).unwrap()).unwrap();
        };
        let hooks = RunHooks { stop: &stop, clock: &clock, memory_limit, emit: &mut emit };
        let outcome = run(job, settings, &RunDir::new(dir), start, hooks);
        (outcome, events)
    })
}

/// Computes in a pool of one thread, unless the test has chosen a pool: outside of one, each operation would be handed over to another
/// thread, and there is a test on every core.
fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}
