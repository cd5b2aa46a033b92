//! States of whole rows: in the order that is asked for, whatever stands beside them in a pack, and with no token masked.

use crate::job::{bag, bert, devices, job_on};
use data::{TokenMasking, View};
use polytask_train::mean_pooled_states;

#[test]
fn states_belong_to_their_rows() {
    for device in devices() {
        for backbone in [bag(), bert()] {
            let job = job_on(&device, backbone, 17);
            let (model, view) = (&job.model, &job.views.train[0]);
            let rows = [31, 2, 0, 59, 2];
            let alone = mean_pooled_states(model, view, &rows, 1);
            let joint = mean_pooled_states(model, view, &rows, 100_000);
            assert!(alone.iter().all(|state| state.len() == model.trunk.hidden()));
            for (alone, joint) in alone.iter().flatten().zip(joint.iter().flatten()) {
                assert!((alone - joint).abs() < 1e-5, "{alone} and {joint}");
            }
            assert_eq!(alone[1], alone[4]);
            assert_ne!(alone[0], alone[1]);
            let all = mean_pooled_states(model, view, &(0..60).collect::<Vec<_>>(), 64);
            let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(rows.iter().zip(&alone).all(|(row, state)| near(&all[*row], state)));
        }
    }
}

#[test]
fn no_token_is_masked_and_no_row_is_no_error() {
    let job = job_on(&devices()[0], bag(), 17);
    let view = &job.views.train[1];
    let masking = TokenMasking::new(50, &job.model.tokenizer).unwrap();
    let masked = View { masking: Some(masking), ..view.clone() };
    let states = |view: &View| mean_pooled_states(&job.model, view, &[0, 1, 2], 64);
    assert_eq!(states(&masked), states(view));
    assert!(mean_pooled_states(&job.model, view, &[], 64).is_empty());
}
