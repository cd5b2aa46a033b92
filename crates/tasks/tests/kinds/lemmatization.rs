//! Lemmas: reading, the space of scripts, loss, scores.

use burn::tensor::Device;
use data::{InputField, Row, Split, View};
use polytask_tasks::{Batch, ModelInput, Prediction, WordTag};
use serde_json::{Value as Json, json};

use crate::fixture::{Heads, Learnt, kind, pack, rows, same, view};

/// Rows of forms and lemmas.
fn lemmatized(pairs: &[(Json, Json)]) -> Vec<Row> {
    rows(pairs.iter().map(|(forms, lemmas)| json!({ "tokens": forms, "lemma": lemmas })).collect())
}

fn view_of(rows: Vec<Row>, words: &[Vec<Option<u32>>], truncated: &[u32]) -> View {
    view(InputField::Words("tokens".into()), rows, words, truncated)
}

/// A task that knows three scripts: `↓0;d¦` 0, `↓0;d¦-` 1, `↕;d¦` 2.
fn learned(min_count: usize) -> Learnt {
    let kind = kind("lemmatization", json!({ "min_count": min_count, "dropout": 0.0 }));
    let seen = lemmatized(&[
        (json!("cats dogs the Of"), json!("cat dog the of")),
        (json!("Anna and Berlin went"), json!("Anna and Berlin go")),
    ]);
    Learnt::of(kind, &seen)
}

#[test]
fn rare_scripts_are_left_out_masked_and_wrong() {
    assert_eq!(learned(1).labels(), &json!(["↓0;ago", "↓0;d¦", "↓0;d¦-", "↕;d¦"]));
    let task = learned(2);
    assert_eq!(task.labels(), &json!(["↓0;d¦", "↓0;d¦-", "↕;d¦"]));
    let heads = Heads::read();
    let device = Device::flex();
    let (parameters, mut head) = heads.build(&task, &device);
    // Row 0: a known script, a rare one, no lemma. Row 1: word 2 is cut. Row 2 has no lemmas.
    let rows = lemmatized(&[
        (json!(["Cars", "went", "x"]), json!(["car", "go", null])),
        (json!(["the", "end"]), json!(["the", "end"])),
        (json!(["the"]), Json::Null),
    ]);
    let words = [vec![None, Some(0), Some(1), Some(2)], vec![Some(0), None], vec![Some(0)]];
    let view = view_of(rows, &words, &[0, 1, 0]);
    let report = head.encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.labelled, report.missing, report.truncated, report.without_token), (2, 1, 1, 0));
    assert_eq!((report.rare, report.unseen.len()), (1, 0));
    assert!(head.labelled(Split::Train, 1) && !head.labelled(Split::Train, 2));

    // Two words are trained on: "Cars" and the first "the".
    let (states, all) = (heads.states(&device).narrow(0, 0, 7), same(&[0, 1, 2]));
    let pack = pack(&view);
    let batch = Batch::evaluated(&states, &pack, Split::Train, &all);
    assert_eq!(head.loss(&parameters, &batch).unwrap().num_targets, 2);
    let rows = same(&[2]);
    assert!(head.loss(&parameters, &Batch { rows: &rows, ..batch }).is_none());
    let lengths: Vec<usize> = head
        .predict(&parameters, &batch)
        .iter()
        .map(|p| if let Prediction::Tags(tags) = p { tags.len() } else { panic!("tags") })
        .collect();
    assert_eq!(lengths, [3, 1, 1]);

    let tag = |label| Some(WordTag { label, probability: 1.0 });
    // Of four words with a lemma "Cars" and the first "the" are right; "go" has no script, "end" no token.
    let predictions = [
        (0, Prediction::Tags(vec![tag(1), tag(0), tag(2)])),
        (1, Prediction::Tags(vec![tag(0)])),
        (2, Prediction::Tags(vec![tag(0)])),
    ];
    assert_eq!(head.score(Split::Train, &predictions).get("lemma_accuracy"), Some(0.5));
}

#[test]
fn loss_and_gradients_equal_those_of_tags() {
    // The head is that of tags; words and tags of the fixture, with scripts for tags.
    let heads = Heads::read();
    let task = learned(2);
    let pairs = [("xa", "xa"), ("xas", "xa"), ("Xa", "Xa")];
    let plain = kind("tagging", json!({ "scheme": "none", "dropout": 0.0 }));
    let names = ["a", "b", "c"];
    let plain = Learnt::of(plain, &rows(json!([{ "tokens": names, "tags": names }])));
    let row = |row: usize| {
        let Some(tags) = heads.json["tags"][row.to_string()].as_array() else {
            return json!({ "tokens": ["x"] });
        };
        let pair = |tag: &Json| tag.as_u64().map(|tag| pairs[tag as usize]);
        json!({
            "tokens": tags.iter().map(|tag| pair(tag).map_or("x", |(form, _)| form)).collect::<Vec<_>>(),
            "lemma": tags.iter().map(|tag| pair(tag).map(|(_, lemma)| lemma)).collect::<Vec<_>>(),
            "tags": tags.iter().map(|tag| tag.as_u64().map(|tag| names[tag as usize])).collect::<Vec<_>>(),
        })
    };
    let view = view_of(rows((0..5).map(row).collect()), &heads.words, &[0, 0, 2, 0, 0]);
    let device = Device::flex();
    let (states, pack, all) = (heads.states(&device), pack(&view), same(&[0, 2, 3, 4]));
    let batch = Batch::evaluated(&states, &pack, Split::Train, &all);
    let of = |task: &Learnt| {
        let (parameters, mut head) = heads.build(task, &device);
        head.encode_targets(Split::Train, &view).unwrap();
        let loss = head.loss(&parameters, &batch).unwrap();
        (loss.mean.into_scalar::<f32>(), loss.num_targets)
    };
    let (ours, theirs) = (of(&task), of(&plain));
    assert_eq!((ours, ours.1), (theirs, 7));
}

#[test]
fn answers_are_lemmas_of_the_words_that_were_asked_about() {
    let head = learned(2).head();
    let tag = |label| Some(WordTag { label, probability: 0.5 });
    let tags = Prediction::Tags(vec![tag(1), tag(0), tag(2), tag(1)]);
    let text = "Tables AND OSlo \u{1f44d}s.";
    let words = [0..6, 7..10, 11..15, 16..20, 20..21, 21..22];
    let answer = head.to_json(&tags, ModelInput::Text { text, words: &words });
    let expected = json!({
        "lemmas": ["table", "and", "OSlo", "", null, null],
        "probabilities": [0.5, 0.5, 0.5, 0.5, null, null],
        "words": ["Tables", "AND", "OSlo", "\u{1f44d}", "s", "."],
    });
    assert_eq!(answer, expected);
    let words = [String::new()];
    // Nothing can be deleted of nothing: the word stays.
    let answer = head.to_json(&Prediction::Tags(vec![tag(1)]), ModelInput::Words(&words));
    assert_eq!(answer, json!({ "lemmas": [""], "probabilities": [0.5] }));
}

#[test]
fn what_cannot_be_learned_is_reported() {
    let errors = |rows: Json| {
        let found = kind("lemmatization", json!({})).fit_labels(&crate::fixture::rows(rows)).unwrap_err();
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        errors(json!([
            { "tokens": ["a", "b"], "lemma": ["a"] },
            { "tokens": ["a"], "lemma": [["a"]] },
            { "tokens": ["a"], "lemma": 1 },
        ])),
        [
            "data.jsonl:1: field \"lemma\": found 1 lemmas, expected 2, one for each word of field \"tokens\"",
            "data.jsonl:2: field \"lemma\": found [\"a\"], expected a lemma (text) for each word",
            "data.jsonl:3: field \"lemma\": found 1, expected a list of lemmas, one for each word",
        ]
    );
    let rare = errors(json!([{ "tokens": ["went", "is", "a", "b"], "lemma": ["go", "be", "a", "b"] }]));
    assert_eq!(
        rare,
        [
            "task.t.lemmatization.min_count: found 2, and 1 of 3 scripts that often, expected a count that leaves two or more"
        ]
    );
    let none = errors(json!([{ "tokens": ["a"], "lemma": ["a"] }]));
    assert!(none[0].contains("task.t.lemmatization.lemmas: found no label"), "{none:?}");
}
