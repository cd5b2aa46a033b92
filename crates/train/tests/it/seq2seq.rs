//! A task that writes text, beside tasks that read the encoder alone.

use crate::job::{bag, bert, bits, job_with, record, settings};
use burn::tensor::Device;
use data::{Row, Split, Value as Field, View};
use model::DecoderConfig;
use polytask_train::{Event, HeadlessTask, Job, Model, ModelDecoder, Start, StepEvent, TaskTable, predict};
use serde_json::{Value, json};
use std::sync::Arc;
use tasks::Prediction;

fn t5() -> Value {
    json!({"t5": {"layers": 2, "hidden": 16, "heads": 2, "intermediate_size": 32, "dropout": 0.1}})
}

fn llama() -> Value {
    json!({"llama": {"layers": 2, "hidden": 16, "heads": 2, "kv_heads": 1, "dropout": 0.1}})
}

/// The rows of a view with their words in lower case and in reverse order.
fn reversed(view: &View) -> Arc<[Row]> {
    let of = |row: &Row| {
        let text = row.text("text").unwrap().unwrap().to_lowercase();
        let words: Vec<&str> = text.split(' ').rev().collect();
        let mut row = row.clone();
        row.fields.push(("reversed".into(), Field::Text(words.join(" "))));
        row
    };
    view.rows.iter().map(of).collect()
}

/// The small job, and the reviews written in reverse order; with a fresh decoder where the backbone has none.
fn writing_job(backbone: Value, writing: Value) -> Job {
    let mut job = job_with(&Device::flex(), backbone, 5, 0.1);
    let Model { trunk, tokenizer, parameters, .. } = &mut job.model;
    let fresh = DecoderConfig { layers: 1, heads: Some(2), ..DecoderConfig::default() };
    let causal = trunk.spec().is_causal();
    let fresh = (trunk.generator().is_none() && !causal).then_some(&fresh);
    let decoder = ModelDecoder::of(trunk, fresh, tokenizer, parameters).unwrap();
    let mut config = json!({"source": "text", "target": "reversed", "decoding": {"max_length": 60}});
    config.as_object_mut().unwrap().extend(writing.as_object().unwrap().clone());
    let table: TaskTable =
        serde_json::from_value(json!({"corpus": "reviews", "generation": config})).unwrap();
    let mut kind = table.build("write").unwrap();
    if causal {
        kind.set_causal(None).unwrap();
    }
    let input = kind.input();
    let task = HeadlessTask { name: "write".into(), table, kind, label_space: json!({}), view: 2 };
    let mut slot = task.build(trunk, decoder.as_ref(), tokenizer, parameters).unwrap();
    for (split, views) in
        [(Split::Train, &mut job.views.train), (Split::Validation, &mut job.views.validation)]
    {
        let rows = reversed(&views[1]);
        views.push(match causal {
            // Both texts in one row.
            true => View::new("reviews", input.clone(), rows, tokenizer, 200, None).unwrap(),
            false => View { rows, ..views[1].clone() },
        });
        slot.head.encode_targets(split, &views[2]).unwrap();
    }
    job.model.decoder = decoder;
    job.model.tasks.push(slot);
    job
}

fn ran(mut job: Job, json: Value) -> (Job, Vec<StepEvent>) {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, events) = record(&mut job, &settings(json), dir.path(), Start::Fresh, None);
    outcome.unwrap();
    let step = |event| if let Event::Step(step) = event { Some(step) } else { None };
    (job, events.into_iter().filter_map(step).collect())
}

/// On a T5, on a fresh decoder over a bag and over a transformer, on a decoder alone; by methods that look at losses, at gradients task by task, at
/// halves of the rows and ahead at validation rows; with a start vector of the task.
#[test]
fn writing_trains_beside_other_tasks_under_every_sort_of_method() {
    let without = json!({"label_smoothing": 0.0});
    for (backbone, writing) in [
        (t5(), json!({})),
        (bag(), json!({"start_vector": true})),
        (bert(), without),
        (llama(), json!({"label_smoothing": 0.1})),
    ] {
        for method in ["equal", "upgrad", "modo", "auto_lambda"] {
            let job = writing_job(backbone.clone(), writing.clone());
            let before = bits(&job.model);
            let train = json!({"epochs": 4, "tokens_per_batch": 200, "gradient_accumulation_steps": 2,
                               "seed": 3});
            let (job, steps) = ran(job, json!({"train": train, "balance": {method: {}}}));
            let losses: Vec<f64> = steps.iter().filter_map(|s| s.losses.get("write").copied()).collect();
            let what = format!("{method} on {backbone}");
            assert!(losses[losses.len() - 1] < losses[0], "{what}: {losses:?}");
            let after = bits(&job.model);
            let still: Vec<&String> =
                before.iter().zip(&after).filter(|(a, b)| a == b).map(|((name, _), _)| name).collect();
            assert!(still.is_empty(), "{what}: {still:?} did not move");
        }
    }
}

#[test]
fn runs_go_on_bit_for_bit() {
    for (backbone, method) in [(t5(), "equal"), (bert(), "upgrad"), (llama(), "upgrad")] {
        let settings = settings(json!({
            "train": {"epochs": 9, "max_steps": 12, "tokens_per_batch": 120,
                      "gradient_accumulation_steps": 2, "seed": 11},
            "balance": {method: {}},
        }));
        let run = |stops: &[Option<usize>]| {
            let dir = tempfile::tempdir().unwrap();
            let mut start = Start::Fresh;
            let mut last = None;
            for stop in stops {
                let mut job = writing_job(backbone.clone(), json!({}));
                record(&mut job, &settings, dir.path(), start, *stop).0.unwrap();
                (start, last) = (Start::Resume, Some(job));
            }
            bits(&last.unwrap().model)
        };
        assert!(run(&[None]) == run(&[Some(5), None]), "{method}: the result's weights differ");
    }
}

fn texts(model: &Model, view: &View) -> Vec<String> {
    let task = model.tasks.len() - 1;
    let text = |prediction| match prediction {
        Prediction::Text(answer) => answer.text,
        other => panic!("{other:?}"),
    };
    predict(model, &[task], view, 100).remove(0).into_iter().map(text).collect()
}

/// What is written after enough training is right, and a saved model writes the same.
#[test]
fn words_are_learned_in_reverse_order_and_a_saved_model_writes_them() {
    for (backbone, epochs, least) in [(t5(), 90, 0.9), (bert(), 10, 0.0), (llama(), 10, 0.0)] {
        let train = json!({"epochs": epochs, "tokens_per_batch": 100, "seed": 3, "eval_steps": 100_000});
        let optimizer = json!({"adamw": {"learning_rate": 5e-3}});
        let job = writing_job(backbone.clone(), json!({"label_smoothing": 0.0}));
        let (job, _) = ran(job, json!({"train": train, "optimizer": optimizer}));
        let view = &job.views.train[2];
        let written = texts(&job.model, view);
        // The vocabulary does not tell whether a space stood before a Chinese character.
        let letters = |text: &str| text.replace(' ', "");
        let right = |(row, text): &(&Row, &String)| {
            row.text("reversed").unwrap().as_deref().map(letters) == Some(letters(text.as_str()))
        };
        let count = view.rows.iter().zip(&written).filter(right).count();
        let share = count as f64 / view.rows.len() as f64;
        assert!(share >= least, "{backbone}: {share}: {written:?}");

        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("model");
        job.model.save(&folder, 1, Default::default()).unwrap();
        let (again, manifest, _) = Model::open(&folder, &Device::flex()).unwrap();
        let trunk = &job.model.trunk;
        assert_eq!(manifest.decoder.is_some(), trunk.generator().is_none() && !trunk.spec().is_causal());
        assert_eq!(texts(&again, view), written);
    }
}

#[test]
fn a_model_that_cannot_write_is_refused() {
    let mut job = job_with(&Device::flex(), bert(), 5, 0.1);
    let config = json!({"corpus": "reviews", "generation": {"source": "text", "target": "reversed"}});
    let table: TaskTable = serde_json::from_value(config).unwrap();
    let kind = table.build("write").unwrap();
    let task = HeadlessTask { name: "write".into(), table, kind, label_space: json!({}), view: 1 };
    let model = &mut job.model;
    let built = task.build(&model.trunk, None, &model.tokenizer, &mut model.parameters);
    let error = built.err().expect("an error");
    assert_eq!(
        error.to_string(),
        "task.write.generation: found a backbone without a decoder, expected a model that writes: \
         a Llama or another decoder, a T5, or `decoder = { layers = 3 }` in [model]"
    );
}
