//! Metrics of answers against those of SQuAD's evaluation script (`scripts/make_metric_fixtures.py`).

use polytask_metrics::{answer_f1, exact_match};
use serde_json::Value;

#[test]
fn equal_squads_script() {
    let cases: Value =
        serde_json::from_str(include_str!("../fixtures/answers.json")).expect("the fixture is JSON");
    let cases = cases.as_array().expect("a list of cases");
    assert!(cases.len() >= 40);
    for (i, case) in cases.iter().enumerate() {
        let gold: Vec<Vec<String>> = serde_json::from_value(case["gold"].clone()).expect("answers");
        let predicted: Vec<String> = serde_json::from_value(case["predicted"].clone()).expect("answers");
        for (name, ours) in
            [("exact_match", exact_match(&gold, &predicted)), ("answer_f1", answer_f1(&gold, &predicted))]
        {
            let theirs = case[name].as_f64().expect("a number");
            assert!((ours - theirs).abs() <= 1e-12, "case {i}, {name}: {ours}, SQuAD's script says {theirs}");
        }
    }
}

#[test]
fn no_questions_score_zero() {
    assert_eq!((exact_match(&[], &[]), answer_f1(&[], &[])), (0.0, 0.0));
}
