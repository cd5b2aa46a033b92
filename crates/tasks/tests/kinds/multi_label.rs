//! Several labels a row: reading, loss, thresholds, scores.

use burn::tensor::Device;
use data::{InputField, Row, Split};
use polytask_tasks::{Batch, Kind, ModelInput, Prediction};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, floats, kind, near, pack, rows, same, view};

fn multi_label(extra: Json) -> Box<dyn Kind> {
    let mut table = json!({ "text": "text", "labels": "labels" });
    table.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    kind("multi_label", table)
}

fn labelled(sets: Json) -> Vec<Row> {
    let objects = sets.as_array().unwrap().iter().map(|set| json!({ "text": "x", "labels": set })).collect();
    rows(Json::Array(objects))
}

fn learnt(extra: Json) -> Box<dyn Kind> {
    let mut kind = multi_label(extra);
    kind.fit_labels(&labelled(json!([["b", "c"], ["a"], [], null]))).unwrap();
    assert_eq!(kind.labels(), ["a", "b", "c"]);
    kind
}

/// The task of the fixture: rows 0, 2, 3, 4 of the pack, of which 3 is not labelled and 2 has no label.
fn of_fixture(heads: &Heads, extra: Json) -> (Box<dyn Kind>, data::Pack) {
    let mut kind = learnt(extra);
    let rows = labelled(json!([["c", "a"], ["b"], [], null, ["b"]]));
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = kind.encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.rows, report.labelled, report.missing), (5, 4, 1));
    assert_eq!(report.counts, [("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 1)]);
    (kind, pack(&view))
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    let (mut kind, pack) = of_fixture(&heads, json!({}));
    heads.compare(&mut *kind, &pack, &[0, 2, 3, 4], 3, &heads.json["multi_label"]["plain"]);
    let weights = json!({ "a": 0.5, "b": 1.0, "c": 2.5 });
    let (mut kind, pack) = of_fixture(&heads, json!({ "pooling": "first", "positive_weights": weights }));
    heads.compare(&mut *kind, &pack, &[0, 2, 3, 4], 3, &heads.json["multi_label"]["weighted"]);
    let (mut kind, pack) = of_fixture(&heads, json!({ "focal": 2.0 }));
    heads.compare(&mut *kind, &pack, &[0, 2, 3, 4], 3, &heads.json["multi_label"]["focal"]);
    let extra = json!({ "pooling": "first", "positive_weights": weights, "focal": 0.5 });
    let (mut kind, pack) = of_fixture(&heads, extra);
    heads.compare(&mut *kind, &pack, &[0, 2, 3, 4], 3, &heads.json["multi_label"]["weighted_focal"]);
}

#[test]
fn probabilities_equal_pytorch_and_need_no_targets() {
    let heads = Heads::read();
    let mut served = multi_label(json!({}));
    served.load_label_space(&learnt(json!({})).label_space()).unwrap();
    let (_, pack) = of_fixture(&heads, json!({}));
    let device = Device::flex();
    let (parameters, states, rows) =
        (heads.build(&mut *served, &device), heads.states(&device), same(&[0, 2, 4]));
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let probabilities = |p| if let Prediction::Labels(p) = p { p } else { panic!("labels") };
    let found: Vec<f32> = served.predict(&parameters, &batch).into_iter().flat_map(probabilities).collect();
    near(&found, &floats(&heads.json["multi_label"]["probabilities"]), "probabilities");
    assert!(served.loss(&parameters, &batch).is_none());
}

#[test]
fn lists_text_and_separated_text_are_sets_of_labels() {
    let mut kind = multi_label(json!({}));
    kind.fit_labels(&labelled(json!([["b", "a", "b"], "a", 1, [2, true], "", null, []]))).unwrap();
    let expected = json!({
        "labels": ["1", "2", "a", "b", "true"], "counts": [1, 1, 2, 1, 1], "rows": 5, "thresholds": null
    });
    assert_eq!(kind.label_space(), expected);
    let mut kind = multi_label(json!({ "separator": "," }));
    kind.fit_labels(&labelled(json!(["joy, anger", "joy", ",", ""]))).unwrap();
    assert_eq!(kind.label_space()["labels"], json!(["anger", "joy"]));
    assert_eq!(kind.label_space()["rows"], 3);
}

#[test]
fn bad_labels_are_reported_with_their_place() {
    let errors = multi_label(json!({})).fit_labels(&labelled(json!([["a", ["b"]], { "x": 1 }, ["a", null]])));
    let found: Vec<String> = errors.unwrap_err().iter().map(|error| error.to_string()).collect();
    let expected = "expected a list of labels (text, numbers, true or false)";
    assert_eq!(
        found,
        [
            format!("data.jsonl:1: field \"labels\": found [\"b\"] at position 2, {expected}"),
            format!("data.jsonl:2: field \"labels\": found {{x: 1}}, {expected}"),
            format!("data.jsonl:3: field \"labels\": found null at position 2, {expected}"),
        ]
    );
    let mut weighted = multi_label(json!({ "positive_weights": { "d": 2 } }));
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
    let encode = |kind: &mut dyn Kind, split| {
        let rows = labelled(json!([["a"], ["b"], [], ["a", "b"], null]));
        kind.encode_targets(split, &view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]))
            .unwrap();
    };
    // Below a half everywhere: with 0.5 nothing is found, with a threshold each a and b are right, and c never holds.
    let rows = [[0.3, 0.1, 0.0], [0.1, 0.2, 0.4], [0.1, 0.1, 0.1], [0.4, 0.3, 0.0], [0.4, 0.4, 0.4]];
    let predictions = predicted(&rows);
    let mut kind = learnt(json!({}));
    assert!(kind.calibrates());
    [Split::Validation, Split::Test].into_iter().for_each(|split| encode(&mut *kind, split));
    let macro_f1 = |kind: &dyn Kind, split| kind.score(split, &predictions).get("macro_f1").unwrap();
    assert_eq!(macro_f1(&*kind, Split::Test), 0.0);
    assert!((macro_f1(&*kind, Split::Validation) - 2.0 / 3.0).abs() < 1e-12);
    kind.calibrate(Split::Validation, &predictions);
    let mut opened = multi_label(json!({}));
    opened.load_label_space(&kind.label_space()).unwrap();
    assert_eq!(opened.label_space(), kind.label_space());
    encode(&mut *opened, Split::Test);
    for kind in [&*kind, &*opened] {
        assert!((macro_f1(kind, Split::Test) - 2.0 / 3.0).abs() < 1e-12);
    }
    let answer = opened.to_json(&predictions[3].1, ModelInput::Text { text: "", words: &[] });
    assert_eq!(answer["labels"], json!(["a", "b"]));

    let mut fixed = learnt(json!({ "thresholds": 0.25 }));
    assert!(!fixed.calibrates());
    encode(&mut *fixed, Split::Test);
    assert_eq!(fixed.to_json(&predictions[1].1, ModelInput::Words(&[]))["labels"], json!(["c"]));
}

#[test]
fn scores_equal_scikit_learn_and_unseen_labels_are_not_found() {
    let heads = Heads::read();
    let mut kind = learnt(json!({ "thresholds": 0.5 }));
    let rows = labelled(json!([["a", "c"], ["x", "b"], [], null, ["x"]]));
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = kind.encode_targets(Split::Test, &view).unwrap();
    assert_eq!((report.labelled, report.unseen["x"]), (4, 2));
    assert!(
        kind.labelled(Split::Test, 2) && !kind.labelled(Split::Test, 3) && !kind.labelled(Split::Test, 9)
    );
    // f1_score of [[1,0,1,0],[0,1,0,1],[0,0,0,0],[0,0,0,1]] against [[1,1,0,0],[0,1,0,0],[0,0,0,0],[0,0,1,0]].
    let mut predictions = predicted(&[[0.9, 0.5, 0.1], [0.1, 0.7, 0.2], [0.0; 3], [1.0; 3], [0.0, 0.4, 0.6]]);
    let scores = kind.score(Split::Test, &predictions);
    let expected = [("macro_f1", 5.0 / 12.0), ("micro_f1", 4.0 / 9.0), ("sample_f1", 7.0 / 24.0)];
    for ((name, found), (expected_name, expected)) in scores.values.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!((found - expected).abs() < 1e-12, "{name}: {found} against {expected}");
    }
    predictions[0].1 = Prediction::Labels(vec![f32::NAN; 3]);
    assert!(kind.score(Split::Test, &predictions).values.iter().all(|(_, value)| value.is_finite()));
}

#[test]
fn balanced_weights_are_rows_without_against_rows_with() {
    let heads = Heads::read();
    let loss = |extra: Json| {
        let (mut kind, pack) = of_fixture(&heads, extra);
        let device = Device::flex();
        let (parameters, states) = (heads.build(&mut *kind, &device), heads.states(&device));
        let rows = same(&[0, 2, 4]);
        let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
        kind.loss(&parameters, &batch).unwrap().mean.into_scalar::<f32>()
    };
    // Each label holds in one of three training rows.
    let by_hand = json!({ "positive_weights": { "a": 2, "b": 2, "c": 2 } });
    assert_eq!(loss(json!({ "positive_weights": "balanced" })), loss(by_hand));
}

#[test]
fn a_label_space_of_something_else_is_refused() {
    let error = |space| multi_label(json!({})).load_label_space(&space).unwrap_err().to_string();
    let space = |rows: Json, thresholds: Json| json!({ "labels": ["a", "b"], "counts": [1, 1], "rows": rows, "thresholds": thresholds });
    assert!(error(space(json!(null), json!(null))).contains("there is no number \"rows\""));
    assert!(error(space(json!(2), json!([0.5]))).contains("found 1 thresholds for 2 labels"));
    assert!(
        error(space(json!(2), json!("x"))).contains("found the thresholds \"x\", expected null or a list")
    );
}
