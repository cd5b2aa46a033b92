//! A choice among texts: reading, loss, probabilities, scores.

use burn::tensor::Device;
use data::{InputField, Row, Split, View};
use polytask_tasks::{Batch, Kind, ModelInput, Prediction};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, floats, kind, near, pack, refused, rows, same, view};

fn choice(pooling: &str) -> Box<dyn Kind> {
    kind("multiple_choice", json!({ "pooling": pooling }))
}

fn objects(labels: &[Json], choices: &[usize]) -> Vec<Row> {
    let texts = |count: usize| (0..count.max(2)).map(|i| format!("answer {i}")).collect::<Vec<_>>();
    let object = |(label, count): (&Json, &usize)| json!({ "text": "what?", "choices": texts(*count), "label": label });
    rows(labels.iter().zip(choices).map(object).collect())
}

/// The rows of the fixture, each with as many sequences as it has choices.
fn of_fixture(heads: &Heads) -> View {
    let sequences: Vec<Vec<usize>> =
        serde_json::from_value(heads.json["multiple_choice"]["sequences"].clone()).unwrap();
    let counts: Vec<usize> = sequences.iter().map(Vec::len).collect();
    let labels = [json!(1), Json::Null, json!("2"), json!(""), json!(0)];
    let input = InputField::Choices("text".into(), "choices".into());
    let mut view = view(input, objects(&labels, &counts), &heads.words, &[0; 5]);
    view.encoded.sequences.push(0);
    for length in sequences.iter().flatten() {
        view.encoded.sequences.push(view.encoded.sequences.last().unwrap() + length);
    }
    view
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    let view = of_fixture(&heads);
    for pooling in ["mean", "first"] {
        let task = Learnt::of(choice(pooling), &view.rows);
        let report = task.head().encode_targets(Split::Train, &view).unwrap();
        assert_eq!((report.labelled, report.missing), (3, 2));
        assert_eq!(report.counts, ["choice 0", "choice 1", "choice 2"].map(|name| (name.to_owned(), 1)));
        heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["multiple_choice"][pooling]);
    }
}

#[test]
fn probabilities_equal_pytorch_and_are_scored_and_told() {
    let heads = Heads::read();
    let view = of_fixture(&heads);
    let (task, device) = (Learnt::of(choice("mean"), &view.rows), Device::flex());
    let ((parameters, mut head), states) = (heads.build(&task, &device), heads.states(&device));
    head.encode_targets(Split::Test, &view).unwrap();
    let pack = pack(&view);
    let rows = same(&[0, 2, 4]);
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let found = head.predict(&parameters, &batch);
    let expected = heads.json["multiple_choice"]["probabilities"].as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let Prediction::Label(found) = found else { panic!("probabilities") };
        near(found, &floats(expected), "probabilities");
    }
    let chosen = |p: &[f32]| Prediction::Label(p.to_vec());
    let predictions = [(0, chosen(&[0.25, 0.75])), (1, chosen(&[0.0, 1.0])), (2, chosen(&[0.5, 0.25, 0.25]))];
    // Row 1 has no label; row 0 is right, row 2 wrong.
    assert_eq!(head.score(Split::Test, &predictions).get("accuracy"), Some(0.5));
    let texts = ["a", "b"].map(str::to_owned);
    let answer = head.to_json(&predictions[0].1, ModelInput::Choices(&texts));
    assert_eq!(
        answer,
        json!({ "choice": "b", "index": 1, "probability": 0.75, "probabilities": [0.25, 0.75] })
    );
}

#[test]
fn labels_that_name_no_choice_are_reported() {
    let labels = [json!(2), json!("D"), json!("answer"), json!(0.5), json!(true), json!("1")];
    let errors = choice("mean").fit_labels(&objects(&labels, &[2; 6])).unwrap_err();
    let found: Vec<String> = errors.iter().map(|error| error.to_string()).collect();
    let says = |line: usize, found: &str| {
        format!(
            "data.jsonl:{line}: field \"label\": found {found}, expected a number from 0 to 1, one of the choices, or its letter, the same for all rows"
        )
    };
    let labels = ["2", "\"D\"", "\"answer\"", "0.5", "true", "\"1\""];
    assert_eq!(found, (1..).zip(labels).map(|(line, found)| says(line, found)).collect::<Vec<_>>());
    let indices = json!({ "text": "text", "choices": "choices", "label": "label", "label_is": "index" });
    let rows = objects(&[json!(0), json!("1"), json!("B")], &[2; 3]);
    let errors = kind("multiple_choice", indices).fit_labels(&rows).unwrap_err();
    assert!(
        errors[0].to_string().ends_with("found \"B\", expected a number from 0 to 1 (label_is = \"index\")")
    );
    let unlabelled = choice("mean").fit_labels(&objects(&[Json::Null, Json::Null], &[2; 2])).unwrap_err();
    let says = "task.t.multiple_choice.label: found no label in field \"label\" of 2 training rows";
    assert!(unlabelled[0].to_string().starts_with(says), "{}", unlabelled[0]);
    assert!(refused(&*choice("mean"), &json!({ "labels": ["a"] })).contains("choices have no labels"));
}
