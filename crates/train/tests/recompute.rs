//! Layers computed again in the backward pass: the same model, to the bit, frozen lower layers or not.

mod job;

use job::{bag, bert, bits, job, record, settings};
use model::Freeze;
use polytask_train::Start;
use serde_json::json;

#[test]
fn the_same_weights_to_the_bit() {
    let settings = settings(json!({"train": {"max_steps": 12, "tokens_per_step": 64, "seed": 5}}));
    for frozen in [None, Some(0), Some(1)] {
        let [kept, again] = [false, true].map(|recompute| {
            let mut job = job(bert(), 5);
            let model = &mut job.model;
            if let Some(layers) = frozen {
                let freeze = Freeze { layers, cache: false };
                freeze.apply(&mut *model.backbone, &mut model.parameters).unwrap();
            }
            if recompute {
                model.backbone.recompute_layers().unwrap();
            }
            let dir = tempfile::tempdir().unwrap();
            record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
            bits(&job.model)
        });
        assert!(kept == again, "frozen: {frozen:?}");
    }
}

#[test]
fn a_bag_has_no_layers_to_compute_again() {
    let error = job(bag(), 5).model.backbone.recompute_layers().unwrap_err();
    assert!(error.to_string().contains("the backbone `bag` cannot compute its layers again"), "{error}");
}
