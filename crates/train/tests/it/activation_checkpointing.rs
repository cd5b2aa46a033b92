//! Activation checkpointing: the same model, to the bit, frozen lower layers or not.

use crate::job::{bag, bert, bits, job, record, settings};
use model::Freeze;
use polytask_train::Start;
use serde_json::json;

#[test]
fn the_same_weights_to_the_bit() {
    let settings = settings(json!({"train": {"max_steps": 12, "tokens_per_batch": 64, "seed": 5}}));
    let cases = [(bert(), None), (bert(), Some(0)), (bert(), Some(1)), (bag(), None)];
    for (backbone, frozen) in cases {
        let [kept, again] = [false, true].map(|checkpointing| {
            let mut job = job(backbone.clone(), 5);
            let model = &mut job.model;
            if let Some(layers) = frozen {
                let freeze = Freeze { layers, cache: false };
                freeze.apply(&mut model.trunk, &mut model.parameters).unwrap();
            }
            model.trunk.set_activation_checkpointing(checkpointing);
            let dir = tempfile::tempdir().unwrap();
            record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
            bits(&job.model)
        });
        assert!(kept == again, "{backbone}, frozen: {frozen:?}");
    }
}
