//! What every kind answers as a teacher, and what it learns from a teacher.

use burn::tensor::{Device, Tensor, TensorData};
use data::{InputField, Split, View};
use model::{ParameterTensor, Parameters};
use polytask_tasks::{Batch, Kind, SoftTargets, TaskHead, TeacherAnswers, TeacherWeight};
use serde_json::{Value as Json, json};

use crate::fixture::{init_head, kind, pack, rows, same, view};

const HIDDEN: usize = 4;

/// A task with three rows, the last of which has no label.
struct Case {
    name: &'static str,
    kind: Box<dyn Kind>,
    view: View,
}

/// Rows of a special token and of words 0, 1, ..
fn words(lengths: [u32; 3]) -> Vec<Vec<Option<u32>>> {
    lengths.map(|length| std::iter::once(None).chain((0..length).map(Some)).collect()).into()
}

fn on_rows(name: &'static str, table: Json, labels: Json) -> Case {
    let key = if name == "multi_label" { "labels" } else { "label" };
    let object = |label: &Json| json!({ "text": "x", key: label, "value": label });
    let rows = rows(labels.as_array().unwrap().iter().map(object).collect());
    let kind = kind(name, table);
    Case { name, view: view(InputField::Text("text".into()), rows, &words([2, 3, 1]), &[0; 3]), kind }
}

fn on_words(name: &'static str, table: Json, objects: Json) -> Case {
    let input = InputField::Words("tokens".into());
    Case { name, view: view(input, rows(objects), &words([3, 2, 4]), &[0; 3]), kind: kind(name, table) }
}

fn choices() -> Case {
    let name = "multiple_choice";
    let row = |label: Json, n: usize| json!({ "text": "q", "choices": vec!["c"; n], "label": label });
    let objects = json!([row(json!(1), 2), row(json!(0), 3), row(Json::Null, 2)]);
    let input = InputField::Choices("text".into(), "choices".into());
    let mut view = view(input, rows(objects), &words([5, 5, 3]), &[0; 3]);
    view.encoded.sequences = vec![0, 3, 6, 8, 10, 12, 14, 16];
    Case { name, view, kind: kind(name, json!({})) }
}

fn answers() -> Case {
    let name = "extractive_qa";
    let row = |answers: Json| json!({ "question": "what?", "context": "ab cd ef", "answers": answers });
    let here = json!({ "text": ["cd"], "answer_start": [3] });
    let none = json!({ "text": [], "answer_start": [] });
    let input = InputField::Pair("question".into(), "context".into());
    let mut view =
        view(input, rows(json!([row(here), row(none), row(Json::Null)])), &words([3, 3, 3]), &[0; 3]);
    let of_row = [[0, 0], [0, 2], [3, 5], [6, 8]];
    view.encoded.offset_mapping = of_row.repeat(3);
    Case { name, view, kind: kind(name, json!({})) }
}

fn relations() -> Case {
    let name = "relation_classification";
    let row = |label: Json| json!({ "text": "a b", "label": label, "head": [0, 1], "tail": [2, 3] });
    let kind = kind(name, json!({ "text": "text", "head": "head", "tail": "tail", "label": "label" }));
    // Words with their roles, as the tokenizer numbers them (`data::SpanRole`).
    let of_row = [None, Some(4), Some(8), Some(13), Some(19), Some(23), Some(27), None];
    let words = vec![of_row.to_vec(); 3];
    let rows = rows(json!([row(json!("a")), row(json!("b")), row(Json::Null)]));
    Case { name, view: view(kind.input(), rows, &words, &[0; 3]), kind }
}

fn cases() -> Vec<Case> {
    let text = |more: Json| {
        let mut table = json!({ "text": "text" });
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        table
    };
    let by_label = || text(json!({ "label": "label" }));
    let order = text(json!({ "label": "label", "order": ["low", "middle", "high"] }));
    let tags = json!({ "tokens": "tokens", "tags": "tags", "scheme": "none" });
    let tagged = |key: &str, values: [Json; 3]| {
        let [a, b, c] = values;
        json!([{ "tokens": "x y z", key: a }, { "tokens": "x y", key: b }, { "tokens": "x y z w", key: c }])
    };
    let of_tags = || tagged("tags", [json!("A B A"), json!("B B"), Json::Null]);
    let parsed = json!([
        { "tokens": "x y z", "head": [0, 1, 2], "deprel": ["r", "s", "s"] },
        { "tokens": "x y", "head": [2, 0], "deprel": ["s", "r"] },
        { "tokens": "x y z w", "head": null, "deprel": null },
    ]);
    let lemmas = tagged("lemma", [json!("x yy z"), json!("x yy"), Json::Null]);
    let span = |start: u32, end: u32, label: &str| json!({ "start": start, "end": end, "type": label });
    let related = json!([{ "head": [0, 1], "tail": [1, 3], "type": "p" }, { "head": [1, 3], "tail": [0, 1], "type": "q" }]);
    let graphs = json!([
        { "tokens": "x y z", "entities": [span(0, 1, "a"), span(1, 3, "b")], "relations": related },
        { "tokens": "x y", "entities": [span(0, 2, "b")], "relations": [] },
        { "tokens": "x y z w", "entities": null, "relations": null },
    ]);
    vec![
        on_words("entities_relations", json!({ "max_width": 3, "span_dim": 6, "dropout": 0.0 }), graphs),
        on_rows("classification", by_label(), json!(["a", "b", null])),
        on_rows("multi_label", text(json!({ "labels": "labels" })), json!([["a", "b"], ["a"], null])),
        on_rows("ordinal_regression", order, json!(["high", "low", null])),
        on_rows("regression", text(json!({ "value": "value" })), json!([1.5, 3.0, null])),
        on_words("tagging", tags, of_tags()),
        on_words("lemmatization", json!({ "min_count": 1 }), lemmas),
        on_words("dependency_parsing", json!({ "arc_width": 4, "relation_width": 3 }), parsed),
        choices(),
        answers(),
        relations(),
    ]
}

/// A head with weights by a seed, and its parameters. Layers that begin at 0 get values, too.
fn built(case: &Case, device: &Device, seed: u64) -> (Parameters, Box<dyn TaskHead>) {
    let space = case.kind.fit_labels(&case.view.rows).unwrap();
    let mut parameters = Parameters::new(device, seed);
    let mut head = init_head(&*case.kind, &space, HIDDEN, &mut parameters).unwrap();
    for index in 0..parameters.len() {
        let size = parameters.data(index).len();
        let value = |i: usize| ((i as f32 * 1.7 + index as f32 + seed as f32 * 3.1).sin()) * 0.9;
        parameters.set_data(index, (0..size).map(value).collect()).unwrap();
    }
    head.encode_targets(Split::Train, &case.view).unwrap();
    (parameters, head)
}

fn states(case: &Case, device: &Device) -> Tensor<2> {
    let tokens = pack(&case.view).tokens();
    let values = (0..tokens * HIDDEN).map(|i| (i as f32 * 0.83).cos() * 1.3).collect();
    Tensor::from_data(TensorData::new(values, [tokens, HIDDEN]), device)
}

/// The answers of a teacher with weights by a seed.
fn taught(case: &Case, seed: u64) -> TeacherAnswers {
    let device = Device::flex();
    let (parameters, head) = built(case, &device, seed);
    let (states, pack, rows) = (states(case, &device), pack(&case.view), same(&[0, 1, 2]));
    let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
    let mut answers = TeacherAnswers::default();
    head.teacher_answers(&parameters, &batch).iter().for_each(|answer| answers.push(answer));
    assert_eq!((answers.rows(), answers.answered()), (3, 3), "{}", case.name);
    answers
}

/// The loss of a student on some rows, its number of targets, and the largest gradient of a weight.
fn learned(case: &Case, seed: u64, rows: &[u32], soft: Option<SoftTargets>) -> (f32, usize, f32) {
    let device = Device::flex().autodiff();
    let (parameters, mut head) = built(case, &device, seed);
    head.learn_from(soft);
    let (states, pack, rows) = (states(case, &device), pack(&case.view), same(rows));
    let batch = Batch { progress: 0.25, ..Batch::evaluated(&states, &pack, Split::Train, &rows) };
    let loss = head.loss(&parameters, &batch).unwrap_or_else(|| panic!("{}: targets", case.name));
    let gradients = loss.mean.backward();
    let largest = |data: TensorData| {
        data.try_into_vec::<f32>().unwrap().into_iter().fold(0.0, |most: f32, g| most.max(g.abs()))
    };
    let of_parameter = |index: usize| match parameters.parameter(index).value() {
        ParameterTensor::Matrix(w) => w.grad(&gradients).map_or(0.0, |g| largest(g.into_data())),
        ParameterTensor::Vector(w) => w.grad(&gradients).map_or(0.0, |g| largest(g.into_data())),
    };
    let most = (0..parameters.len()).map(of_parameter).fold(0.0, f32::max);
    (loss.mean.into_scalar(), loss.num_targets, most)
}

fn soft(answers: &TeacherAnswers, temperature: f32, weight: TeacherWeight) -> Option<SoftTargets> {
    Some(SoftTargets { answers: answers.clone(), temperature, weight })
}

#[test]
fn a_student_that_answers_as_its_teacher_has_nothing_to_learn() {
    for case in cases() {
        let answers = taught(&case, 1);
        for temperature in [1.0, 2.5] {
            let soft = soft(&answers, temperature, TeacherWeight::Constant(1.0));
            let (least, targets, gradient) = learned(&case, 1, &[0, 1, 2], soft.clone());
            assert!(gradient < 2e-6, "{} at {temperature}: {gradient}", case.name);
            let (other, of_other, gradient) = learned(&case, 2, &[0, 1, 2], soft);
            assert!(other > least + 1e-4 && gradient > 1e-3, "{}: {other} and {least}", case.name);
            assert_eq!(targets, of_other, "{}", case.name);
        }
    }
}

#[test]
fn labels_and_answers_are_mixed_by_the_weight() {
    for case in cases() {
        let answers = taught(&case, 1);
        let at = |weight, rows: &[u32]| learned(&case, 2, rows, soft(&answers, 2.0, weight));
        let constant = |weight| at(TeacherWeight::Constant(weight), &[0, 1]);
        let hard = learned(&case, 2, &[0, 1], None);
        let (labels, half, teacher) = (constant(0.0), constant(0.5), constant(1.0));
        let near = |a: f32, b: f32| (a - b).abs() < 1e-5 * (1.0 + a.abs());
        assert!(near(hard.0, labels.0) && hard.1 == labels.1, "{}: {hard:?} {labels:?}", case.name);
        if case.name != "regression" {
            assert!(near(half.0, (labels.0 + teacher.0) / 2.0), "{}: {half:?}", case.name);
        }
        // A quarter of the run is done.
        let annealed = at(TeacherWeight::Annealed, &[0, 1]);
        assert!(near(annealed.0, constant(0.75).0), "{}: {annealed:?}", case.name);
        // A row without a label has the answer alone.
        let unlabelled = at(TeacherWeight::Constant(0.0), &[2]);
        assert!(near(unlabelled.0, at(TeacherWeight::Constant(1.0), &[2]).0), "{}", case.name);
        let all = at(TeacherWeight::Constant(0.0), &[0, 1, 2]);
        let mean = (labels.0 * labels.1 as f32 + unlabelled.0 * unlabelled.1 as f32)
            / (labels.1 + unlabelled.1) as f32;
        assert!(near(all.0, mean), "{}: {all:?} {mean}", case.name);
    }
}

#[test]
fn rows_with_an_answer_are_trained_on_and_scored_as_before() {
    for case in cases() {
        let (_, mut head) = built(&case, &Device::flex(), 2);
        head.encode_targets(Split::Validation, &case.view).unwrap();
        assert!(!head.labelled(Split::Train, 2));
        let mut answers = TeacherAnswers::default();
        let all = taught(&case, 1);
        [&[][..], &[], all.row(2)].iter().for_each(|answer| answers.push(answer));
        head.learn_from(soft(&answers, 1.0, TeacherWeight::Constant(0.5)));
        assert!(head.labelled(Split::Train, 2) && !head.labelled(Split::Validation, 2), "{}", case.name);
        // Rows without an answer have their label's loss.
        let targets = soft(&answers, 1.0, TeacherWeight::Constant(1.0));
        let (found, expected) = (learned(&case, 2, &[0, 1], targets), learned(&case, 2, &[0, 1], None));
        assert_eq!(found, expected, "{}", case.name);
    }
}

/// The golden values of teacher annealing: label .8, answer .6, prediction .5.
#[test]
fn numbers_are_learned_at_the_mean_of_label_and_answer() {
    let kind = kind("regression", json!({ "text": "text", "value": "value" }));
    // Their mean is 0 and their deviation 1, so that the scale is that of the corpus.
    let space = kind.fit_labels(&rows(json!([{ "value": -1.0 }, { "value": 1.0 }]))).unwrap();
    let rows = rows(json!([{ "text": "x", "value": 0.8 }]));
    let view = view(InputField::Text("text".into()), rows, &[vec![None]], &[0]);
    let device = Device::flex();
    let mut parameters = Parameters::new(&device, 1);
    let mut head = init_head(&*kind, &space, 1, &mut parameters).unwrap();
    let weight = parameters.find("head.t.weight").unwrap();
    let bias = parameters.find("head.t.bias").unwrap();
    parameters.set_data(weight, vec![0.0]).unwrap();
    parameters.set_data(bias, vec![0.5]).unwrap();
    head.encode_targets(Split::Train, &view).unwrap();
    let mut answers = TeacherAnswers::default();
    answers.push(&[0.6]);
    let states = Tensor::<2>::zeros([1, 1], &device);
    let (pack, rows) = (pack(&view), same(&[0]));
    for (lambda, expected) in [(0.0, 0.01), (0.25, 0.0225), (1.0, 0.09)] {
        head.learn_from(soft(&answers, 3.0, TeacherWeight::Annealed));
        let batch = Batch { progress: lambda, ..Batch::evaluated(&states, &pack, Split::Train, &rows) };
        let loss: f32 = head.loss(&parameters, &batch).unwrap().mean.into_scalar();
        assert!((loss - expected).abs() < 1e-6, "{lambda}: {loss}");
    }
}

#[test]
fn kinds_without_answers_say_why() {
    let of = |name: &str, table: Json, objects: Json| {
        let kind = kind(name, table);
        let space = kind.fit_labels(&rows(objects)).unwrap();
        init_head(&*kind, &space, HIDDEN, &mut Parameters::new(&Device::flex(), 1)).unwrap()
    };
    let tagged = json!([{ "tokens": "x y", "tags": "A B" }]);
    let crf =
        of("tagging", json!({ "tokens": "tokens", "tags": "tags", "scheme": "none", "crf": true }), tagged);
    assert!(crf.soft_outputs().is_ok() && crf.learnable_outputs().unwrap_err().contains("a CRF"));
}

/// With a CRF a teacher answers with the marginal probabilities of its words.
#[test]
fn a_crf_answers_with_marginals() {
    let table = json!({ "tokens": "tokens", "tags": "tags", "scheme": "none", "crf": true });
    let objects =
        json!([{ "tokens": "x y z", "tags": "A B A" }, { "tokens": "x y" }, { "tokens": "x y z w" }]);
    let case = on_words("tagging", table, objects);
    let answers = taught(&case, 1);
    for word in answers.row(2).chunks(2) {
        let sum: f32 = word.iter().map(|log_p| log_p.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{word:?}");
    }
}

#[test]
fn a_parsers_relations_are_put_into_the_students_order() {
    let case = cases().into_iter().find(|case| case.name == "dependency_parsing").unwrap();
    let (_, head) = built(&case, &Device::flex(), 1);
    let mut answer = taught(&case, 1).row(1).to_vec();
    let before = answer.clone();
    head.reorder(&mut answer, &[1, 0]);
    let relations = answer.len() - 4;
    assert_eq!(answer[..relations], before[..relations]);
    assert_eq!([answer[relations], answer[relations + 1]], [before[relations + 1], before[relations]]);
}
