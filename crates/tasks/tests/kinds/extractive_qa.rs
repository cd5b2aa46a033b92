//! Answers in a context: reading, loss, decoding, scores.

use burn::tensor::Device;
use data::{InputField, Split, View};
use polytask_tasks::{Batch, Kind, LabelReport, ModelInput, Prediction, SpanAnswer};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, kind, near, pack, refused, rows, same, used_tokens, view};

const CONTEXT: &str = "ab cdef gh ij";

fn extractive_qa() -> Box<dyn Kind> {
    kind("extractive_qa", json!({ "max_tokens": 2 }))
}

/// The task, which has no labels to learn.
fn learnt() -> Learnt {
    Learnt { kind: extractive_qa(), label_space: json!({}) }
}

fn objects(answers: Json) -> Vec<data::Row> {
    let object = |answers: &Json| json!({ "question": "what?", "context": CONTEXT, "answers": answers });
    rows(answers.as_array().unwrap().iter().map(object).collect())
}

/// Rows with these answers and the tokens of the fixture, of which those with a word stand in the context one after the other.
fn view_of(heads: &Heads, answers: Json, truncated: [u32; 5]) -> View {
    let input = InputField::Pair("question".into(), "context".into());
    let mut view = view(input, objects(answers), &heads.words, &truncated);
    let places = [[0, 2], [3, 5], [5, 7], [8, 10], [11, 13]];
    for row in &heads.words {
        // The first token stands for "no answer", whether it has a word or not.
        let mut next = places.iter();
        let place = |(i, word): (usize, &Option<u32>)| match word {
            Some(_) if i > 0 => *next.next().unwrap(),
            _ => [0, 0],
        };
        view.encoded.offset_mapping.extend(row.iter().enumerate().map(place));
    }
    view
}

fn answer(text: &str, start: usize) -> Json {
    json!({ "text": [text], "answer_start": [start] })
}

/// The task of the fixture: row 0 has no answer, row 4 has one, row 2 is not labelled.
fn of_fixture(heads: &Heads) -> (Learnt, View, LabelReport) {
    let none = json!({ "text": [], "answer_start": [] });
    let view =
        view_of(heads, json!([none, null, null, null, [{ "text": "cdef gh", "answer_start": 3 }]]), [0; 5]);
    let task = Learnt::of(extractive_qa(), &view.rows);
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    (task, view, report)
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    let (task, view, report) = of_fixture(&heads);
    assert_eq!((report.labelled, report.missing, report.truncated), (2, 3, 0));
    assert_eq!(report.counts, [("an answer".to_owned(), 1), ("no answer".to_owned(), 1)]);
    heads.compare(&task, &view, &[0, 2, 3, 4], 2, &heads.json["span"]["loss"]);
}

#[test]
fn decodings_equal_a_search_of_all_pairs_also_from_the_tokens_read_alone() {
    let heads = Heads::read();
    let (task, view, _) = of_fixture(&heads);
    let opened = Learnt::opened(extractive_qa(), &*task.head());
    let (device, pack) = (Device::flex(), pack(&view));
    let ((parameters, served), states, rows) =
        (heads.build(&opened, &device), heads.states(&device), same(&[0, 4]));
    let used = used_tokens(&*served, &pack, &rows);
    for tokens in [(0..pack.tokens() as u32).collect(), used] {
        let (part, seen) = (pack.select_tokens(&tokens), kernels::gather_rows(states.clone(), &tokens));
        let batch = Batch::evaluated(&seen, &part, Split::Test, &rows);
        let found = served.predict(&parameters, &batch);
        for (found, expected) in found.iter().zip(heads.json["span"]["answers"].as_array().unwrap()) {
            let Prediction::Span(SpanAnswer { tokens, probability, .. }) = found else { panic!("an answer") };
            let number = |i: usize| expected[i].as_f64().unwrap();
            assert_eq!(tokens.unwrap_or_default(), [number(0) as u32, number(1) as u32]);
            near(&[*probability], &[number(2) as f32], "probability");
        }
        assert!(served.loss(&parameters, &batch).is_none());
    }
}

/// Row 4 of the fixture in two windows, "ab cdef" and "gh ij", with this answer.
fn in_windows(heads: &Heads, answer: Json) -> View {
    let none = json!({ "text": [], "answer_start": [] });
    let mut view = view_of(heads, json!([none, null, null, null, answer]), [0; 5]);
    let begin = view.encoded.offsets[4];
    view.encoded.sequences = view.encoded.offsets.clone();
    view.encoded.sequences.insert(5, begin + 3);
    view.encoded.offset_mapping[begin + 3] = [0, 0];
    view.encoded.offset_mapping[begin + 4..].copy_from_slice(&[[8, 10], [11, 13]]);
    view
}

#[test]
fn windows_of_a_context_are_learned_and_searched_one_by_one() {
    let heads = Heads::read();
    let view = in_windows(&heads, answer("gh ij", 8));
    let task = learnt();
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.labelled, report.truncated), (2, 0));
    heads.compare(&task, &view, &[0, 2, 3, 4], 3, &heads.json["span"]["windows"]);
    let (device, pack) = (Device::flex(), pack(&view));
    let ((parameters, mut head), states, rows) =
        (heads.build(&task, &device), heads.states(&device), same(&[0, 4]));
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let found = head.predict(&parameters, &batch);
    for (found, expected) in found.iter().zip(heads.json["span"]["window_answers"].as_array().unwrap()) {
        let Prediction::Span(SpanAnswer { tokens, sequence, probability }) = found else {
            panic!("an answer")
        };
        let number = |i: usize| expected[i].as_f64().unwrap();
        let [first, last] = tokens.unwrap_or_default();
        assert_eq!([*sequence, first, last], [number(0) as u32, number(1) as u32, number(2) as u32]);
        near(&[*probability], &[number(3) as f32], "probability");
    }
    head.encode_targets(Split::Test, &view).unwrap();
    let second = SpanAnswer { tokens: Some([1, 2]), sequence: 1, probability: 0.5 };
    assert_eq!(head.score(Split::Test, &[(4, Prediction::Span(second))]).get("exact_match"), Some(1.0));
}

#[test]
fn an_answer_that_no_window_has_whole_is_counted_and_not_trained_on() {
    let heads = Heads::read();
    // It begins in one window and ends in the other.
    let view = in_windows(&heads, answer("ef gh", 5));
    let device = Device::flex();
    let ((parameters, mut head), states) = (heads.build(&learnt(), &device), heads.states(&device));
    assert_eq!(head.encode_targets(Split::Train, &view).unwrap().truncated, 1);
    let (pack, rows) = (pack(&view), same(&[4]));
    let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
    assert!(head.loss(&parameters, &batch).is_none());
}

#[test]
fn answers_are_scored_as_text() {
    let heads = Heads::read();
    let mut head = learnt().head();
    // Row 4: two answers, of which the second is predicted; row 0: none; row 1: one that has no token, since nothing has.
    let both = json!({ "text": ["ij", "cdef gh"], "answer_start": [11, 3] });
    let view = view_of(&heads, json!([[], answer("ab", 0), null, null, both]), [0, 9, 0, 0, 0]);
    let report = head.encode_targets(Split::Test, &view).unwrap();
    assert_eq!((report.labelled, report.truncated), (3, 1));
    assert!(
        head.labelled(Split::Test, 1) && !head.labelled(Split::Test, 2) && !head.labelled(Split::Test, 9)
    );
    let answered = |tokens| Prediction::Span(SpanAnswer { tokens, sequence: 0, probability: 0.5 });
    let predictions =
        [(0, answered(None)), (1, answered(None)), (2, answered(None)), (4, answered(Some([3, 4])))];
    // "ef gh" and "cdef gh" share one word of two on either side.
    let scores = head.score(Split::Test, &predictions);
    assert_eq!((scores.primary.as_str(), scores.get("answer_f1")), ("answer_f1", Some(0.5)));
    assert!((scores.get("exact_match").unwrap() - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn answers_that_were_cut_off_are_counted_and_not_trained_on() {
    let heads = Heads::read();
    // The context goes on behind the last token, and so does the answer.
    let longer = json!([null, null, null, null, { "text": "ij", "answer_start": 11 }]);
    let mut view = view_of(&heads, longer, [0, 0, 0, 0, 3]);
    let last = view.encoded.offset_mapping.len() - 1;
    view.encoded.offset_mapping[last] = [11, 12];
    let device = Device::flex();
    let ((parameters, mut head), states) = (heads.build(&learnt(), &device), heads.states(&device));
    let report = head.encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.labelled, report.truncated), (1, 1));
    let (pack, rows) = (pack(&view), same(&[4]));
    let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
    assert!(head.loss(&parameters, &batch).is_none());
}

#[test]
fn answers_are_told_with_their_place_in_characters() {
    let second = "où est 東京 ?";
    let places = [[0, 0], [0, 3], [4, 7], [8, 11], [11, 14]];
    let input = ModelInput::Pair { second, offset_mapping: &[&places[..0], &places] };
    let head = learnt().head();
    let to_json = |tokens| {
        head.to_json(&Prediction::Span(SpanAnswer { tokens, sequence: 1, probability: 0.25 }), input)
    };
    assert_eq!(to_json(Some([3, 4])), json!({ "answer": "東京", "start": 7, "end": 9, "probability": 0.25 }));
    assert_eq!(to_json(None), json!({ "answer": null, "start": null, "end": null, "probability": 0.25 }));
}

#[test]
fn answers_that_stand_elsewhere_are_reported() {
    let errors = extractive_qa()
        .fit_labels(&objects(json!([answer("cdef", 4), "cdef", answer("gh", 99), { "text": "ab" }])));
    let found: Vec<String> = errors.unwrap_err().iter().map(|error| error.to_string()).collect();
    let layout = "expected {text: [..], answer_start: [..]}, or a list of {text, answer_start}, with starts in characters";
    let field = "field \"answers\": found";
    assert_eq!(
        found,
        [
            format!("data.jsonl:2: {field} \"cdef\", {layout}"),
            format!("data.jsonl:4: {field} {{text: \"ab\"}}, {layout}"),
        ]
    );
    // Answers that stand elsewhere are left out; where there are no others, nothing can be learned.
    let errors =
        extractive_qa().fit_labels(&objects(json!([answer("cdef", 4), answer("gh", 99)]))).unwrap_err();
    let says = "that stands at its start in the context (data.jsonl:1: it stands elsewhere in the context)";
    assert!(errors[0].to_string().contains(says), "{}", errors[0]);
    let errors = extractive_qa().fit_labels(&objects(json!([null, []]))).unwrap_err();
    assert!(
        errors[0]
            .to_string()
            .starts_with("task.t.extractive_qa.answers: found no answer in field \"answers\" of 2")
    );
    assert!(refused(&*extractive_qa(), &json!({ "labels": ["a"] })).contains("answers have no labels"));
}
