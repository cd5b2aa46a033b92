//! Metrics of numbers and of ordered classes against scipy's and scikit-learn's answers (`scripts/make_metric_fixtures.py`).

use polytask_metrics::{mean_absolute_error, pearson, quadratic_kappa, rmse, spearman};
use serde_json::Value;

fn cases(json: &str) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(json).expect("the fixture is a list");
    assert!(cases.len() >= 30);
    cases
}

fn close(name: &str, case: usize, ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().expect("a number");
    // A correlation of numbers with a large offset has fewer digits.
    assert!((ours - theirs).abs() <= 1e-9, "case {case}, {name}: {ours}, the reference says {theirs}");
}

#[test]
fn numbers_equal_scipy() {
    for (i, case) in cases(include_str!("../fixtures/numbers.json")).iter().enumerate() {
        let side = |name: &str| -> Vec<f64> { serde_json::from_value(case[name].clone()).expect("numbers") };
        let (gold, predicted) = (side("gold"), side("predicted"));
        close("Pearson", i, pearson(&gold, &predicted), &case["pearson"]);
        close("Spearman", i, spearman(&gold, &predicted), &case["spearman"]);
        close("RMSE", i, rmse(&gold, &predicted), &case["rmse"]);
    }
}

#[test]
fn orders_equal_scikit_learn() {
    for (i, case) in cases(include_str!("../fixtures/orders.json")).iter().enumerate() {
        let side = |name: &str| -> Vec<u32> { serde_json::from_value(case[name].clone()).expect("classes") };
        let (gold, predicted) = (side("gold"), side("predicted"));
        close("kappa", i, quadratic_kappa(&gold, &predicted), &case["quadratic_kappa"]);
        close("error", i, mean_absolute_error(&gold, &predicted), &case["mean_absolute_error"]);
    }
}

#[test]
fn no_score_is_nan() {
    let rising = [1.0, 2.0, 3.0];
    for odd in [[f64::NAN, 1.0, 2.0], [f64::INFINITY, 1.0, 2.0], [7.0; 3], [f64::MAX, f64::MIN, 0.0]] {
        for (a, b) in [(rising, odd), (odd, rising), (odd, odd)] {
            assert!((-1.0..=1.0).contains(&pearson(&a, &b)) && (-1.0..=1.0).contains(&spearman(&a, &b)));
            assert!(rmse(&a, &b) >= 0.0);
        }
    }
    assert_eq!((pearson(&[], &[]), spearman(&[], &[]), rmse(&[], &[])), (0.0, 0.0, 0.0));
    assert_eq!((quadratic_kappa(&[], &[]), mean_absolute_error(&[], &[])), (0.0, 0.0));
    assert!((pearson(&[1e200, 2e200, 4e200], &[1e-200, 2e-200, 4e-200]) - 1.0).abs() < 1e-12);
}
