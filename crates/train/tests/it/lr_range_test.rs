//! The range test: every sort of balancer and optimizer, and a job that is afterwards what it was.

use crate::job::{bag, bits, job, settings};
use polytask_train::{LrRange, lr_range_test};
use serde_json::json;

#[test]
fn the_job_is_what_it_was_and_the_same_test_finds_the_same() {
    for (optimizer, balance) in [
        (json!({"adamw": {}}), json!({"equal": {}})),
        (json!({"schedule_free_adamw": {}}), json!({"upgrad": {}})),
        (json!({"sgd": {}}), json!({"auto_lambda": {}})),
    ] {
        let settings = settings(json!({
            "train": {"epochs": 1, "tokens_per_batch": 100, "gradient_accumulation_steps": 2},
            "optimizer": optimizer, "balance": balance,
        }));
        let range = LrRange { steps: 60, from: 1e-6, to: 1e4 };
        let mut job = job(bag(), 17);
        let before = bits(&job.model);
        let test = lr_range_test(&mut job, &settings, &range).unwrap();
        assert!(bits(&job.model) == before);
        assert_eq!(lr_range_test(&mut job, &settings, &range).unwrap(), test);
        // More steps than an epoch has; far beyond what any optimizer bears.
        assert!(test.diverged.is_some(), "{:?}", test.trials.last());
        assert!(test.trials.len() > 20);
        assert!(test.trials[0].losses != test.trials[1].losses);
    }
}
