//! Predictions beside the gold of their rows: what lists of errors and confusion matrices are made of.

use data::{InputField, Row, Split};
use polytask_tasks::{
    EntityAnswer, EntityGraph, Prediction, RelationAnswer, RowComparison, SpanAnswer, WordArc, WordTag,
};
use serde_json::{Value as Json, json};

use crate::fixture::{Learnt, kind, rows, view};

/// The comparison of each row, of a task whose labels are those of the same rows.
fn compared(name: &str, table: Json, objects: Json, found: &[Prediction]) -> Vec<Option<RowComparison>> {
    let rows: Vec<Row> = rows(objects);
    let task = Learnt::of(kind(name, table), &rows);
    let words: Vec<Vec<Option<u32>>> = rows.iter().map(|_| (0..4).map(Some).collect()).collect();
    let truncated = vec![0; rows.len()];
    let mut view = view(InputField::Text("text".into()), rows, &words, &truncated);
    // A byte a token, for answers in texts.
    view.encoded.offset_mapping =
        words.iter().flat_map(|words| (0..words.len() as u32).map(|i| [i, i + 1])).collect();
    let mut head = task.head();
    head.encode_targets(Split::Validation, &view).expect("targets");
    found.iter().enumerate().map(|(row, found)| head.compare(Split::Validation, &view, row, found)).collect()
}

fn pairs(found: &RowComparison) -> Vec<(&str, &str)> {
    found.labels.iter().map(|(gold, answer)| (gold.as_str(), answer.as_str())).collect()
}

fn sides(found: &RowComparison) -> (&str, &str, bool) {
    (&found.gold, &found.answer, found.is_correct)
}

#[test]
fn a_label_is_right_or_as_wrong_as_its_probability() {
    let objects = json!([{ "text": "x", "label": "a" }, { "text": "x", "label": "b" }, { "text": "x" }]);
    let found = [[0.25, 0.75], [0.25, 0.75], [0.25, 0.75]].map(|p| Prediction::Label(p.to_vec()));
    let found = compared("classification", json!({ "text": "text", "label": "label" }), objects, &found);
    let [Some(wrong), Some(right), None] = &found[..] else { panic!("the third has no label: {found:?}") };
    assert_eq!((sides(wrong), wrong.error, pairs(wrong)), (("a", "b", false), 0.75, vec![("a", "b")]));
    assert_eq!((sides(right), right.error, pairs(right)), (("b", "b", true), 0.0, vec![("b", "b")]));
}

#[test]
fn scores_that_are_not_finite_are_no_answer() {
    let objects = json!([{ "text": "x", "label": "a" }, { "text": "x", "label": "b" }]);
    let found = [Prediction::Label(vec![f32::NAN, f32::NAN])];
    let table = json!({ "text": "text", "label": "label" });
    assert_eq!(compared("classification", table, objects, &found), [None]);
}

#[test]
fn of_ordered_classes_the_distance_counts_before_the_probability() {
    let objects =
        json!([{ "text": "x", "label": "1" }, { "text": "x", "label": "1" }, { "text": "x", "label": "3" }]);
    let table = json!({ "text": "text", "label": "label", "order": ["1", "2", "3"] });
    let found =
        [[0.0, 1.0, 0.0], [0.25, 0.125, 0.625], [0.0, 0.25, 0.75]].map(|p| Prediction::Label(p.to_vec()));
    let found = compared("ordinal_regression", table, objects, &found);
    let errors: Vec<f64> = found.iter().flatten().map(|found| found.error).collect();
    assert_eq!(errors, [1.5, 2.3125, 0.0]);
}

#[test]
fn a_number_is_as_wrong_as_it_is_far_off() {
    let objects = json!([{ "text": "x", "value": 2.0 }, { "text": "x", "value": -1.0 }]);
    let found = [Prediction::Number(0.5), Prediction::Number(-1.0)];
    let found = compared("regression", json!({ "text": "text", "value": "value" }), objects, &found);
    let [Some(wrong), Some(right)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((sides(wrong), wrong.error), (("2.0000", "0.5000", false), 1.5));
    assert!(right.is_correct && right.error == 0.0 && right.labels.is_empty());
}

#[test]
fn of_sets_missed_and_spurious_labels_count() {
    let objects = json!([{ "text": "x", "labels": ["a", "b"] }, { "text": "x", "labels": ["c"] }, { "text": "x", "labels": [] }]);
    let table = json!({ "text": "text", "labels": "labels", "thresholds": 0.5 });
    let found =
        [[0.75, 0.125, 0.625], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]].map(|p| Prediction::Labels(p.to_vec()));
    let found = compared("multi_label", table, objects, &found);
    let [Some(wrong), Some(right), Some(empty)] = &found[..] else { panic!("{found:?}") };
    // The missed one had the probability 0.125, the spurious one 0.625.
    assert_eq!((sides(wrong), wrong.error), (("a, b", "a, c", false), 0.875));
    assert_eq!(pairs(wrong), [("a", "a"), ("b", "(none)"), ("(none)", "c")]);
    assert!(right.is_correct && sides(empty) == ("(none)", "(none)", true));
}

#[test]
fn of_choices_the_texts_are_shown() {
    let objects = json!([{ "text": "q", "choices": ["yes", "no"], "right": 1 }, { "text": "q", "choices": ["yes", "no"], "right": 0 }]);
    let table = json!({ "text": "text", "choices": "choices", "label": "right" });
    let found = [Prediction::Label(vec![0.75, 0.25]), Prediction::Label(vec![0.75, 0.25])];
    let found = compared("multiple_choice", table, objects, &found);
    let [Some(wrong), Some(right)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((sides(wrong), pairs(wrong)), (("1: no", "0: yes", false), vec![("choice 1", "choice 0")]));
    assert!(right.is_correct);
}

#[test]
fn of_tags_the_words_that_differ_are_shown_and_types_are_counted() {
    let row = json!({ "text": "x", "tokens": ["Ada", "Lovelace", "in", "Paris"], "tags": ["B-PER", "I-PER", "O", "B-LOC"] });
    let tags = ["B-LOC", "B-PER", "I-PER", "O"];
    let tag = |name: &str, probability| {
        Some(WordTag { label: tags.iter().position(|tag| *tag == name).unwrap() as u32, probability })
    };
    let found = Prediction::Tags(vec![tag("B-PER", 0.9), tag("O", 0.75), tag("O", 0.9), tag("B-PER", 0.5)]);
    let found = compared("tagging", json!({}), json!([row]), &[found]);
    let [Some(found)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(sides(found), ("Lovelace I-PER, Paris B-LOC", "Lovelace O, Paris B-PER", false));
    assert_eq!(pairs(found), [("PER", "PER"), ("PER", "O"), ("O", "O"), ("LOC", "PER")]);
    assert_eq!(found.error, 0.75);
}

#[test]
fn of_trees_the_arcs_that_differ_are_shown() {
    let row = json!({ "text": "x", "tokens": ["she", "sees", "it"], "heads": [2, 0, 2], "deprel": ["nsubj", "root", "obj"] });
    let table = json!({ "tokens": "tokens", "heads": "heads", "relations": "deprel" });
    // Relations in their order: nsubj, obj, root.
    let arc = |head, relation, probability| Some(WordArc { head, relation, probability });
    let found = Prediction::Tree(vec![arc(2, 0, 0.9), arc(0, 2, 0.9), arc(1, 0, 0.5)]);
    let found = compared("dependency_parsing", table, json!([row]), &[found]);
    let [Some(found)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(sides(found), ("it obj of sees", "it nsubj of she", false));
    assert_eq!(
        (pairs(found), found.error),
        (vec![("nsubj", "nsubj"), ("root", "root"), ("obj", "nsubj")], 0.5)
    );
}

#[test]
fn of_entities_and_relations_what_is_not_in_both_is_shown() {
    let entity = |start: u32, end: u32, label: &str| json!({ "start": start, "end": end, "type": label });
    let row = json!({
        "text": "x",
        "tokens": ["Ada", "lives", "in", "Paris"],
        "entities": [entity(0, 1, "PER"), entity(3, 4, "LOC")],
        "relations": [{ "head": [0, 1], "tail": [3, 4], "type": "lives in" }],
    });
    let answer = |words, label| EntityAnswer { words, label, probability: 0.9 };
    // Types in their order: LOC, PER.
    let graph = EntityGraph {
        entities: vec![answer([0, 1], 1), answer([2, 3], 0), answer([3, 4], 0)],
        relations: vec![RelationAnswer { head: 0, tail: 1, label: 0, probability: 0.9 }],
        nonfinite: false,
    };
    let found = compared("entities_relations", json!({}), json!([row]), &[Prediction::Graph(graph)]);
    let [Some(found)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(sides(found), ("Ada lives in Paris", "in LOC (word 3), Ada lives in in", false));
    assert_eq!((pairs(found), found.error), (vec![("PER", "PER"), ("LOC", "LOC"), ("(none)", "LOC")], 3.0));
}

#[test]
fn an_answer_is_right_where_it_is_one_of_the_gold_ones() {
    let answers = |text: &str, start: u32| json!({ "text": [text], "answer_start": [start] });
    let objects = json!([
        { "question": "q", "context": "abcd", "answers": answers("bc", 1) },
        { "question": "q", "context": "abcd", "answers": answers("abcd", 0) },
    ]);
    let table = json!({ "question": "question", "context": "context", "answers": "answers" });
    let span = |tokens| Prediction::Span(SpanAnswer { tokens, sequence: 0, probability: 0.5 });
    let found = compared("extractive_qa", table, objects, &[span(Some([1, 2])), span(None)]);
    let [Some(right), Some(wrong)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(sides(right), ("bc", "bc", true));
    assert_eq!((sides(wrong), wrong.error), (("abcd", "(none)", false), 0.5));
    assert_eq!(pairs(wrong), [("an answer", "no answer")]);
}

#[test]
fn of_lemmas_the_words_that_differ_are_shown() {
    let row = json!({ "text": "x", "tokens": ["cats", "dog", "cats"], "lemmas": ["cat", "dog", "cat"] });
    let table = json!({ "tokens": "tokens", "lemmas": "lemmas", "min_count": 1 });
    let rows_json = json!([row]);
    let probe = |label| Some(WordTag { label, probability: 0.5 });
    // Either script is right for one of the two forms: whichever it is, one sort of word is wrong.
    let found =
        compared("lemmatization", table, rows_json, &[Prediction::Tags(vec![probe(0), probe(0), None])]);
    let [Some(found)] = &found[..] else { panic!("{found:?}") };
    assert!(
        !found.is_correct && found.gold.ends_with("cats cat") && found.answer.ends_with("cats (none)"),
        "{found:?}"
    );
}
