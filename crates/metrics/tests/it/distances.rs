//! Logistic regression and the proxy A-distance against scikit-learn's answers (`scripts/make_distance_fixtures.py`).

use polytask_metrics::{FEWEST_POINTS, Logistic, proxy_a_distance};
use serde_json::{Value, from_value};

fn cases(json: &str) -> Vec<Value> {
    serde_json::from_str(json).expect("the fixture is a list")
}

#[test]
fn planes_equal_scikit_learn() {
    let cases = cases(include_str!("../fixtures/logistic.json"));
    assert_eq!(cases.len(), 27);
    for (i, case) in cases.iter().enumerate() {
        let points: Vec<Vec<f64>> = from_value(case["points"].clone()).unwrap();
        let classes: Vec<bool> = from_value(case["classes"].clone()).unwrap();
        let plane = Logistic::fit(&points, &classes, case["c"].as_f64().unwrap());
        let theirs: Vec<f64> = from_value(case["weights"].clone()).unwrap();
        let intercept = case["intercept"].as_f64().unwrap();
        let largest = theirs.iter().fold(1.0f64, |most, x| most.max(x.abs()));
        for (ours, theirs) in plane.weights.iter().zip(&theirs).chain([(&plane.intercept, &intercept)]) {
            assert!((ours - theirs).abs() < 1e-6 * largest, "case {i}: {ours}, scikit-learn says {theirs}");
        }
        assert!((plane.score(&vec![0.0; theirs.len()]) - intercept).abs() < 1e-6 * largest);
    }
}

#[test]
fn distances_equal_those_made_with_scikit_learn() {
    let cases = cases(include_str!("../fixtures/distances.json"));
    assert_eq!(cases.len(), 8);
    for (i, case) in cases.iter().enumerate() {
        let set = |name: &str| -> Vec<Vec<f32>> { from_value(case[name].clone()).unwrap() };
        let found = proxy_a_distance(&set("first"), &set("second")).unwrap();
        let number = |name: &str| case[name].as_f64().unwrap();
        assert!((found.error - number("error")).abs() < 1e-12, "case {i}: {found:?}, {}", case["error"]);
        assert!((found.distance - number("distance")).abs() < 1e-12, "case {i}: {found:?}");
        assert_eq!(found.points as f64, number("points"));
        let back = proxy_a_distance(&set("second"), &set("first")).unwrap();
        assert_eq!(back.error, found.error, "case {i}: the same from either side");
    }
}

#[test]
fn same_sets_are_near_and_others_far() {
    let set = |shift: f32| -> Vec<Vec<f32>> {
        (0..200).map(|i| vec![(i * 7919 % 211) as f32 / 211.0 + shift, (i * 104_729 % 197) as f32]).collect()
    };
    let (near, far) = (proxy_a_distance(&set(0.0), &set(0.0)), proxy_a_distance(&set(0.0), &set(900.0)));
    assert_eq!((near.unwrap().distance, far.unwrap().distance), (0.0, 2.0));
    assert_eq!(far.unwrap().uncertainty, 0.0);
}

#[test]
fn nothing_is_said_of_too_few_points_and_no_number_is_nan() {
    let set = |count: usize, x: f32| vec![vec![x, 1.0]; count];
    let (few, enough) = (FEWEST_POINTS - 1, FEWEST_POINTS);
    assert_eq!(proxy_a_distance(&set(few, 0.0), &set(enough, 1.0)), None);
    assert_eq!(proxy_a_distance(&[], &[]), None);
    for odd in [f32::NAN, f32::INFINITY] {
        assert_eq!(proxy_a_distance(&set(enough, odd), &set(enough, 1.0)), None);
    }
    for (one, other, distance) in [(3.0, 3.0, 0.0), (0.0, f32::MAX, 2.0), (1e-30, 2e-30, 2.0)] {
        let found = proxy_a_distance(&set(enough, one), &set(enough, other)).unwrap();
        assert_eq!(found.distance, distance, "{one} and {other}");
    }
    // Without features all points are the same.
    assert_eq!(proxy_a_distance(&vec![vec![]; enough], &vec![vec![]; enough]).unwrap().distance, 0.0);
    let none = Logistic::fit(&[], &[], 1.0);
    assert_eq!((none.weights.len(), none.intercept), (0, 0.0));
    let one_class = Logistic::fit(&[vec![1.0], vec![2.0]], &[true, true], 1.0);
    assert!(one_class.score(&[1.5]) > 10.0 && one_class.score(&[1.5]).is_finite());
}
