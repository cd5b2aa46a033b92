//! The same run on every device: the losses and weights of the processor, dropout included.

use crate::job::{bert, devices, job_on, record, settings};
use burn::tensor::Device;
use polytask_train::{Event, Start};
use serde_json::json;

/// Losses and norm of the gradient of every step, and the weights after the last.
fn trained(device: &Device) -> (Vec<f64>, Vec<f32>) {
    let settings = settings(json!({
        "train": {"max_steps": 12, "tokens_per_batch": 96, "gradient_accumulation_steps": 2, "seed": 5,
                  "export": "last"},
        "balance": {"uncertainty": {}},
    }));
    let (mut job, dir) = (job_on(device, bert(), 5), tempfile::tempdir().unwrap());
    let (outcome, events) = record(&mut job, &settings, dir.path(), Start::Fresh, None);
    outcome.unwrap();
    let of = |event: &Event| match event {
        Event::Step(step) => step.losses.values().copied().chain([step.gradient_norm]).collect(),
        _ => vec![],
    };
    let parameters = &job.model.parameters;
    let weights = (0..parameters.len()).flat_map(|i| parameters.data(i)).collect();
    (events.iter().flat_map(of).collect(), weights)
}

#[test]
fn every_device_trains_the_model_of_the_processor() {
    let (right, right_weights) = trained(&Device::flex());
    assert!(right.len() >= 12 * 3, "{right:?}");
    for device in &devices()[1..] {
        let (found, weights) = trained(device);
        assert_eq!(found.len(), right.len());
        let far = found.iter().zip(&right).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
        assert!(far < 1e-4, "{device:?}: losses or norms off by {far:e}");
        let square = |x: f32| f64::from(x) * f64::from(x);
        let difference: f64 = weights.iter().zip(&right_weights).map(|(a, b)| square(a - b)).sum();
        let far = (difference / right_weights.iter().map(|w| square(*w)).sum::<f64>()).sqrt();
        assert!(far < 1e-4, "{device:?}: weights off by {far:e}");
    }
}
