//! Metrics of sets of labels against scikit-learn's answers (`scripts/make_metric_fixtures.py`).

use polytask_metrics::{label_macro_f1, label_micro_f1, sample_f1};
use serde_json::Value;

#[test]
fn equal_scikit_learn() {
    let cases: Value =
        serde_json::from_str(include_str!("../fixtures/sets.json")).expect("the fixture is JSON");
    let cases = cases.as_array().expect("a list of cases");
    assert!(cases.len() >= 40);
    for (i, case) in cases.iter().enumerate() {
        let sets =
            |name: &str| -> Vec<Vec<u32>> { serde_json::from_value(case[name].clone()).expect("sets") };
        let (gold, predicted) = (sets("gold"), sets("predicted"));
        let labels = case["labels"].as_u64().expect("a number") as usize;
        for (name, ours) in [
            ("macro_f1", label_macro_f1(&gold, &predicted, labels)),
            ("micro_f1", label_micro_f1(&gold, &predicted, labels)),
            ("sample_f1", sample_f1(&gold, &predicted)),
        ] {
            let theirs = case[name].as_f64().expect("a number");
            assert!((ours - theirs).abs() <= 1e-12, "case {i}, {name}: {ours}, scikit-learn says {theirs}");
        }
    }
}

#[test]
fn no_rows_score_zero() {
    assert_eq!((label_macro_f1(&[], &[], 0), label_macro_f1(&[], &[], 3)), (0.0, 0.0));
    assert_eq!((label_micro_f1(&[], &[], 3), sample_f1(&[], &[])), (0.0, 0.0));
}
