//! Relations and their scores against SemEval's scorer and scikit-learn (`scripts/make_relation_fixtures.py`).

use polytask_metrics::{Relation, Score, Span, directed_f1, relation_scores};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/relations.json")).expect("the fixture is JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// A system's confusion matrix on the test split as the official scorer printed it, and what the scorer made of it:
/// gold types in rows, and in the last column how many had the right type and the wrong direction.
const MATRIX: [(&str, [usize; 11]); 10] = [
    ("Cause-Effect", [296, 0, 0, 0, 9, 1, 0, 1, 2, 15, 4]),
    ("Component-Whole", [2, 209, 5, 3, 1, 9, 13, 5, 2, 32, 31]),
    ("Content-Container", [0, 4, 160, 10, 2, 0, 0, 1, 0, 11, 4]),
    ("Entity-Destination", [0, 2, 10, 260, 0, 0, 0, 2, 1, 16, 1]),
    ("Entity-Origin", [2, 1, 0, 12, 221, 1, 0, 1, 3, 16, 1]),
    ("Instrument-Agency", [0, 4, 1, 2, 2, 101, 1, 3, 9, 31, 2]),
    ("Member-Collection", [0, 6, 0, 0, 2, 3, 195, 4, 2, 20, 1]),
    ("Message-Topic", [1, 2, 0, 2, 0, 0, 3, 228, 3, 19, 3]),
    ("Product-Producer", [4, 4, 2, 1, 9, 10, 0, 5, 167, 24, 5]),
    ("Other", [20, 25, 25, 25, 32, 20, 39, 39, 26, 203, 0]),
];
const OFFICIAL_SCORE: f64 = 79.05;

#[test]
fn a_printed_result_of_the_official_scorer_is_found_again() {
    let (mut gold, mut predicted) = (Vec::new(), Vec::new());
    let label = |name: &str, direction: &str| {
        if name == "Other" { name.to_owned() } else { format!("{name}({direction})") }
    };
    for (name, columns) in MATRIX {
        for (column, count) in columns.into_iter().enumerate() {
            let said = match MATRIX.get(column) {
                Some((other, _)) => label(other, "e1,e2"),
                None => label(name, "e2,e1"),
            };
            gold.extend(vec![label(name, "e1,e2"); count]);
            predicted.extend(vec![said; count]);
        }
    }
    assert_eq!(gold.len(), 2717);
    let gold: Vec<&str> = gold.iter().map(String::as_str).collect();
    let predicted: Vec<&str> = predicted.iter().map(String::as_str).collect();
    let ours = 100.0 * directed_f1(&gold, &predicted, "Other");
    assert!((ours - OFFICIAL_SCORE).abs() <= 0.005, "{ours}");
}

#[test]
fn directed_relations_equal_the_scorers_rules() {
    let fixture = fixture();
    let cases = list(&fixture["directed"]);
    assert!(cases.len() >= 40);
    for (i, case) in cases.iter().enumerate() {
        let labels = |side: &str| list(&case[side]).iter().map(text).collect::<Vec<&str>>();
        let ours = directed_f1(&labels("gold"), &labels("predicted"), "Other");
        let theirs = case["f1"].as_f64().expect("a number");
        assert!((ours - theirs).abs() <= 1e-12, "case {i}: {ours}, the scorer says {theirs}");
    }
}

#[test]
fn relations_between_entities_equal_scikit_learn() {
    let fixture = fixture();
    let number = |v: &Value| v.as_u64().expect("a number") as usize;
    let span = |v: &Value| Span { start: number(&v[0]), end: number(&v[1]), label: text(&v[2]).to_owned() };
    let relation =
        |v: &Value| Relation { head: span(&v[0]), tail: span(&v[1]), label: text(&v[2]).to_owned() };
    let rows = |v: &Value| -> Vec<Vec<Relation>> {
        list(v).iter().map(|row| list(row).iter().map(relation).collect()).collect()
    };
    let cases = list(&fixture["relations"]);
    assert!(cases.len() >= 15);
    for (i, case) in cases.iter().enumerate() {
        let scores = relation_scores(&rows(&case["gold"]), &rows(&case["predicted"]));
        for (name, Score { precision, recall, f1, .. }) in
            [("strict", scores.strict), ("relaxed", scores.relaxed)]
        {
            for (ours, theirs) in [precision, recall, f1].into_iter().zip(list(&case[name])) {
                let theirs = theirs.as_f64().expect("a number");
                assert!(
                    (ours - theirs).abs() <= 1e-12,
                    "case {i}, {name}: {ours}, scikit-learn says {theirs}"
                );
            }
        }
    }
}

#[test]
fn without_relations_every_score_is_zero() {
    assert_eq!(directed_f1(&[], &[], "Other"), 0.0);
    for rows in [vec![], vec![vec![], vec![]]] {
        assert_eq!(relation_scores(&rows, &rows), Default::default());
    }
}
