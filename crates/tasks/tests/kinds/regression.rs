//! Numbers: reading, scale, losses, predictions, scores.

use burn::tensor::Device;
use data::{InputField, Pack, Row, Split};
use polytask_tasks::{Batch, Kind, Prediction, Source};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, floats, kind, near, pack, rows, same, view};

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
fn of_fixture(heads: &Heads, extra: Json) -> (Box<dyn Kind>, Pack) {
    let mut kind = regression(extra);
    let rows = labelled(&heads.json["numbers"]);
    kind.learn(&rows).unwrap();
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = kind.attach(Split::Train, &view).unwrap();
    assert_eq!((report.rows, report.labelled, report.missing), (5, 4, 1));
    let numbers = report.numbers.unwrap();
    assert_eq!((numbers.least, numbers.mean, numbers.most), (-1.0, 1.5, 4.0));
    (kind, pack(&view))
}

#[test]
fn losses_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    for (name, extra) in [
        ("mse", json!({})),
        ("huber", json!({ "loss": "huber", "delta": 0.8 })),
        ("raw", json!({ "standardise": false })),
    ] {
        let (mut kind, pack) = of_fixture(&heads, extra);
        heads.compare(&mut *kind, &pack, &[0, 2, 3, 4], 3, &heads.json["regression"][name]);
    }
}

#[test]
fn predictions_are_in_the_unit_of_the_field_and_need_no_targets() {
    let heads = Heads::read();
    let (learnt, pack) = of_fixture(&heads, json!({}));
    let mut served = regression(json!({}));
    served.restore_space(&learnt.space()).unwrap();
    assert_eq!(served.space(), learnt.space());
    let device = Device::flex();
    let (parameters, states) = (heads.build(&mut *served, &device), heads.states(&device));
    let rows = same(&[0, 2, 4]);
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let predictions = served.predict(&parameters, &batch);
    let number = |p: &Prediction| if let Prediction::Number(x) = p { *x as f32 } else { panic!("a number") };
    let found: Vec<f32> = predictions.iter().map(number).collect();
    near(&found, &floats(&heads.json["regression"]["values"]), "values");
    let answer = served.explain(&Prediction::Number(2.5), Source::Words(&[]));
    assert_eq!(answer, json!({ "value": 2.5 }));
    assert!(served.loss(&parameters, &batch).is_none());
}

#[test]
fn numbers_may_be_text_and_rows_may_lack_one() {
    let heads = Heads::read();
    let mut kind = regression(json!({}));
    let rows = labelled(&json!(["0.5", 1.5, "", null, " -1 "]));
    kind.learn(&rows).unwrap();
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = kind.attach(Split::Test, &view).unwrap();
    assert_eq!((report.labelled, report.missing), (3, 2));
    assert!(
        kind.labelled(Split::Test, 4) && !kind.labelled(Split::Test, 2) && !kind.labelled(Split::Test, 9)
    );
    // Gold 0.5, 1.5, -1 against 1, 2, 0 (and two predictions for rows without a number): the order is right.
    let numbers = [1.0, 2.0, 9.0, -9.0, 0.0];
    let predictions: Vec<_> = (0..).zip(numbers.map(Prediction::Number)).collect();
    let scores = kind.score(Split::Test, &predictions);
    assert_eq!(scores.main, "pearson");
    assert!((scores.get("spearman").unwrap() - 1.0).abs() < 1e-12);
    assert!((scores.get("rmse").unwrap() - (1.5f64 / 3.0).sqrt()).abs() < 1e-12);
    for odd in [7.0, f64::NAN] {
        let constant: Vec<_> = (0..5).map(|row| (row, Prediction::Number(odd))).collect();
        let scores = kind.score(Split::Test, &constant);
        assert_eq!((scores.get("pearson"), scores.get("spearman")), (Some(0.0), Some(0.0)));
    }
}

#[test]
fn what_is_no_number_is_reported_with_its_place() {
    let fault = |values: Json| {
        let faults = regression(json!({})).learn(&labelled(&values)).unwrap_err();
        faults.iter().map(|fault| fault.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        fault(json!([1, "two", [3], 4])),
        [
            "data.jsonl:2: field \"value\": found \"two\", expected a finite number",
            "data.jsonl:3: field \"value\": found [3], expected a finite number",
        ]
    );
    let key = "task.t.regression.value: found";
    assert!(fault(json!([null, ""]))[0].starts_with(&format!("{key} no number in field \"value\" of 2")));
    assert!(fault(json!([1, "1.0"]))[0].starts_with(&format!("{key} only the number 1 in 2 training rows")));
    assert!(fault(json!([1e300, -1e300]))[0].starts_with(&format!("{key} numbers up to 1e300 in field")));
}

#[test]
fn a_label_space_of_something_else_is_refused() {
    let fault = |space| regression(json!({})).restore_space(&space).unwrap_err().to_string();
    assert!(fault(json!({ "labels": [] })).contains("expected the numbers \"mean\" and \"deviation\""));
    assert!(fault(json!({ "mean": 1, "deviation": 0 })).contains("expected a deviation above 0"));
}
