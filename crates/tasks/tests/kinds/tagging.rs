//! Tagging: words and tags, losses with and without a CRF, decoding, spans.

use burn::tensor::Device;
use data::{InputField, Row, Split, View};
use polytask_tasks::{Batch, LabelReport, ModelInput, Prediction, WordTag};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, floats, kind, near, pack, rows, same, view};

fn tagged(tags: Json) -> Vec<Row> {
    let row = |tags: &Json| {
        let words = match tags {
            Json::Array(tags) => tags.len(),
            Json::String(tags) => tags.split(' ').count(),
            _ => 2,
        };
        json!({ "tokens": vec!["w"; words], "tags": tags })
    };
    rows(Json::Array(tags.as_array().unwrap().iter().map(row).collect()))
}

/// The task with the tags of one row.
fn learnt(tags: Json) -> Learnt {
    Learnt::of(kind("tagging", json!({})), &tagged(json!([tags])))
}

fn view_of(rows: Vec<Row>, words: &[Vec<Option<u32>>], truncated: &[u32]) -> View {
    view(InputField::Words("tokens".into()), rows, words, truncated)
}

/// The task of the fixture, with tags a, b, c or the given ones.
fn of_fixture(heads: &Heads, mut table: Json, names: [&str; 3]) -> (Learnt, View, LabelReport) {
    if table.get("scheme").is_none() {
        table["scheme"] = json!("none");
    }
    let task = Learnt::of(kind("tagging", table), &tagged(json!([names])));
    assert_eq!(task.labels(), &json!(names));
    let tags = |row: usize| -> Json {
        let list = heads.json["tags"][row.to_string()].as_array();
        list.map_or(Json::Null, |l| l.iter().map(|t| t.as_u64().map(|t| names[t as usize])).collect())
    };
    let view = view_of(tagged((0..5).map(tags).collect()), &heads.words, &[0, 0, 2, 0, 0]);
    let report = task.head().encode_targets(Split::Train, &view).unwrap();
    (task, view, report)
}

const PLAIN: [&str; 3] = ["a", "b", "c"];

#[test]
fn losses_and_gradients_equal_pytorch() {
    let heads = Heads::read();
    let (plain, view, report) = of_fixture(&heads, json!({ "label_smoothing": 0.2 }), PLAIN);
    assert_eq!((report.labelled, report.missing, report.truncated, report.without_token), (3, 2, 1, 0));
    heads.compare(&plain, &view, &[0, 2, 3, 4], 7, &heads.json["tagging"]["plain_smoothed"]);
    let (crf, view, _) = of_fixture(&heads, json!({ "crf": true }), PLAIN);
    heads.compare(&crf, &view, &[0, 2, 3, 4], 7, &heads.json["tagging"]["crf"]);
}

fn predictions(heads: &Heads, task: &Learnt, view: &View) -> Vec<Vec<Option<WordTag>>> {
    let (device, pack) = (Device::flex(), pack(view));
    let (parameters, head) = heads.build(task, &device);
    let states = heads.states(&device);
    let rows = same(&[0, 1, 2, 4]);
    let batch = Batch::evaluated(&states, &pack, Split::Test, &rows);
    let tags = |p| if let Prediction::Tags(tags) = p { tags } else { panic!("tags") };
    head.predict(&parameters, &batch).into_iter().map(tags).collect()
}

fn ids(rows: &[Vec<Option<WordTag>>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| row.iter().flatten().map(|tag| tag.label).collect()).collect()
}

fn expected_ids(heads: &Heads, decoding: &str) -> Vec<Vec<u32>> {
    let mut rows: Vec<Vec<u32>> = serde_json::from_value(heads.json["tagging"][decoding].clone()).unwrap();
    rows.insert(1, vec![]); // the row without words
    rows
}

#[test]
fn decodings_equal_pytorch() {
    let heads = Heads::read();
    let (plain, view, _) = of_fixture(&heads, json!({}), PLAIN);
    assert_eq!(ids(&predictions(&heads, &plain, &view)), expected_ids(&heads, "greedy"));
    let (crf, view, _) = of_fixture(&heads, json!({ "crf": true }), PLAIN);
    let found = predictions(&heads, &crf, &view);
    assert_eq!(ids(&found), expected_ids(&heads, "best"));
    let probabilities: Vec<f32> = found.iter().flatten().flatten().map(|tag| tag.probability).collect();
    let expected: Vec<f32> =
        heads.json["tagging"]["marginals"].as_array().unwrap().iter().flat_map(floats).collect();
    near(&probabilities, &expected, "marginals");
}

#[test]
fn constrained_decoding_gives_valid_rows_only() {
    let heads = Heads::read();
    let names = ["B-X", "I-X", "O"];
    let valid = |rows: &[Vec<u32>]| {
        rows.iter().all(|row| {
            let before = [2].into_iter().chain(row.iter().copied());
            before.zip(row).all(|(from, to)| *to != 1 || from != 2)
        })
    };
    for crf in [false, true] {
        for constrained in [false, true] {
            let table = json!({ "scheme": "bio", "crf": crf, "constrained": constrained });
            let (task, view, _) = of_fixture(&heads, table, names);
            let found = predictions(&heads, &task, &view);
            assert!(
                found.iter().flatten().flatten().all(|tag| tag.probability > 0.0 && tag.probability <= 1.0)
            );
            if constrained {
                assert!(valid(&ids(&found)), "{found:?}");
            } else {
                assert_eq!(ids(&found), expected_ids(&heads, if crf { "best" } else { "greedy" }));
                assert!(!valid(&ids(&found)), "the fixture must break the scheme, or this tests nothing");
            }
        }
    }
}

#[test]
fn words_that_are_lost_are_counted_and_scored_as_outside() {
    let task = learnt(json!(["B-PER", "I-PER", "O", "B-LOC"]));
    assert_eq!(task.labels(), &json!(["B-LOC", "B-PER", "I-PER", "O"]));
    let mut head = task.head();
    // Row 0: word 1 has no token, word 3 is cut. Row 1 is cut from the start. Row 2 has no tags.
    let rows = tagged(json!([["B-PER", "O", "O", "B-LOC"], ["B-LOC", "O"], null]));
    let words = [vec![None, Some(0), Some(2), None], vec![None, None], vec![None, Some(0), None]];
    let report = head.encode_targets(Split::Test, &view_of(rows, &words, &[3, 2, 0])).unwrap();
    assert_eq!((report.labelled, report.missing, report.truncated, report.without_token), (2, 1, 3, 1));
    assert!(head.labelled(Split::Test, 1) && !head.labelled(Split::Test, 2));

    let tag = |label| Some(WordTag { label, probability: 1.0 });
    let predictions = [
        (0, Prediction::Tags(vec![tag(1), None, tag(3)])),
        (1, Prediction::Tags(vec![])),
        (2, Prediction::Tags(vec![tag(1)])),
    ];
    // Gold: PER at 0, LOC at 3; LOC at 0. Predicted: PER at 0. Of 6 words 4 are right.
    let scores = head.score(Split::Test, &predictions);
    assert_eq!(scores.primary, "span_f1");
    assert_eq!(scores.get("span_precision"), Some(1.0));
    assert!((scores.get("span_recall").unwrap() - 1.0 / 3.0).abs() < 1e-12);
    assert!((scores.get("span_f1").unwrap() - 0.5).abs() < 1e-12);
    assert!((scores.get("token_accuracy").unwrap() - 4.0 / 6.0).abs() < 1e-12);
}

#[test]
fn invalid_rows_of_tags_are_scored_as_seqeval_scores_them() {
    let mut head = learnt(json!(["B-PER", "I-PER", "O", "B-LOC", "I-LOC"])).head();
    let rows = tagged(json!([["I-PER", "I-PER", "O", "B-LOC", "I-PER"]]));
    let words = [(0..5).map(Some).collect()];
    head.encode_targets(Split::Test, &view_of(rows, &words, &[0])).unwrap();
    // Tags sorted: B-LOC 0, B-PER 1, I-LOC 2, I-PER 3, O 4. Predicted: B-PER I-PER O B-LOC I-PER.
    let tags = [1, 3, 4, 0, 3].map(|label| Some(WordTag { label, probability: 1.0 })).to_vec();
    // seqeval.metrics.f1_score of the two is 1.0: the same spans PER 0-1, LOC 3, PER 4.
    let scores = head.score(Split::Test, &[(0, Prediction::Tags(tags))]);
    assert_eq!(scores.get("span_f1"), Some(1.0));
    assert_eq!(scores.get("token_accuracy"), Some(0.8));
}

/// The same rows with `span_matching = "strict"`: the gold `I-PER I-PER` is no span, so that one of two predicted ones is right.
#[test]
fn strict_matching_has_no_spans_that_the_scheme_does_not_allow() {
    let tags = tagged(json!([["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]]));
    let mut head = Learnt::of(kind("tagging", json!({ "span_matching": "strict" })), &tags).head();
    let rows = tagged(json!([["I-PER", "I-PER", "O", "B-LOC", "I-PER"]]));
    let words = [(0..5).map(Some).collect()];
    head.encode_targets(Split::Test, &view_of(rows, &words, &[0])).unwrap();
    let tags = [1, 3, 4, 0, 3].map(|label| Some(WordTag { label, probability: 1.0 })).to_vec();
    // seqeval with mode="strict", scheme=IOB2: precision 1/2, recall 1.
    let scores = head.score(Split::Test, &[(0, Prediction::Tags(tags))]);
    assert_eq!((scores.get("span_precision"), scores.get("span_recall")), (Some(0.5), Some(1.0)));
    assert!((scores.get("span_f1").unwrap() - 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn unseen_tags_are_reported_masked_and_wrong() {
    let heads = Heads::read();
    let device = Device::flex();
    let (parameters, mut head) = heads.build(&learnt(json!(["B-X", "I-X", "O"])), &device);
    let rows = tagged(json!([["B-Y", "O"]]));
    let view = view_of(rows, &[vec![Some(0), Some(1)]], &[0]);
    let report = head.encode_targets(Split::Validation, &view).unwrap();
    assert_eq!(report.unseen, [("B-Y".to_owned(), 1)].into());
    let (pack, states, rows) = (pack(&view), heads.states(&device).narrow(0, 0, 2), same(&[0]));
    let batch = Batch::evaluated(&states, &pack, Split::Validation, &rows);
    assert_eq!(head.loss(&parameters, &batch).unwrap().num_targets, 1);
    let outside = vec![Some(WordTag { label: 2, probability: 1.0 }); 2];
    let scores = head.score(Split::Validation, &[(0, Prediction::Tags(outside))]);
    assert_eq!((scores.get("span_recall"), scores.get("token_accuracy")), (Some(0.0), Some(0.5)));
}

#[test]
fn bad_tags_are_reported_with_their_place() {
    let objects = json!([
        { "tokens": ["a", "b"], "tags": ["O"] },
        { "tokens": ["a", "b"], "tags": ["O", "X-PER"] },
        { "tokens": "a b", "tags": "O B-PER" },
        { "tokens": ["a"], "tags": 3 },
        { "tags": ["O"] },
        { "tokens": ["a"], "tags": [["O"]] },
        { "tokens": ["a"], "tags": null },
    ]);
    let errors = kind("tagging", json!({})).fit_labels(&rows(objects)).unwrap_err();
    let found: Vec<String> = errors.iter().map(|error| error.to_string()).collect();
    let scheme = "expected O or B-TYPE, I-TYPE (scheme = \"bio\"; tags without spans: \"none\")";
    assert_eq!(
        found,
        [
            "data.jsonl:1: field \"tags\": found 1 tags, expected 2, one for each word of field \"tokens\""
                .to_owned(),
            format!("data.jsonl:2: field \"tags\": found tag \"X-PER\" at word 2, {scheme}"),
            "data.jsonl:4: field \"tags\": found 3, expected a list of tags, one for each word".to_owned(),
            "data.jsonl:5: no field \"tokens\"; the row has tags".to_owned(),
            "data.jsonl:6: field \"tags\": found [\"O\"], expected a tag (text) for each word; labelled spans in characters: tagging = { text = .., spans = .. }".to_owned(),
        ]
    );
    let errors =
        kind("tagging", json!({ "scheme": "bioes" })).fit_labels(&tagged(json!([["S-X", "E-X", "M-X"]])));
    assert!(errors.unwrap_err()[0].to_string().contains("tag \"M-X\" at word 3"));
    let errors = kind("tagging", json!({})).fit_labels(&tagged(json!([["O", "O"]]))).unwrap_err();
    assert!(errors[0].to_string().starts_with("task.t.tagging.tags: found only the label \"O\""));
}

#[test]
fn tags_may_be_text_and_words_may_lack_one() {
    let seen = tagged(json!(["B-X I-X O", [null, "O", ""]]));
    let mut head = Learnt::of(kind("tagging", json!({})), &seen).head();
    let space = head.label_space();
    assert_eq!(space, json!({ "labels": ["B-X", "I-X", "O"], "counts": [1, 1, 2], "scheme": "bio" }));
    let words = [vec![Some(0), Some(1), Some(2)]];
    let report =
        head.encode_targets(Split::Train, &view_of(tagged(json!([[null, "O", ""]])), &words, &[0])).unwrap();
    assert_eq!(report.counts[2], ("O".to_owned(), 1));
    let all_right = vec![Some(WordTag { label: 2, probability: 1.0 }); 3];
    let scores = head.score(Split::Train, &[(0, Prediction::Tags(all_right))]);
    assert_eq!(scores.get("token_accuracy"), Some(1.0));
}

#[test]
fn answers_have_spans_with_text_and_offsets() {
    let head = learnt(json!(["B-人", "I-人", "O"])).head();
    let tag = |label, probability| Some(WordTag { label, probability });
    let prediction = Prediction::Tags(vec![tag(2, 0.5), tag(0, 0.75), tag(1, 0.25)]);
    let text = "👍🏽 محمد علي !";
    let words = [0..8, 9..17, 18..24, 25..26];
    let answer = head.to_json(&prediction, ModelInput::Text { text, words: &words });
    // In Python: text[3:11] == "محمد علي".
    let entity = json!({ "text": "محمد علي", "label": "人", "start": 3, "end": 11, "probability": 0.25 });
    assert_eq!(answer["entities"], json!([entity]));
    assert_eq!(answer["tags"], json!(["O", "B-人", "I-人", "O"]));
    assert_eq!(answer["words"], json!(["👍🏽", "محمد", "علي", "!"]));
}

#[test]
fn an_empty_batch_has_no_loss_and_no_predictions() {
    let heads = Heads::read();
    let (task, view, _) = of_fixture(&heads, json!({ "crf": true }), PLAIN);
    let (device, pack) = (Device::flex(), pack(&view));
    let (parameters, mut head) = heads.build(&task, &device);
    head.encode_targets(Split::Train, &view).unwrap();
    let states = heads.states(&device);
    let batch = Batch { dropout_seed: Some(1), ..Batch::evaluated(&states, &pack, Split::Train, &[]) };
    assert!(head.loss(&parameters, &batch).is_none() && head.predict(&parameters, &batch).is_empty());
    let rows = same(&[1, 3]);
    assert!(head.loss(&parameters, &Batch { rows: &rows, ..batch }).is_none());
}
