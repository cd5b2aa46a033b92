//! Ordered classes: loss, probabilities, scores, errors.

use burn::tensor::Device;
use data::{InputField, Row, Split, View};
use model::{ParameterTensor, Parameters};
use polytask_tasks::{Batch, Kind, ModelInput, Prediction};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, floats, init_head, kind, label, near, pack, refused, rows, same, view};

fn ordinal_regression() -> Box<dyn Kind> {
    kind(
        "ordinal_regression",
        json!({ "text": "text", "label": "label", "order": ["low", "middle", "high"] }),
    )
}

fn labelled(labels: Json) -> Vec<Row> {
    let objects = labels.as_array().unwrap().iter().map(|y| json!({ "text": "x", "label": y })).collect();
    rows(Json::Array(objects))
}

/// The task of the fixture: rows 0, 2, 3, 4 of the pack, of which 3 has no label.
fn of_fixture(heads: &Heads) -> (Learnt, View) {
    let task = Learnt::of(ordinal_regression(), &labelled(json!(["low", "high", "middle"])));
    let rows = labelled(json!(["high", "middle", "low", null, "middle"]));
    let view = view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]);
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.rows, report.labelled, report.missing), (5, 4, 1));
    let counts = [("low", 1), ("middle", 2), ("high", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(report.counts, counts);
    (task, view)
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads);
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["ordinal"]["coral"]);
}

#[test]
fn probabilities_come_from_the_cutpoints_and_need_no_targets() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads);
    let opened = Learnt::opened(ordinal_regression(), &*task.head());
    let (device, pack) = (Device::flex(), pack(&view));
    let ((parameters, served), states) = (heads.build(&opened, &device), heads.states(&device));
    let rows = same(&[0, 2, 4]);
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let probabilities = |p| if let Prediction::Label(p) = p { p } else { panic!("classes") };
    let found = served.predict(&parameters, &batch).into_iter().map(probabilities);
    for (found, above) in found.zip(floats(&heads.json["ordinal"]["above"]).chunks(2)) {
        let second = above[1].min(above[0]);
        near(&found, &[1.0 - above[0], above[0] - second, second], "probabilities");
    }
}

#[test]
fn biases_begin_at_the_frequencies_of_the_classes() {
    let rows = labelled(json!(["low", "low", "low", "high", null]));
    let Learnt { kind, label_space } = Learnt::of(ordinal_regression(), &rows);
    let mut parameters = Parameters::new(&Device::flex(), 1);
    init_head(&*kind, &label_space, 4, &mut parameters).unwrap();
    let at = parameters.find("head.t.bias").unwrap();
    let ParameterTensor::Vector(bias) = parameters.parameter(at).value() else { panic!("a vector") };
    let logit = (1.5f32 / 3.5).ln();
    near(&bias.clone().into_data().try_into_vec().unwrap(), &[logit, logit], "biases");
}

#[test]
fn scores_know_how_far_a_miss_is() {
    let heads = Heads::read();
    let mut head = of_fixture(&heads).0.head();
    let rows = labelled(json!(["low", "middle", "high", null, "high"]));
    head.encode_targets(Split::Test, &view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]))
        .unwrap();
    let predictions: Vec<_> =
        [(0, 0), (1, 1), (2, 2), (3, 0), (4, 0)].map(|(row, best)| (row, label(3, best))).into();
    let scores = head.score(Split::Test, &predictions);
    // cohen_kappa_score([0, 1, 2, 2], [0, 1, 2, 0], labels=[0, 1, 2], weights="quadratic") == 5 / 13
    assert_eq!(scores.primary, "quadratic_kappa");
    assert!((scores.get("quadratic_kappa").unwrap() - 5.0 / 13.0).abs() < 1e-12, "{scores:?}");
    assert_eq!((scores.get("accuracy"), scores.get("mean_absolute_error")), (Some(0.75), Some(0.5)));
}

#[test]
fn answers_name_the_median_class() {
    let prediction = Prediction::Label(vec![0.375, 0.25, 0.375]);
    let task = Learnt::of(ordinal_regression(), &labelled(json!(["low", "high"])));
    let answer = task.head().to_json(&prediction, ModelInput::Words(&[]));
    let probabilities = json!({ "low": 0.375, "high": 0.375, "middle": 0.25 });
    assert_eq!(answer, json!({ "label": "middle", "probability": 0.25, "probabilities": probabilities }));
}

#[test]
fn labels_without_a_place_are_reported() {
    let heads = Heads::read();
    let found =
        |errors: Vec<data::DataError>| -> Vec<String> { errors.iter().map(|f| f.to_string()).collect() };
    let expected = "expected one of the classes of `order`: \"low\", \"middle\", \"high\"";
    let kind = ordinal_regression();
    let errors = kind.fit_labels(&labelled(json!(["low", "medium", ["high"], "high"]))).unwrap_err();
    assert_eq!(
        found(errors),
        [
            format!("data.jsonl:2: field \"label\": found \"medium\", {expected}"),
            format!("data.jsonl:3: field \"label\": found [\"high\"], {expected}"),
        ]
    );
    let rows = labelled(json!(["low", "best", "low", "low", "low"]));
    let mut head = of_fixture(&heads).0.head();
    let errors =
        head.encode_targets(Split::Test, &view(InputField::Text("text".into()), rows, &heads.words, &[0; 5]));
    assert_eq!(
        found(errors.unwrap_err())[0],
        format!("data.jsonl:2: field \"label\": found \"best\", {expected}")
    );
    let errors = found(kind.fit_labels(&labelled(json!(["low", "low", null]))).unwrap_err());
    assert!(errors[0].contains("found 2 labels of one class or none in field \"label\" of 3"), "{errors:?}");
}

#[test]
fn a_label_space_of_something_else_is_refused() {
    let error = |space| refused(&*ordinal_regression(), &space);
    let order = json!(["low", "middle", "high"]);
    assert!(
        error(json!({ "labels": ["high", "low", "middle"], "counts": [1, 1, 1] }))
            .contains("those of `order`")
    );
    assert!(error(json!({ "labels": order, "counts": "x" })).contains("no list \"counts\""));
    assert!(error(json!({ "labels": order, "counts": [1] })).contains("not one count for each class"));
}
