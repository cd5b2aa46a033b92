//! SummaryStatistics: reading, scale, losses, predictions, scores.

use burn::tensor::Device;
use data::{InputField, Row, Split, View};
use polytask_tasks::{Batch, Kind, ModelInput, Prediction};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, floats, kind, near, pack, refused, rows, same, view};

fn regression(extra: Json) -> Box<dyn Kind> {
    let mut table = json!({ "text": "text", "value": "value" });
    table.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    kind("regression", table)
}

fn labelled(values: &Json) -> Vec<Row> {
    let values = values.as_array().unwrap();
    rows(Json::Array(values.iter().map(|value| json!({ "text": "x", "value": value })).collect()))
}

/// The task of the fixture: rows 0, 2, 3, 4 of the pack, of which 3 is not labelled.
fn of_fixture(heads: &Heads, extra: Json) -> (Learnt, View) {
    let rows = labelled(&heads.json["numbers"]);
    let task = Learnt::of(regression(extra), &rows);
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.rows, report.labelled, report.missing), (5, 4, 1));
    let numbers = report.numbers.unwrap();
    assert_eq!((numbers.min, numbers.mean, numbers.max), (-1.0, 1.5, 4.0));
    (task, view)
}

#[test]
fn losses_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    for (name, extra) in [
        ("mse", json!({})),
        ("huber", json!({ "loss": "huber", "delta": 0.8 })),
        ("raw", json!({ "standardise": false })),
    ] {
        let (task, view) = of_fixture(&heads, extra);
        heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["regression"][name]);
    }
}

#[test]
fn predictions_are_in_the_unit_of_the_field_and_need_no_targets() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads, json!({}));
    let opened = Learnt::opened(regression(json!({})), &*task.head());
    assert_eq!(opened.label_space, task.label_space);
    let (device, pack) = (Device::flex(), pack(&view));
    let ((parameters, served), states) = (heads.build(&opened, &device), heads.states(&device));
    let rows = same(&[0, 2, 4]);
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let predictions = served.predict(&parameters, &batch);
    let number = |p: &Prediction| if let Prediction::Number(x) = p { *x as f32 } else { panic!("a number") };
    let found: Vec<f32> = predictions.iter().map(number).collect();
    near(&found, &floats(&heads.json["regression"]["values"]), "values");
    let answer = served.to_json(&Prediction::Number(2.5), ModelInput::Words(&[]));
    assert_eq!(answer, json!({ "value": 2.5 }));
    assert!(served.loss(&parameters, &batch).is_none());
}

#[test]
fn numbers_may_be_text_and_rows_may_lack_one() {
    let heads = Heads::read();
    let rows = labelled(&json!(["0.5", 1.5, "", null, " -1 "]));
    let mut head = Learnt::of(regression(json!({})), &rows).head();
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = head.encode_targets(Split::Test, &view).unwrap();
    assert_eq!((report.labelled, report.missing), (3, 2));
    assert!(
        head.labelled(Split::Test, 4) && !head.labelled(Split::Test, 2) && !head.labelled(Split::Test, 9)
    );
    // Gold 0.5, 1.5, -1 against 1, 2, 0 (and two predictions for rows without a number): the order is right.
    let numbers = [1.0, 2.0, 9.0, -9.0, 0.0];
    let predictions: Vec<_> = (0..).zip(numbers.map(Prediction::Number)).collect();
    let scores = head.score(Split::Test, &predictions);
    assert_eq!(scores.primary, "pearson");
    assert!((scores.get("spearman").unwrap() - 1.0).abs() < 1e-12);
    assert!((scores.get("rmse").unwrap() - (1.5f64 / 3.0).sqrt()).abs() < 1e-12);
    for odd in [7.0, f64::NAN] {
        let constant: Vec<_> = (0..5).map(|row| (row, Prediction::Number(odd))).collect();
        let scores = head.score(Split::Test, &constant);
        assert_eq!((scores.get("pearson"), scores.get("spearman")), (Some(0.0), Some(0.0)));
    }
}

#[test]
fn what_is_no_number_is_reported_with_its_place() {
    let error = |values: Json| {
        let errors = regression(json!({})).fit_labels(&labelled(&values)).unwrap_err();
        errors.iter().map(|error| error.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        error(json!([1, "two", [3], 4])),
        [
            "data.jsonl:2: field \"value\": found \"two\", expected a finite number",
            "data.jsonl:3: field \"value\": found [3], expected a finite number",
        ]
    );
    let key = "task.t.regression.value: found";
    assert!(error(json!([null, ""]))[0].starts_with(&format!("{key} no number in field \"value\" of 2")));
    assert!(error(json!([1, "1.0"]))[0].starts_with(&format!("{key} only the number 1 in 2 training rows")));
    assert!(error(json!([1e300, -1e300]))[0].starts_with(&format!("{key} numbers up to 1e300 in field")));
}

#[test]
fn a_label_space_of_something_else_is_refused() {
    let error = |space| refused(&*regression(json!({})), &space);
    assert!(error(json!({ "labels": [] })).contains("expected the numbers \"mean\" and \"deviation\""));
    assert!(error(json!({ "mean": 1, "deviation": 0 })).contains("expected a deviation above 0"));
}
