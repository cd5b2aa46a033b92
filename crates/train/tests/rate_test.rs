//! The range test: every sort of balancer and optimizer, and a job that is afterwards what it was.

mod job;

use job::{bag, bits, job, settings};
use polytask_train::{RateRange, test_rates};
use serde_json::json;

#[test]
fn the_job_is_what_it_was_and_the_same_test_finds_the_same() {
    for (optimizer, balance) in [
        (json!({"adamw": {}}), json!({"equal": {}})),
        (json!({"schedule_free_adamw": {}}), json!({"upgrad": {}})),
        (json!({"sgd": {}}), json!({"auto_lambda": {}})),
    ] {
        let settings = settings(json!({
            "train": {"epochs": 1, "tokens_per_step": 100, "accumulate": 2},
            "optimizer": optimizer, "balance": balance,
        }));
        let range = RateRange { steps: 60, from: 1e-6, to: 1e4 };
        let mut job = job(bag(), 17);
        let before = bits(&job.model);
        let test = test_rates(&mut job, &settings, &range).unwrap();
        assert!(bits(&job.model) == before);
        assert_eq!(test_rates(&mut job, &settings, &range).unwrap(), test);
        // More steps than an epoch has; far beyond what any optimizer bears.
        assert!(test.diverged.is_some(), "{:?}", test.tried.last());
        assert!(test.tried.len() > 20);
        assert!(test.tried[0].losses != test.tried[1].losses);
    }
}
