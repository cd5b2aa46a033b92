//! Dependency parsing: reading, loss, decoding, scores.

use burn::tensor::Device;
use data::{InputField, Row, Split, View};
use polytask_tasks::{Batch, Kind, LabelReport, ModelInput, Prediction, WordArc};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, kind, near, pack, rows, same, used_tokens, view};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn fixture() -> Heads {
    Heads::of(include_str!("../fixtures/parsing.json"))
}

fn parsing() -> Box<dyn Kind> {
    kind("dependency_parsing", json!({ "arc_width": 4, "relation_width": 3 }))
}

/// Rows of these heads and relations.
fn parsed(trees: &[(Json, Json)]) -> Vec<Row> {
    let row = |(heads, relations): &(Json, Json)| {
        let words = heads.as_array().map_or(2, Vec::len);
        json!({ "tokens": vec!["w"; words], "head": heads, "deprel": relations })
    };
    rows(trees.iter().map(row).collect())
}

fn view_of(rows: Vec<Row>, words: &[Vec<Option<u32>>], truncated: &[u32]) -> View {
    view(InputField::Words("tokens".into()), rows, words, truncated)
}

/// The task of the fixture: rows 0, 2 and 4 have heads.
fn of_fixture(heads: &Heads) -> (Learnt, View, LabelReport) {
    let task = Learnt::of(parsing(), &parsed(&[(json!([0, 1, 1]), json!(NAMES))]));
    assert_eq!(task.labels(), &json!(NAMES));
    let tree = |row: usize| -> (Json, Json) {
        let Some(arcs) = heads.json["arcs"][row.to_string()].as_array() else {
            return (Json::Null, Json::Null);
        };
        let relation = |arc: &Json| arc[1].as_u64().map(|relation| NAMES[relation as usize]);
        (arcs.iter().map(|arc| arc[0].clone()).collect(), arcs.iter().map(relation).collect())
    };
    let trees: Vec<(Json, Json)> = (0..5).map(tree).collect();
    let view = view_of(parsed(&trees), &heads.words, &[0, 0, 2, 0, 0]);
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    (task, view, report)
}

#[test]
fn loss_and_gradients_equal_pytorch() {
    let heads = fixture();
    let (task, view, report) = of_fixture(&heads);
    // Row 2: word 3 is cut, and word 1 hangs on it.
    assert_eq!((report.labelled, report.missing, report.truncated, report.without_token), (3, 2, 2, 0));
    let counts = [("a", 3), ("b", 2), ("c", 3)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(report.counts, counts);
    let items = heads.json["items"].as_u64().unwrap() as usize;
    assert_eq!(items, 6);
    heads.compare(&task, &view, &[0, 2, 3, 4], items, &heads.json["loss"]);
}

#[test]
fn trees_equal_those_of_a_search_of_all_also_from_the_tokens_read_alone() {
    let heads = fixture();
    let (trained, view, _) = of_fixture(&heads);
    let opened = Learnt::opened(parsing(), &*trained.head());
    let (device, pack) = (Device::flex(), pack(&view));
    let ((parameters, served), states) = (heads.build(&opened, &device), heads.states(&device));
    let rows = same(&[0, 1, 2, 4]);
    let used = used_tokens(&*served, &pack, &rows);
    assert_eq!(used.len(), 8, "one token a word");
    for tokens in [(0..pack.tokens() as u32).collect(), used] {
        let (part, seen) = (pack.select_tokens(&tokens), kernels::gather_rows(states.clone(), &tokens));
        let batch = Batch::evaluated(&seen, &part, Split::Test, &rows);
        let mut found = served.predict(&parameters, &batch);
        assert_eq!(found.remove(1), Prediction::Tree(vec![]), "a row without words");
        for (found, expected) in found.iter().zip(heads.json["trees"].as_array().unwrap()) {
            let Prediction::Tree(arcs) = found else { panic!("a tree") };
            let expected = expected.as_array().unwrap();
            assert_eq!(arcs.len(), expected.len());
            for (arc, expected) in arcs.iter().flatten().zip(expected) {
                assert_eq!(json!([arc.head, arc.relation]), json!([expected[0], expected[1]]));
                near(&[arc.probability], &[expected[2].as_f64().unwrap() as f32], "probability");
            }
        }
        assert!(served.loss(&parameters, &batch).is_none());
    }
}

#[test]
fn rows_of_any_length_go_together() {
    // What a row says does not depend on the rows beside it, however long.
    let task = Learnt::of(parsing(), &parsed(&[(json!([0, 1, 1]), json!(NAMES))]));
    let lengths = [1, 9, 2, 4, 1, 16, 3];
    let words: Vec<Vec<Option<u32>>> = lengths.iter().map(|n| (0..*n).map(Some).collect()).collect();
    let trees: Vec<(Json, Json)> = lengths
        .iter()
        .map(|n| ((0..*n).collect(), (0..*n).map(|word| NAMES[word as usize % 3]).collect()))
        .collect();
    let view = view_of(parsed(&trees), &words, &[0; 7]);
    let device = Device::flex();
    let heads = fixture();
    let (parameters, mut head) = heads.build(&task, &device);
    head.encode_targets(Split::Train, &view).unwrap();
    let pack = pack(&view);
    let mut rng = data::random::stream(1, "states", 0);
    let numbers: Vec<f32> = (0..pack.tokens() * heads.hidden)
        .map(|_| 2.0 * data::random::uniform01(&mut rng) as f32 - 1.0)
        .collect();
    let shape = [pack.tokens(), heads.hidden];
    let states = burn::tensor::Tensor::from_data(burn::tensor::TensorData::new(numbers, shape), &device);
    let of = |rows: &[u32]| {
        let rows = same(rows);
        let batch = Batch::evaluated(&states, &pack, Split::Train, &rows);
        let loss = head.loss(&parameters, &batch).unwrap();
        (loss.mean.into_scalar::<f32>() * loss.num_targets as f32, head.predict(&parameters, &batch))
    };
    let (mut sum, mut alone) = (0.0, Vec::new());
    for row in 0..lengths.len() as u32 {
        let (loss, predictions) = of(&[row]);
        sum += loss;
        alone.extend(predictions);
    }
    let (loss, together) = of(&[0, 1, 2, 3, 4, 5, 6]);
    near(&[loss], &[sum], "loss");
    for (alone, together) in alone.iter().zip(&together) {
        let (Prediction::Tree(alone), Prediction::Tree(together)) = (alone, together) else {
            panic!("trees")
        };
        let arcs = |tree: &[Option<WordArc>]| -> Vec<_> {
            tree.iter().flatten().map(|arc| (arc.head, arc.relation)).collect()
        };
        assert_eq!(arcs(alone), arcs(together));
        assert_eq!(arcs(alone).iter().filter(|(head, _)| *head == 0).count(), 1);
    }
}

#[test]
fn words_that_are_lost_are_counted_and_wrong() {
    let seen = parsed(&[(json!([0, 1, 1]), json!(["root", "obj", "punct"]))]);
    let mut head = Learnt::of(parsing(), &seen).head();
    // Row 0: word 2 has no token and word 3 hangs on it, word 4 is cut. Row 1 has no heads. Row 2 has relations never seen.
    let rows = parsed(&[
        (json!([0, 1, 2, 1]), json!(["root", "obj", "obj", "punct"])),
        (Json::Null, Json::Null),
        (json!([2, 0]), json!(["acl", "root"])),
    ]);
    let words = [vec![Some(0), Some(2)], vec![Some(0)], vec![Some(0), Some(1)]];
    let report = head.encode_targets(Split::Test, &view_of(rows, &words, &[1, 0, 0])).unwrap();
    assert_eq!((report.labelled, report.missing, report.truncated, report.without_token), (2, 1, 1, 2));
    assert_eq!(report.unseen, [("acl".to_owned(), 1)].into());
    assert!(
        head.labelled(Split::Test, 0) && !head.labelled(Split::Test, 1) && !head.labelled(Split::Test, 9)
    );
    // Labels sorted: obj 0, punct 1, root 2.
    let arc = |head, relation| Some(WordArc { head, relation, probability: 0.5 });
    let predictions = [
        (0, Prediction::Tree(vec![arc(0, 2), None, arc(1, 0)])),
        (1, Prediction::Tree(vec![arc(0, 2)])),
        (2, Prediction::Tree(vec![arc(2, 0), arc(0, 2)])),
    ];
    let scores = head.score(Split::Test, &predictions);
    assert_eq!(scores.primary, "las");
    // Of six words, heads of word 1 and of both words of row 2 are right; "acl" could not be found.
    assert_eq!((scores.get("uas"), scores.get("las")), (Some(0.5), Some(2.0 / 6.0)));
    assert_eq!(scores.get("relation_accuracy"), Some(2.0 / 6.0));
    assert_eq!(head.score(Split::Train, &predictions).get("las"), Some(0.0));
}

#[test]
fn heads_may_be_numbers_or_text_and_some_words_may_have_none() {
    let rows = rows(json!([
        { "tokens": "a b c", "head": "2 0 _", "deprel": "x y z" },
        { "tokens": ["a", "b"], "head": ["0", null], "deprel": ["x", null] },
        { "tokens": [], "head": [], "deprel": [] },
        { "tokens": ["a"] },
    ]));
    let task = Learnt::of(parsing(), &rows);
    assert_eq!(task.labels(), &json!(["x", "y"]));
    let words = [vec![Some(0), Some(1), Some(2)], vec![Some(0), Some(1)], vec![], vec![Some(0)]];
    let report = task.head().encode_targets(Split::Train, &view_of(rows, &words, &[0; 4])).unwrap();
    assert_eq!((report.labelled, report.missing), (2, 2));
    assert_eq!(report.counts, [("x".to_owned(), 2), ("y".to_owned(), 1)]);
}

#[test]
fn bad_heads_are_reported() {
    let row = |head: Json, deprel: Json| json!({ "tokens": ["a", "b"], "head": head, "deprel": deprel });
    let errors = parsing().fit_labels(&rows(json!([
        row(json!([3, 0]), json!(["x", "y"])),
        row(json!([1, 0]), json!(["x", "y"])),
        row(json!([0.5, 0]), json!(["x", "y"])),
        row(json!(["-1", 0]), json!(["x", "y"])),
        row(json!([2]), json!(["x", "y"])),
        row(json!([2, 0]), json!(["x"])),
        row(json!([2, 0]), json!(["x", null])),
        row(json!([2, 0]), Json::Null),
        row(json!(2), json!(["x", "y"])),
    ])));
    let found: Vec<String> = errors.unwrap_err().iter().map(ToString::to_string).collect();
    let numbers = "expected the number of a word, 1 to 2, 0 for the root, or null";
    let expected = [
        format!("data.jsonl:1: field \"head\": found 3 at word 1, {numbers}"),
        "data.jsonl:2: field \"head\": found head 1 at word 1, itself, expected another word, or 0 for the root".into(),
        format!("data.jsonl:3: field \"head\": found 0.5 at word 1, {numbers}"),
        format!("data.jsonl:4: field \"head\": found \"-1\" at word 1, {numbers}"),
        "data.jsonl:5: field \"head\": found 1 values, expected 2, one for each word of field \"tokens\"".into(),
        "data.jsonl:6: field \"deprel\": found 1 values, expected 2, one for each word of field \"tokens\"".into(),
        "data.jsonl:7: field \"deprel\": found null at word 2, expected a relation (text) for each word with a head".into(),
        "data.jsonl:8: no field \"deprel\"; the row has tokens, head, deprel (null)".into(),
        "data.jsonl:9: field \"head\": found 2, expected a list with one value for each word".into(),
    ];
    for (found, expected) in found.iter().zip(&expected) {
        // Rows are read in the order of their fields' names, which says nothing here.
        assert_eq!(found.split("; the row has").next(), expected.split("; the row has").next());
    }
    assert_eq!(found.len(), expected.len());
    let none = parsing().fit_labels(&rows(json!([{ "tokens": ["a"], "deprel": ["x"] }]))).unwrap_err();
    assert!(
        none[0]
            .to_string()
            .contains("task.t.dependency_parsing.relations: found no label in field \"deprel\""),
        "{none:?}"
    );
}

#[test]
fn answers_name_heads_relations_and_words() {
    let head = Learnt::of(parsing(), &parsed(&[(json!([0, 1]), json!(["root", "obj"]))])).head();
    let arc = |head, relation| Some(WordArc { head, relation, probability: 0.5 });
    let tree = Prediction::Tree(vec![arc(0, 1), arc(1, 0)]);
    let text = "See it!";
    let answer = head.to_json(&tree, ModelInput::Text { text, words: &[0..3, 4..6, 6..7] });
    let expected = json!({
        "heads": [0, 1, null], "relations": ["root", "obj", null], "probabilities": [0.5, 0.5, null],
        "words": ["See", "it", "!"],
    });
    assert_eq!(answer, expected);
    let words = ["See".to_owned(), "it".to_owned()];
    let answer = head.to_json(&tree, ModelInput::Words(&words));
    assert_eq!(answer, json!({ "heads": [0, 1], "relations": ["root", "obj"], "probabilities": [0.5, 0.5] }));
}
