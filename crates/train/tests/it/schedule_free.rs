//! What an optimizer without a schedule averages is what is evaluated and saved; steps are made at other weights.

use crate::job::{bag, bits, job, record, settings};
use burn::tensor::Device;
use data::Split;
use polytask_train::{Event, Model, Outcome, RunDir, Start, evaluate};
use safetensors::SafeTensors;
use serde_json::json;
use std::{collections::BTreeMap, path::Path, sync::atomic::AtomicBool};

/// The tensors of a file by name.
fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.iter().map(|(name, tensor)| (name.to_owned(), values(tensor.data()))).collect()
}

/// Trains to the end, and compares the result with the average that its checkpoint gives; the step of the result.
fn result_of(result: &str) -> usize {
    let settings = settings(json!({
        "train": {"max_steps": 8, "epochs": 9, "tokens_per_batch": 128, "eval_steps": 2, "export": result,
                  "save_total_limit": 9},
        "optimizer": {"schedule_free_adamw": {"learning_rate": 1e-3, "beta": 0.8}},
    }));
    let dir = tempfile::tempdir().unwrap();
    let mut trained = job(bag(), 17);
    trained.model.tasks.iter_mut().for_each(|task| task.training.head_learning_rate = None);
    let (outcome, events) = record(&mut trained, &settings, dir.path(), Start::Fresh, None);
    let Outcome::Finished { step, model } = outcome.unwrap() else { panic!("not finished") };

    let checkpoint = RunDir::new(dir.path()).checkpoint(step);
    let steps_are_made_at = tensors(&checkpoint.join("weights.safetensors"));
    let state = tensors(&checkpoint.join("optimizer.safetensors"));
    let mut difference = 0.0f64;
    for (index, parameter) in trained.model.parameters.iter().enumerate() {
        let (y, z) = (&steps_are_made_at[&parameter.name], &state[&format!("{}.first", parameter.name)]);
        for ((x, y), z) in trained.model.parameters.data(index).iter().zip(y).zip(z) {
            let [x, y, z] = [x, y, z].map(|value| f64::from(*value));
            assert!((x - (y - 0.2 * z) / 0.8).abs() < 1e-6, "{}: {x}, y {y}, z {z}", parameter.name);
            difference = difference.max((x - y).abs());
        }
    }
    assert!(difference > 1e-5, "the average is the weights that steps are made at: {difference}");

    let (mut opened, _, _) = Model::open(&model, &Device::flex()).unwrap();
    assert!(bits(&opened) == bits(&trained.model));
    let of_step = |e: &Event| match e {
        Event::Evaluated(e) if e.step == step => Some(e.clone()),
        _ => None,
    };
    let evaluated = events.iter().find_map(of_step).unwrap();
    let views = &trained.views.validation;
    for (slot, trained) in opened.tasks.iter_mut().zip(&trained.model.tasks) {
        slot.view = trained.view;
        slot.head.encode_targets(Split::Validation, &views[slot.view]).unwrap();
    }
    let again = evaluate(&opened, Split::Validation, views, 128, &AtomicBool::new(false)).unwrap();
    for scored in &again.tasks {
        // Of the same weights: at the others the loss is off by far more.
        assert!((scored.loss.unwrap() - evaluated.losses[&scored.task]).abs() < 1e-6, "{}", scored.task);
    }
    step
}

#[test]
fn the_average_is_evaluated_and_saved() {
    assert_eq!(result_of("last"), 8);
    // Restored from its checkpoint: an evaluation before the last stays the best.
    assert!(result_of("best") < 8);
}
