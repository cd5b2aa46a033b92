//! Whole steps on every device against PyTorch: losses, gradient norms and final weights
//! (`scripts/make_training_fixture.py`).

use crate::job::{devices, record, settings};
use burn::tensor::Device;
use data::{Encoded, InputField, Place, Row, Split, Tokenizer, TokenizerConfig, Value, View};
use model::{Parameters, Trunk};
use polytask_train::{Event, HeadlessTask, Job, Model, Start, TaskSlot, TaskTable, Views};
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeMap, path::Path, sync::Arc};

#[derive(Deserialize)]
pub struct Fixture {
    vocabulary: usize,
    width: usize,
    pub steps: usize,
    pub warmup: f64,
    pub clip_norm: f64,
    pub learning_rate: f64,
    pub head_learning_rate: f64,
    tags_learning_rate: f64,
    pub weight_decay: f64,
    rows: Vec<Vec<u32>>,
    topics: Vec<Option<String>>,
    tags: Vec<Vec<String>>,
    initial: BTreeMap<String, Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    packs: usize,
    steps: Vec<Step>,
    weights: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Step {
    losses: BTreeMap<String, f64>,
    gradient_norm: f64,
}

/// The fixture's rows, one word per token.
fn view(fixture: &Fixture) -> View {
    let list = |words: &[String]| Value::List(words.iter().cloned().map(Value::Text).collect());
    let file: Arc<Path> = Arc::from(Path::new("fixture.jsonl"));
    let row = |i: usize| {
        let words: Vec<String> = fixture.rows[i].iter().map(|id| format!("w{id}")).collect();
        let mut fields: Vec<(Arc<str>, Value)> =
            vec![("words".into(), list(&words)), ("tags".into(), list(&fixture.tags[i]))];
        fields.extend(fixture.topics[i].iter().map(|t| (Arc::from("topic"), Value::Text(t.clone()))));
        Row { place: Place { file: file.clone(), line: i + 1 }, fields }
    };
    let mut encoded = Encoded { offsets: vec![0], ..Default::default() };
    for ids in &fixture.rows {
        encoded.ids.extend(ids);
        encoded.word_ids.extend(0..ids.len() as u32);
        encoded.offsets.push(encoded.ids.len());
        encoded.truncated.push(0);
    }
    let rows: Arc<[Row]> = (0..fixture.rows.len()).map(row).collect();
    View { corpus: "fixture".into(), input: InputField::Words("words".into()), rows, encoded, masking: None }
}

pub fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../fixtures/training.json")).unwrap()
}

pub fn fixture_job(device: &Device, fixture: &Fixture) -> Job {
    let view = view(fixture);
    let mut parameters = Parameters::new(&device.clone().autodiff(), 1);
    let scratch = json!({"bag": {"width": fixture.width, "window": 0, "dropout": 0.0}});
    let scratch = serde_json::from_value(scratch).unwrap();
    let backbone = model::build(&scratch, fixture.vocabulary, [0, 1], &mut parameters).unwrap();
    let trunk = Trunk::new(backbone);
    let configs = [
        (
            "topic",
            json!({"corpus": "fixture", "classification": {"tokens": "words", "label": "topic",
                                                           "dropout": 0.0}}),
        ),
        (
            "tags",
            json!({"corpus": "fixture", "head_learning_rate": fixture.tags_learning_rate,
                   "tagging": {"tokens": "words", "tags": "tags", "dropout": 0.0}}),
        ),
    ];
    let tokenizer = Tokenizer::train(&["a"], &TokenizerConfig { size: 300, ..Default::default() }).unwrap();
    let slot = |(name, config): (&str, serde_json::Value)| {
        let table: TaskTable = serde_json::from_value(config).unwrap();
        let kind = table.build(name).unwrap();
        let label_space = kind.fit_labels(&view.rows).unwrap();
        let task = HeadlessTask { name: name.into(), table, kind, label_space, view: 0 };
        let mut slot = task.build(&trunk, None, &tokenizer, &mut parameters).unwrap();
        slot.head.encode_targets(Split::Train, &view).unwrap();
        slot
    };
    let tasks: Vec<TaskSlot> = configs.into_iter().map(slot).collect();
    for (name, values) in &fixture.initial {
        let index = parameters.find(name).unwrap_or_else(|| panic!("no parameter {name}"));
        parameters.set_data(index, values.clone()).unwrap();
    }
    let datasets = Vec::new();
    let model = Model {
        parameters,
        trunk,
        decoder: None,
        tokenizer,
        max_length: 16,
        datasets,
        same_text: Vec::new(),
        tasks,
    };
    Job { model, views: Views { train: vec![view], ..Default::default() } }
}

#[test]
fn steps_equal_pytorch() {
    let fixture = fixture();
    for (device, case) in devices().iter().flat_map(|d| fixture.cases.iter().map(move |case| (d, case))) {
        let one_row_a_batch = case.packs > 1;
        let settings = settings(json!({
            "train": {"epochs": fixture.steps, "max_grad_norm": fixture.clip_norm,
                      "gradient_accumulation_steps": case.packs,
                      "tokens_per_batch": if one_row_a_batch { 1 } else { 1000 }},
            "optimizer": {"adamw": {"learning_rate": fixture.learning_rate,
                                    "weight_decay": fixture.weight_decay,
                                    "head_learning_rate": fixture.head_learning_rate}},
            "schedule": {"linear": {"warmup_ratio": fixture.warmup}},
        }));
        let mut job = fixture_job(device, &fixture);
        let dir = tempfile::tempdir().unwrap();
        let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
        outcome.unwrap();
        let steps: Vec<_> =
            events.iter().filter_map(|e| if let Event::Step(s) = e { Some(s) } else { None }).collect();
        assert_eq!(steps.len(), case.steps.len());
        for (found, expected) in steps.iter().zip(&case.steps) {
            close(found.gradient_norm, expected.gradient_norm, 1e-4, "gradient norm");
            for (task, loss) in &expected.losses {
                close(found.losses[task], *loss, 1e-4, task);
            }
        }
        for (name, expected) in &case.weights {
            let found = job.model.parameters.data(job.model.parameters.find(name).unwrap());
            for (found, expected) in found.iter().zip(expected) {
                close(f64::from(*found), *expected, 2e-4, name);
            }
        }
    }
}

fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let most = tolerance * expected.abs().max(1.0);
    assert!((found - expected).abs() <= most, "{what}: {found}, PyTorch has {expected}");
}
