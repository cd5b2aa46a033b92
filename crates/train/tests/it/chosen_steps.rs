//! Steps on chosen rows: in packs of any kind the trainer's losses, and training that comes on.

use crate::job::{bag, bits, job, job_with, settings};
use burn::tensor::Device;
use data::RowRef;
use polytask_train::ChosenSteps;
use serde_json::json;
use std::collections::BTreeMap;

/// The first rows of every training view, a list each.
fn rows(job: &polytask_train::Job, most: usize) -> Vec<Vec<RowRef>> {
    let of = |(view, found): (usize, &data::View)| {
        let rows = 0..found.encoded.rows().min(most) as u32;
        rows.map(|row| RowRef { view: view as u32, row }).collect()
    };
    job.views.train.iter().enumerate().map(of).collect()
}

#[test]
fn losses_do_not_depend_on_how_rows_lie_in_packs_and_fall() {
    let settings = settings(json!({ "train": {}, "optimizer": { "adamw": { "learning_rate": 1e-2 } } }));
    let losses = |mixed: bool| -> (Vec<BTreeMap<String, f64>>, _) {
        let still = json!({ "bag": { "width": 16, "window": 1, "dropout": 0.0 } });
        let mut job = job_with(&Device::flex(), still, 17, 0.0);
        let packs = rows(&job, 12);
        assert!(packs.len() > 1, "rows of several corpora");
        let packs = if mixed { vec![packs.concat()] } else { packs };
        let mut steps = ChosenSteps::new(&mut job, &settings).unwrap();
        let found = (0..30).map(|_| steps.step(&packs).unwrap()).collect();
        (found, bits(&job.model))
    };
    let ((mixed, weights), (again, weights_again)) = (losses(true), losses(true));
    assert!(mixed == again && weights == weights_again, "the same steps are the same to the bit");
    let (by_corpus, _) = losses(false);
    assert_eq!(mixed[0].keys().collect::<Vec<_>>(), by_corpus[0].keys().collect::<Vec<_>>());
    for (task, loss) in &mixed[0] {
        let other = by_corpus[0][task];
        assert!((loss - other).abs() < 1e-4 * loss.abs(), "{task}: {loss} in one pack, {other} in several");
    }
    let sum = |of: &BTreeMap<String, f64>| of.values().sum::<f64>();
    assert!(sum(&mixed[29]) < 0.9 * sum(&mixed[0]), "{:?}", mixed[29]);
}

#[test]
fn methods_that_look_ahead_are_refused() {
    let mut job = job(bag(), 17);
    let settings = settings(json!({ "balance": { "auto_lambda": {} } }));
    let error = ChosenSteps::new(&mut job, &settings).err().unwrap().to_string();
    assert!(error.contains("auto_lambda") && error.contains("looks ahead"), "{error}");
}
