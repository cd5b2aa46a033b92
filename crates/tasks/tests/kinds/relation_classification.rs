//! Relations between marked spans: reading, loss, answers, scores.

use burn::tensor::Device;
use data::{EntityMarkers, InputField, Split, View};
use polytask_tasks::{Batch, Kind, LabelReport, ModelInput, Prediction};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, config, floats, kind, label, near, pack, rows, same, view};

const NAMES: [&str; 3] = ["Kin(e1,e2)", "Kin(e2,e1)", "Other"];

fn heads() -> Heads {
    Heads::of(include_str!("../fixtures/relation.json"))
}

fn labelled(labels: Json) -> Vec<data::Row> {
    rows(labels.as_array().unwrap().iter().map(|label| json!({ "text": "a b", "y": label })).collect())
}

fn input(kind: &dyn Kind) -> EntityMarkers {
    let InputField::Marked(marked) = kind.input() else { panic!("spans") };
    marked
}

/// The task of the fixture; the last row lost its tail.
fn of_fixture(heads: &Heads, markers: bool) -> (Learnt, View, LabelReport) {
    let task = Learnt::of(kind_of(markers), &labelled(json!(NAMES)));
    assert_eq!(task.labels(), &json!(NAMES));
    let targets = heads.json["targets"].as_array().unwrap();
    let labels = targets.iter().map(|t| t.as_u64().map(|t| NAMES[t as usize])).collect();
    let view = view(task.kind.input(), labelled(labels), &heads.words, &[0, 0, 0, 3]);
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    (task, view, report)
}

#[test]
fn losses_and_gradients_equal_pytorch() {
    let heads = heads();
    for (markers, case) in [(true, "markers"), (false, "plain")] {
        let (task, view, report) = of_fixture(&heads, markers);
        assert_eq!((report.labelled, report.missing, report.truncated, report.without_token), (3, 1, 1, 0));
        let counts: Vec<usize> = report.counts.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 1, 1]);
        heads.compare(&task, &view, &[0, 1, 2, 3], 2, &heads.json[case]);
    }
}

#[test]
fn answers_equal_pytorch_also_where_a_span_is_lost() {
    let heads = heads();
    for (markers, case) in [(true, "markers"), (false, "plain")] {
        let (task, view, _) = of_fixture(&heads, markers);
        let opened = Learnt::opened(kind_of(markers), &*task.head());
        let (device, pack) = (Device::flex(), pack(&view));
        let ((parameters, served), states) = (heads.build(&opened, &device), heads.states(&device));
        let rows = same(&[0, 1, 3]);
        let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
        let found = served.predict(&parameters, &batch).into_iter().flat_map(|prediction| match prediction {
            Prediction::Label(probabilities) => probabilities,
            other => panic!("{other:?}"),
        });
        let expected = floats(&heads.json[case]["probabilities"]);
        near(&found.collect::<Vec<f32>>(), &expected, "probabilities");
        assert!(served.loss(&parameters, &batch).is_none());
        // Nothing but lost spans, and no rows at all.
        let nothing = pack.select_tokens(&[]);
        let none = states.clone().slice([0..1, 0..heads.hidden]);
        let lost = Batch { states: &none, pack: &nothing, ..batch };
        assert_eq!(served.predict(&parameters, &lost).len(), 3);
        assert!(served.predict(&parameters, &Batch { rows: &[], ..batch }).is_empty());
    }
}

fn kind_of(markers: bool) -> Box<dyn Kind> {
    kind("relation_classification", json!({ "text": "text", "label": "y", "markers": markers }))
}

#[test]
fn dropout_is_a_function_of_the_seed() {
    let heads = heads();
    let (task, view, _) = of_fixture(&heads, true);
    let device = Device::flex();
    let (parameters, mut head) = heads.build(&task, &device);
    head.encode_targets(Split::Train, &view).unwrap();
    let (pack, states, rows) = (pack(&view), heads.states(&device), same(&[0, 1]));
    let loss = |dropout_seed| {
        let batch = Batch { dropout_seed, ..Batch::evaluated(&states, &pack, Split::Train, &rows) };
        head.loss(&parameters, &batch).unwrap().mean.into_scalar::<f32>()
    };
    assert_eq!(loss(Some(7)), loss(Some(7)));
    let plain = loss(None);
    assert!((0..20).any(|seed| loss(Some(seed)) != plain));
}

#[test]
fn directions_of_a_type_are_scored_together() {
    let heads = heads();
    let (task, _, _) = of_fixture(&heads, true);
    let mut head = task.head();
    // "Far" was never shown in training: it cannot be found, and is a type of its own.
    let view = view(
        task.kind.input(),
        labelled(json!(["Kin(e1,e2)", "Kin(e2,e1)", "Far(e1,e2)", "Other"])),
        &heads.words,
        &[0, 0, 0, 0],
    );
    let report = head.encode_targets(Split::Test, &view).unwrap();
    assert_eq!((report.without_token, report.unseen.get("Far(e1,e2)")), (1, Some(&1)));
    let said: Vec<(u32, Prediction)> =
        [0, 0, 1, 2].into_iter().zip(0..).map(|(l, row)| (row, label(3, l))).collect();
    let scores = head.score(Split::Test, &said);
    // Kin: 2 gold, 3 predicted, 1 right, F1 = 2/5; Far: 0; Other is left out.
    assert_eq!((scores.primary.as_str(), scores.get("directed_f1")), ("directed_f1", Some(0.2)));
    assert_eq!(scores.get("accuracy"), Some(0.5));
    let answer = head.to_json(&said[0].1, ModelInput::Text { text: "a b", words: &[] });
    assert_eq!((&answer["label"], &answer["probability"]), (&json!("Kin(e1,e2)"), &json!(1.0)));
}

#[test]
fn settings_and_labels_that_cannot_be_read_are_told() {
    let words = kind(
        "relation_classification",
        json!({ "tokens": "tokens", "label": "y", "head": "a", "tail": "b" }),
    );
    let [text, head, tail] = ["tokens", "a", "b"].map(str::to_owned);
    assert_eq!(input(&*words), EntityMarkers { text, words: true, head, tail, markers: true });
    for (table, says) in [
        (
            json!({ "label": "y" }),
            "task.t.relation_classification: found neither `text` nor `tokens`, expected exactly one",
        ),
        (json!({ "label": "y", "text": "a", "tokens": "b" }), "task.t.relation_classification: found both"),
        (
            json!({ "label": "y", "text": "a", "tail": "head" }),
            "task.t.relation_classification.tail: found \"head\", the same",
        ),
        (
            json!({ "label": "y", "text": "a", "dropout": 1 }),
            "task.t.relation_classification.dropout: found 1",
        ),
    ] {
        let error = config("relation_classification", table).build("t").err().expect("an error").to_string();
        assert!(error.contains(says), "{error}");
    }
    let kind = kind_of(true);
    let errors = kind.fit_labels(&labelled(json!([["x"], "a", "b"]))).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "data.jsonl:1: field \"y\": found [\"x\"], expected one label (text, a number, true or false) for task t"
    );
    assert!(
        kind.fit_labels(&labelled(json!(["a", "a"]))).unwrap_err()[0].to_string().contains("only the label")
    );
}
