//! Fixtures of generated texts: a list of cases, each with hypotheses and references.

use serde_json::Value;

/// The cases of a fixture.
pub fn cases(json: &str) -> Vec<Value> {
    serde_json::from_str(json).expect("the fixture is a list in JSON")
}

/// The hypotheses of a case, and the references of each.
pub fn texts(case: &Value) -> (Vec<&str>, Vec<Vec<&str>>) {
    let references = case["references"].as_array().expect("a list").iter();
    (of_list(&case["hypotheses"]), references.map(of_list).collect())
}

fn of_list(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect()
}

/// Checks a score against the reference's.
pub fn close(ours: f64, theirs: &Value, what: &str) {
    let theirs = theirs.as_f64().expect("a number");
    assert!((ours - theirs).abs() <= 1e-9, "{what}: {ours}, the reference says {theirs}");
}
