//! Classification: labels, loss, predictions, scores.

use burn::tensor::Device;
use data::{InputField, Split, View};
use polytask_tasks::{Batch, Kind, ModelInput, Prediction};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, devices, floats, kind, label, near, pack, refused, rows, same, view};

fn classification(extra: Json) -> Box<dyn Kind> {
    let mut table = json!({ "text": "text", "label": "label" });
    table.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    kind("classification", table)
}

fn labelled(labels: Json) -> Vec<data::Row> {
    let objects = labels.as_array().unwrap().iter().map(|y| json!({ "text": "x", "label": y })).collect();
    rows(Json::Array(objects))
}

/// The task with the labels of some rows.
fn learnt(extra: Json, labels: Json) -> Learnt {
    Learnt::of(classification(extra), &labelled(labels))
}

fn view_of(heads: &Heads, labels: Json) -> View {
    view(InputField::Text("text".into()), labelled(labels), &heads.words, &[0; 5])
}

fn errors(kind: &dyn Kind, labels: Json) -> Vec<String> {
    let errors = kind.fit_labels(&labelled(labels)).expect_err("errors");
    errors.iter().map(|error| error.to_string()).collect()
}

/// The task of the fixture: labels a, b, c; rows 0, 2, 3, 4 of the pack, of which 3 has no label.
fn of_fixture(heads: &Heads, extra: Json) -> (Learnt, View) {
    let task = learnt(extra, json!(["b", "c", "a"]));
    assert_eq!(task.labels(), &json!(["a", "b", "c"]));
    let view = view_of(heads, json!(["c", "b", "a", null, "b"]));
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.rows, report.labelled, report.missing), (5, 4, 1));
    (task, view)
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads, json!({}));
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["classification"]["mean"]);
    let weights = json!({ "a": 0.5, "b": 1.0, "c": 2.5 });
    let extra = json!({ "pooling": "first", "class_weights": weights, "label_smoothing": 0.1 });
    let (task, view) = of_fixture(&heads, extra);
    let case = &heads.json["classification"]["first_weighted_smoothed"];
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, case);
    let (task, view) = of_fixture(&heads, json!({ "focal": 2.0 }));
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["classification"]["focal"]);
    let weights = json!({ "a": 0.5, "b": 1.0, "c": 2.5 });
    let extra = json!({ "pooling": "first", "class_weights": weights, "focal": 1.5 });
    let (task, view) = of_fixture(&heads, extra);
    let case = &heads.json["classification"]["first_weighted_focal"];
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, case);
}

#[test]
fn predictions_equal_pytorch_and_need_no_targets() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads, json!({}));
    let opened = Learnt::opened(classification(json!({})), &*task.head());
    let device = Device::flex();
    let ((parameters, served), pack) = (heads.build(&opened, &device), pack(&view));
    let states = heads.states(&device);
    let rows = same(&[0, 2, 4]);
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let found: Vec<f32> = served
        .predict(&parameters, &batch)
        .into_iter()
        .flat_map(|p| if let Prediction::Label(p) = p { p } else { panic!("a label") })
        .collect();
    near(&found, &floats(&heads.json["classification"]["probabilities"]), "probabilities");
    assert!(served.loss(&parameters, &batch).is_none());
}

#[test]
fn dropout_follows_its_seed() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads, json!({ "dropout": 0.5 }));
    let device = Device::flex().autodiff();
    let ((parameters, mut head), pack) = (heads.build(&task, &device), pack(&view));
    head.encode_targets(Split::Train, &view).unwrap();
    let states = heads.states(&device);
    let rows = same(&[0, 2, 4]);
    let loss = |dropout_seed| {
        let batch = Batch { dropout_seed, ..Batch::evaluated(&states, &pack, Split::Train, &rows) };
        head.loss(&parameters, &batch).unwrap().mean.into_data().try_into_vec::<f32>().unwrap()
    };
    assert_eq!(loss(Some(1)), loss(Some(1)));
    assert_ne!(loss(Some(1)), loss(Some(2)));
    assert_ne!(loss(Some(1)), loss(None));
}

#[test]
fn rows_without_tokens_pool_to_zeros() {
    let heads = Heads::read();
    for pooling in ["mean", "first"] {
        let task = learnt(json!({ "pooling": pooling }), json!(["a", "b", "c"]));
        let words = vec![vec![None; 16], vec![]];
        let view = view(InputField::Text("text".into()), labelled(json!(["a", "b"])), &words, &[0, 0]);
        let bias: Vec<f32> = heads.input("bias").iter().map(|b| b.exp()).collect();
        let sum: f32 = bias.iter().sum();
        let (pack, rows) = (pack(&view), same(&[0, 1]));
        for device in devices() {
            let (parameters, head) = heads.build(&task, &device);
            let states = heads.states(&device);
            let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
            let predictions = head.predict(&parameters, &batch);
            let Prediction::Label(found) = &predictions[1] else { panic!("a label") };
            near(found, &bias.iter().map(|b| b / sum).collect::<Vec<_>>(), pooling);
        }
    }
}

#[test]
fn numbers_and_truth_values_are_labels() {
    let task = learnt(json!({}), json!([1, 0, 1, 2.5, true, "", null]));
    assert_eq!(task.labels(), &json!(["0", "1", "2.5", "true"]));
}

#[test]
fn bad_labels_are_reported_with_their_place() {
    let kind = classification(json!({}));
    let found = errors(&*kind, json!(["a", ["b"], "c", { "x": 1 }]));
    let expected = "expected one label (text, a number, true or false) for task t";
    assert_eq!(found[0], format!("data.jsonl:2: field \"label\": found [\"b\"], {expected}"));
    assert_eq!(found[1], format!("data.jsonl:4: field \"label\": found {{x: 1}}, {expected}"));

    let found = errors(&*kind, json!(["a", "a"]));
    assert_eq!(
        found,
        [
            "task.t.classification.label: found only the label \"a\" in 2 training rows, expected two or more different \
          labels; the first row has the fields text, label"
        ]
    );
    let found = errors(&*kind, json!([null, null]));
    assert!(found[0].contains("found no label in field \"label\" of 2 training rows"), "{found:?}");

    let few = classification(json!({ "max_labels": 2 }));
    let found = errors(&*few, json!(["a", "b", "c"]));
    assert!(
        found[0].contains("found 3 different labels in field \"label\", expected at most 2"),
        "{found:?}"
    );

    let weighted = classification(json!({ "class_weights": { "d": 2 } }));
    let found = errors(&*weighted, json!(["a", "b"]));
    assert!(
        found[0].starts_with("task.t.classification.class_weights.d: found a label that training"),
        "{found:?}"
    );
}

#[test]
fn unseen_labels_are_counted_and_wrong() {
    let heads = Heads::read();
    let task = learnt(json!({}), json!(["a", "b", "c"]));
    let view = view_of(&heads, json!(["a", "x", "b", null, "x"]));
    let device = Device::flex();
    let (parameters, mut head) = heads.build(&task, &device);
    let report = head.encode_targets(Split::Validation, &view).unwrap();
    assert_eq!((report.labelled, report.missing, report.unseen["x"]), (4, 1, 2));
    assert_eq!(report.counts, [("a".to_owned(), 1), ("b".to_owned(), 1), ("c".to_owned(), 0)]);
    assert!(head.labelled(Split::Validation, 1) && !head.labelled(Split::Validation, 3));
    assert!(!head.labelled(Split::Validation, 9) && !head.labelled(Split::Train, 0));

    // sklearn on ["a", "x", "b", "x"] against ["a", "a", "b", "c"]: accuracy 0.5, macro F1 (2/3 + 1 + 0 + 0) / 4.
    let predictions: Vec<_> =
        [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2)].map(|(row, best)| (row, label(3, best))).into();
    let scores = head.score(Split::Validation, &predictions);
    assert_eq!((scores.primary.as_str(), scores.values[0].1), ("accuracy", 0.5));
    let macro_f1 = scores.get("macro_f1").unwrap();
    assert!((macro_f1 - 5.0 / 12.0).abs() < 1e-12, "{macro_f1}");

    // The loss leaves them out: only rows 0 and 2 count.
    let (pack, states, rows) = (pack(&view), heads.states(&device), same(&[0, 1, 2, 3, 4]));
    let batch = Batch::evaluated(&states, &pack, Split::Validation, &rows);
    assert_eq!(head.loss(&parameters, &batch).unwrap().num_targets, 2);
}

#[test]
fn the_main_metric_is_the_one_asked_for() {
    let mut config = crate::fixture::config("classification", json!({ "text": "text", "label": "label" }));
    config.metric = Some("matthews".into());
    let task = Learnt::of(config.build("t").unwrap(), &labelled(json!(["a", "b"])));
    let scores = task.head().score(Split::Test, &[]);
    assert_eq!(scores.primary, "matthews");
    let names: Vec<&str> = scores.values.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["matthews", "accuracy", "macro_f1", "micro_f1"]);
}

#[test]
fn balanced_weights_are_scikit_learns() {
    // sklearn.utils.class_weight.compute_class_weight("balanced", classes=["a", "b", "c"], y=list("aaab" "bc"))
    // = [0.6667, 1.0, 2.0]; the loss equals that of the same weights given by hand, also from the stored space.
    let heads = Heads::read();
    let table = json!({ "a": 2.0f32 / 3.0, "b": 1, "c": 2 });
    let balanced = json!({ "class_weights": "balanced" });
    let fitted = learnt(balanced.clone(), json!(["a", "a", "a", "b", "b", "c"]));
    let restored = Learnt::opened(classification(balanced), &*fitted.head());
    let by_hand = Learnt::opened(classification(json!({ "class_weights": table })), &*fitted.head());
    let loss = |task: &Learnt| {
        let view = view_of(&heads, json!(["c", "b", "a", "a", "b"]));
        let device = Device::flex();
        let (parameters, mut head) = heads.build(task, &device);
        head.encode_targets(Split::Train, &view).unwrap();
        let (pack, states, rows) = (pack(&view), heads.states(&device), same(&[0, 1, 2, 3, 4]));
        let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
        head.loss(&parameters, &batch).unwrap().mean.into_data().try_into_vec::<f32>().unwrap()
    };
    let expected = loss(&by_hand);
    assert_eq!((loss(&fitted), loss(&restored)), (expected.clone(), expected));
}

#[test]
fn answers_list_the_most_probable_labels() {
    let task = learnt(json!({}), json!(["喜び", "怒り", "c", "d", "e", "f"]));
    assert_eq!(task.labels(), &json!(["c", "d", "e", "f", "喜び", "怒り"]));
    let prediction = Prediction::Label(vec![0.125, 0.0, 0.25, 0.0625, 0.5, 0.0625]);
    let answer = task.head().to_json(&prediction, ModelInput::Text { text: "", words: &[] });
    assert_eq!(
        answer.to_string(),
        r#"{"label":"喜び","probability":0.5,"probabilities":{"喜び":0.5,"e":0.25,"c":0.125,"f":0.0625,"怒り":0.0625}}"#
    );
}

#[test]
fn a_label_space_of_something_else_is_refused() {
    let error = refused(&*classification(json!({})), &json!({ "tags": [] }));
    let expected = "task t: the stored labels do not fit: there is no list \"labels\"; train again, or use the config of that run";
    assert_eq!(error, expected);
}

/// Row 4 of the fixture in two windows.
fn in_windows(view: &View) -> View {
    let mut view = view.clone();
    view.encoded.sequences = view.encoded.offsets.clone();
    view.encoded.sequences.insert(5, view.encoded.offsets[4] + 3);
    view
}

/// The mean over the tokens of all windows is that of the row, whose numbers are PyTorch's.
#[test]
fn the_mean_is_over_the_tokens_of_all_windows() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads, json!({ "windows": {} }));
    let windows = data::TextWindows { overlap: 32, most: 8 };
    assert_eq!(task.kind.input(), InputField::Text("text".into()).in_windows(Some(windows)));
    heads.compare(&task, &in_windows(&view), &[0, 2, 3, 4], 3, &heads.json["classification"]["mean"]);
}

/// The first tokens of all windows, against states that are pooled by hand: loss, and gradients of the states and the weights.
#[test]
fn the_first_tokens_of_all_windows_are_pooled() {
    let heads = Heads::read();
    let (task, view) = of_fixture(&heads, json!({ "pooling": "first", "windows": {} }));
    let view = in_windows(&view);
    let offsets = view.encoded.offsets.clone();
    let rows = same(&[0, 2, 4]);
    for device in devices() {
        let device = device.autodiff();
        let run = |by_hand: bool| {
            let (parameters, mut head) = heads.build(&task, &device);
            head.encode_targets(Split::Train, &view).unwrap();
            let states = heads.states(&device).require_grad();
            let row = |token: usize| states.clone().slice([token..token + 1, 0..heads.hidden]);
            let pooled = |i: usize| match i {
                4 => (row(offsets[4]) + row(offsets[4] + 3)) / 2.0,
                i => row(offsets[i]),
            };
            let (seen, packed) = match by_hand {
                true => {
                    let one = |i: usize| vec![heads.words[i][0]];
                    let words: Vec<_> = (0..5).map(one).collect();
                    let short = super::fixture::view(view.input.clone(), view.rows.to_vec(), &words, &[0; 5]);
                    (burn::tensor::Tensor::cat((0..5).map(pooled).collect(), 0), pack(&short))
                }
                false => (states.clone(), pack(&view)),
            };
            let used = super::fixture::used_tokens(&*head, &packed, &rows);
            let (part, seen) = (packed.select_tokens(&used), kernels::gather_rows(seen, &used));
            assert_eq!(used.len(), if by_hand { 3 } else { 4 });
            let loss = head.loss(&parameters, &Batch::evaluated(&seen, &part, Split::Train, &rows)).unwrap();
            let value: Vec<f32> = loss.mean.clone().into_data().try_into_vec().unwrap();
            let gradient = states.grad(&loss.mean.backward()).unwrap();
            (value, gradient.into_data().try_into_vec::<f32>().unwrap())
        };
        let ((loss, gradient), (expected, expected_gradient)) = (run(false), run(true));
        near(&loss, &expected, "loss");
        near(&gradient, &expected_gradient, "gradient of the states");
        assert!(gradient.iter().any(|g| *g != 0.0));
    }
}
