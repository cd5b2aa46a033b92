//! Class metrics against scikit-learn's answers (`scripts/make_metric_fixtures.py`).

use polytask_metrics::{accuracy, class_f1, macro_f1, matthews, micro_f1};
use serde_json::Value;

fn close(name: &str, case: usize, ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().expect("a number");
    assert!((ours - theirs).abs() <= 1e-12, "case {case}, {name}: {ours}, scikit-learn says {theirs}");
}

fn labels(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|v| v.as_u64().expect("a class") as u32).collect()
}

#[test]
fn equal_scikit_learn() {
    let cases: Value =
        serde_json::from_str(include_str!("../fixtures/classes.json")).expect("the fixture is JSON");
    let cases = cases.as_array().expect("a list of cases");
    assert!(cases.len() >= 60);
    for (i, case) in cases.iter().enumerate() {
        let (gold, predicted) = (labels(&case["gold"]), labels(&case["predicted"]));
        let classes = case["classes"].as_u64().expect("a number") as usize;
        close("accuracy", i, accuracy(&gold, &predicted), &case["accuracy"]);
        close("macro F1", i, macro_f1(&gold, &predicted, classes), &case["macro_f1"]);
        close("micro F1", i, micro_f1(&gold, &predicted), &case["micro_f1"]);
        close("Matthews", i, matthews(&gold, &predicted), &case["matthews"]);
        let scores = class_f1(&gold, &predicted, classes);
        assert_eq!(scores.len(), classes);
        for (c, score) in scores.iter().enumerate() {
            close("precision", i, score.precision, &case["precision"][c]);
            close("recall", i, score.recall, &case["recall"][c]);
            close("F1", i, score.f1, &case["f1"][c]);
            close("support", i, score.support as f64, &case["support"][c]);
        }
    }
}

#[test]
fn no_rows_score_zero() {
    assert_eq!(accuracy(&[], &[]), 0.0);
    assert_eq!(macro_f1(&[], &[], 3), 0.0);
    assert_eq!(macro_f1(&[], &[], 0), 0.0);
    assert_eq!(micro_f1(&[], &[]), 0.0);
    assert_eq!(matthews(&[], &[]), 0.0);
    assert!(class_f1(&[], &[], 2).iter().all(|s| s.f1 == 0.0 && s.support == 0));
}

/// By hand: 1,000,000 rows, 5 of them wrong. c = 999,995, t = (999,990, 10), p = (999,995, 5):
/// (1e6 * 999995 - 999990 * 999995 - 50) / sqrt((1e12 - 999995^2 - 25) (1e12 - 999990^2 - 100)).
#[test]
fn matthews_keeps_its_digits_on_many_rows() {
    let gold: Vec<u32> = (0..1_000_000).map(|i| u32::from(i < 10)).collect();
    let predicted: Vec<u32> = (0..1_000_000).map(|i| u32::from(i < 5)).collect();
    let expected = 9_999_900.0 / (9_999_950.0f64 * 19_999_800.0).sqrt();
    assert!((matthews(&gold, &predicted) - expected).abs() < 1e-14, "{}", matthews(&gold, &predicted));
}

#[test]
fn the_catalogue_documents_every_metric() {
    for (name, source) in polytask_metrics::CATALOGUE {
        let first = source.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 20, "{name}: {first}");
        assert!(source.contains("//! Formula") && source.contains("//! When to use"), "{name}");
    }
}
