//! States of whole rows: in the order that is asked for, whatever stands beside them in a pack, and with no token hidden.

mod job;

use data::{Hiding, View};
use job::{bag, bert, devices, job_on};
use polytask_train::pooled;

#[test]
fn states_belong_to_their_rows() {
    for device in devices() {
        for backbone in [bag(), bert()] {
            let job = job_on(&device, backbone, 17);
            let (model, view) = (&job.model, &job.views.train[0]);
            let rows = [31, 2, 0, 59, 2];
            let alone = pooled(model, view, &rows, 1);
            let together = pooled(model, view, &rows, 100_000);
            assert!(alone.iter().all(|state| state.len() == model.backbone.hidden()));
            for (alone, together) in alone.iter().flatten().zip(together.iter().flatten()) {
                assert!((alone - together).abs() < 1e-5, "{alone} and {together}");
            }
            assert_eq!(alone[1], alone[4]);
            assert_ne!(alone[0], alone[1]);
            let all = pooled(model, view, &(0..60).collect::<Vec<_>>(), 64);
            let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(rows.iter().zip(&alone).all(|(row, state)| near(&all[*row], state)));
        }
    }
}

#[test]
fn no_token_is_hidden_and_no_row_is_no_fault() {
    let job = job_on(&devices()[0], bag(), 17);
    let view = &job.views.train[1];
    let hiding = Hiding::new(50, &job.model.tokenizer).unwrap();
    let hidden = View { hiding: Some(hiding), ..view.clone() };
    assert_eq!(pooled(&job.model, &hidden, &[0, 1, 2], 64), pooled(&job.model, view, &[0, 1, 2], 64));
    assert!(pooled(&job.model, view, &[], 64).is_empty());
}
