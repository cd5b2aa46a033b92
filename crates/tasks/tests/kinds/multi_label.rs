//! Several labels a row: reading, loss, thresholds, scores.

use burn::tensor::Device;
use data::{InputField, Row, Split, View};
use polytask_tasks::{Batch, Kind, ModelInput, Prediction, TaskHead};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, floats, kind, near, pack, refused, rows, same, view};

fn multi_label(extra: Json) -> Box<dyn Kind> {
    let mut table = json!({ "text": "text", "labels": "labels" });
    table.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    kind("multi_label", table)
}

fn labelled(sets: Json) -> Vec<Row> {
    let objects = sets.as_array().unwrap().iter().map(|set| json!({ "text": "x", "labels": set })).collect();
    rows(Json::Array(objects))
}

fn learnt(extra: Json) -> Learnt {
    let task = Learnt::of(multi_label(extra), &labelled(json!([["b", "c"], ["a"], [], null])));
    assert_eq!(task.labels(), &json!(["a", "b", "c"]));
    task
}

/// The task of the fixture: rows 0, 2, 3, 4 of the pack, of which 3 is not labelled and 2 has no label.
fn of_fixture(heads: &Heads, extra: Json) -> (Learnt, View) {
    let task = learnt(extra);
    let rows = labelled(json!([["c", "a"], ["b"], [], null, ["b"]]));
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.rows, report.labelled, report.missing), (5, 4, 1));
    assert_eq!(report.counts, [("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 1)]);
    (task, view)
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads, json!({}));
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["multi_label"]["plain"]);
    let weights = json!({ "a": 0.5, "b": 1.0, "c": 2.5 });
    let (task, view) = of_fixture(&heads, json!({ "pooling": "first", "positive_weights": weights }));
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["multi_label"]["weighted"]);
    let (task, view) = of_fixture(&heads, json!({ "focal": 2.0 }));
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["multi_label"]["focal"]);
    let extra = json!({ "pooling": "first", "positive_weights": weights, "focal": 0.5 });
    let (task, view) = of_fixture(&heads, extra);
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["multi_label"]["weighted_focal"]);
}

#[test]
fn probabilities_equal_pytorch_and_need_no_targets() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads, json!({}));
    let opened = Learnt::opened(multi_label(json!({})), &*task.head());
    let (device, pack) = (Device::flex(), pack(&view));
    let ((parameters, served), states, rows) =
        (heads.build(&opened, &device), heads.states(&device), same(&[0, 2, 4]));
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let probabilities = |p| if let Prediction::Labels(p) = p { p } else { panic!("labels") };
    let found: Vec<f32> = served.predict(&parameters, &batch).into_iter().flat_map(probabilities).collect();
    near(&found, &floats(&heads.json["multi_label"]["probabilities"]), "probabilities");
    assert!(served.loss(&parameters, &batch).is_none());
}

#[test]
fn lists_text_and_separated_text_are_sets_of_labels() {
    let rows = labelled(json!([["b", "a", "b"], "a", 1, [2, true], "", null, []]));
    let task = Learnt::of(multi_label(json!({})), &rows);
    let expected = json!({
        "labels": ["1", "2", "a", "b", "true"], "counts": [1, 1, 2, 1, 1], "rows": 5, "thresholds": null
    });
    assert_eq!((&task.label_space, task.head().label_space()), (&expected, expected.clone()));
    let rows = labelled(json!(["joy, anger", "joy", ",", ""]));
    let task = Learnt::of(multi_label(json!({ "separator": "," })), &rows);
    assert_eq!(task.labels(), &json!(["anger", "joy"]));
    assert_eq!(task.label_space["rows"], 3);
}

#[test]
fn bad_labels_are_reported_with_their_place() {
    let errors =
        multi_label(json!({})).fit_labels(&labelled(json!([["a", ["b"]], { "x": 1 }, ["a", null, " "]])));
    let found: Vec<String> = errors.unwrap_err().iter().map(|error| error.to_string()).collect();
    let expected = "expected a list of labels (text, numbers, true or false)";
    assert_eq!(
        found,
        [
            format!("data.jsonl:1: field \"labels\": found [\"b\"] at position 2, {expected}"),
            format!("data.jsonl:2: field \"labels\": found {{x: 1}}, {expected}"),
        ]
    );
    let weighted = multi_label(json!({ "positive_weights": { "d": 2 } }));
    let error = &weighted.fit_labels(&labelled(json!([["a", "b"]]))).unwrap_err()[0].to_string();
    assert!(error.starts_with("task.t.multi_label.positive_weights.d: found a label that"), "{error}");
}

/// Predictions for rows of labels a, b, c.
fn predicted(probabilities: &[[f32; 3]]) -> Vec<(u32, Prediction)> {
    (0..).zip(probabilities).map(|(row, p)| (row, Prediction::Labels(p.to_vec()))).collect()
}

#[test]
fn thresholds_are_tuned_on_validation_and_kept_with_the_labels() {
    let heads = Heads::read();
    let encode = |head: &mut dyn TaskHead, split| {
        let rows = labelled(json!([["a"], ["b"], [], ["a", "b"], null]));
        head.encode_targets(split, &view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]))
            .unwrap();
    };
    // Below a half everywhere: with 0.5 nothing is found, with a threshold each a and b are right, and c never holds.
    let rows = [[0.3, 0.1, 0.0], [0.1, 0.2, 0.4], [0.1, 0.1, 0.1], [0.4, 0.3, 0.0], [0.4, 0.4, 0.4]];
    let predictions = predicted(&rows);
    let mut head = learnt(json!({})).head();
    assert!(head.calibrates());
    [Split::Validation, Split::Test].into_iter().for_each(|split| encode(&mut *head, split));
    let macro_f1 = |head: &dyn TaskHead, split| head.score(split, &predictions).get("macro_f1").unwrap();
    assert_eq!(macro_f1(&*head, Split::Test), 0.0);
    assert!((macro_f1(&*head, Split::Validation) - 2.0 / 3.0).abs() < 1e-12);
    head.calibrate(Split::Validation, &predictions);
    let mut opened = Learnt::opened(multi_label(json!({})), &*head).head();
    assert_eq!(opened.label_space(), head.label_space());
    encode(&mut *opened, Split::Test);
    for head in [&*head, &*opened] {
        assert!((macro_f1(head, Split::Test) - 2.0 / 3.0).abs() < 1e-12);
    }
    let answer = opened.to_json(&predictions[3].1, ModelInput::Text { text: "", words: &[] });
    assert_eq!(answer["labels"], json!(["a", "b"]));

    let mut fixed = learnt(json!({ "thresholds": 0.25 })).head();
    assert!(!fixed.calibrates());
    encode(&mut *fixed, Split::Test);
    assert_eq!(fixed.to_json(&predictions[1].1, ModelInput::Words(&[]))["labels"], json!(["c"]));
}

#[test]
fn scores_equal_scikit_learn_and_unseen_labels_are_not_found() {
    let heads = Heads::read();
    let mut head = learnt(json!({ "thresholds": 0.5 })).head();
    let rows = labelled(json!([["a", "c"], ["x", "b"], [], null, ["x"]]));
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = head.encode_targets(Split::Test, &view).unwrap();
    assert_eq!((report.labelled, report.unseen["x"]), (4, 2));
    assert!(
        head.labelled(Split::Test, 2) && !head.labelled(Split::Test, 3) && !head.labelled(Split::Test, 9)
    );
    // f1_score of [[1,0,1,0],[0,1,0,1],[0,0,0,0],[0,0,0,1]] against [[1,1,0,0],[0,1,0,0],[0,0,0,0],[0,0,1,0]].
    let mut predictions = predicted(&[[0.9, 0.5, 0.1], [0.1, 0.7, 0.2], [0.0; 3], [1.0; 3], [0.0, 0.4, 0.6]]);
    let scores = head.score(Split::Test, &predictions);
    let expected = [("macro_f1", 5.0 / 12.0), ("micro_f1", 4.0 / 9.0), ("sample_f1", 7.0 / 24.0)];
    for ((name, found), (expected_name, expected)) in scores.values.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!((found - expected).abs() < 1e-12, "{name}: {found} against {expected}");
    }
    predictions[0].1 = Prediction::Labels(vec![f32::NAN; 3]);
    assert!(head.score(Split::Test, &predictions).values.iter().all(|(_, value)| value.is_finite()));
}

#[test]
fn balanced_weights_are_rows_without_against_rows_with() {
    let heads = Heads::read();
    let loss = |extra: Json| {
        let (task, view) = of_fixture(&heads, extra);
        let device = Device::flex();
        let ((parameters, mut head), states) = (heads.build(&task, &device), heads.states(&device));
        head.encode_targets(Split::Train, &view).unwrap();
        let (pack, rows) = (pack(&view), same(&[0, 2, 4]));
        let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
        head.loss(&parameters, &batch).unwrap().mean.into_scalar::<f32>()
    };
    // Each label holds in one of three training rows.
    let by_hand = json!({ "positive_weights": { "a": 2, "b": 2, "c": 2 } });
    assert_eq!(loss(json!({ "positive_weights": "balanced" })), loss(by_hand));
}

#[test]
fn a_label_space_of_something_else_is_refused() {
    let error = |space| refused(&*multi_label(json!({})), &space);
    let space = |rows: Json, thresholds: Json| json!({ "labels": ["a", "b"], "counts": [1, 1], "rows": rows, "thresholds": thresholds });
    assert!(error(space(json!(null), json!(null))).contains("there is no number \"rows\""));
    assert!(error(space(json!(2), json!([0.5]))).contains("found 1 thresholds for 2 labels"));
    assert!(
        error(space(json!(2), json!("x"))).contains("found the thresholds \"x\", expected null or a list")
    );
}
