//! Hidden tokens: loss, predictions, scores, answers.

use burn::tensor::Device;
use data::{InputField, NOT_MASKED, Pack, Split, Tokenizer, View};
use polytask_tasks::{Batch, FoundToken, Kind, ModelInput, Prediction, TrunkHandles};
use serde_json::{Value as Json, json};

use crate::fixture::{
    Heads, Learnt, TOKENIZER, floats, kind, near, pack, rows, same, token_embedding, used_tokens, view,
};

fn fixture() -> Heads {
    Heads::of(include_str!("../fixtures/masked.json"))
}

fn masked() -> Box<dyn Kind> {
    kind("masked_language_model", json!({ "text": "text" }))
}

/// The task of the fixture, and a pack with its hidden tokens.
fn of_fixture(heads: &Heads) -> (Learnt, View, Pack) {
    let task = Learnt::of(masked(), &[]);
    let (_, mut head) = heads.build(&task, &Device::flex());
    assert_eq!((task.kind.mask_percent(), head.needs_full_embedding()), (Some(15), true));
    let view =
        view(InputField::Text("text".into()), rows(json!([{}, {}, {}, {}, {}])), &heads.words, &[0; 5]);
    let report = head.encode_targets(Split::Train, &view).unwrap();
    assert_eq!((report.rows, report.labelled, report.missing), (5, 3, 2));
    assert!(head.labelled(Split::Train, 0) && !head.labelled(Split::Train, 1));
    assert!(!head.labelled(Split::Test, 0) && !head.labelled(Split::Train, 9));
    let mut pack = pack(&view);
    pack.masked_labels = vec![NOT_MASKED; pack.tokens()];
    for (row, tokens) in heads.json["tokens"].as_object().unwrap() {
        for (token, was) in tokens.as_object().unwrap() {
            let at = pack.offsets[row.parse::<usize>().unwrap()] + token.parse::<usize>().unwrap();
            pack.masked_labels[at] = was.as_u64().unwrap() as u32;
        }
    }
    (task, view, pack)
}

#[test]
fn loss_and_gradients_equal_pytorch_those_of_the_token_vectors_too() {
    let heads = fixture();
    let (task, view, pack) = of_fixture(&heads);
    heads.compare_packed(&task, &view, &pack, &[0, 2, 3, 4], 5, &heads.json["loss"]);
}

/// What is found of the rows' hidden tokens.
fn found(heads: &Heads, task: &Learnt, pack: &Pack, rows: &[u32]) -> Vec<Prediction> {
    let device = Device::flex();
    let ((parameters, head), rows) = (heads.build(task, &device), same(rows));
    let used = used_tokens(&*head, pack, &rows);
    let (part, states) = (pack.select_tokens(&used), kernels::gather_rows(heads.states(&device), &used));
    let batch = Batch::evaluated(&states, &part, Split::Train, &rows);
    head.predict(&parameters, &batch)
}

#[test]
fn the_most_probable_tokens_are_found_and_scored() {
    let heads = fixture();
    let (task, view, pack) = of_fixture(&heads);
    let predictions = found(&heads, &task, &pack, &[0, 1, 2, 4]);
    let tokens: Vec<Vec<FoundToken>> = predictions
        .iter()
        .map(|p| if let Prediction::Tokens(tokens) = p { tokens.clone() } else { panic!("tokens") })
        .collect();
    assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 2, 2]);
    let tokens: Vec<FoundToken> = tokens.into_iter().flatten().collect();
    let best: Vec<Vec<(u32, f32)>> = serde_json::from_value(heads.json["best"].clone()).unwrap();
    for (found, best) in tokens.iter().zip(&best) {
        let split = |best: &[(u32, f32)]| -> (Vec<u32>, Vec<f32>) { best.iter().copied().unzip() };
        let ((ids, shares), (expected_ids, expected_shares)) = (split(&found.best), split(best));
        assert_eq!(ids, expected_ids);
        near(&shares, &expected_shares, "probabilities");
    }
    let logs = floats(&heads.json["log_of_gold"]);
    near(
        &tokens.iter().map(|token| token.original.unwrap().1).collect::<Vec<_>>(),
        &logs,
        "of what they were",
    );

    let rows: Vec<(u32, Prediction)> = [0, 1, 2, 4].into_iter().zip(predictions).collect();
    let (_, mut head) = heads.build(&task, &Device::flex());
    head.encode_targets(Split::Train, &view).unwrap();
    let scores = head.score(Split::Train, &rows);
    let right =
        best.iter().zip(&tokens).filter(|(best, found)| best[0].0 == found.original.unwrap().0).count();
    assert_eq!(
        (scores.primary.as_str(), scores.get("masked_accuracy")),
        ("masked_accuracy", Some(right as f64 / 5.0))
    );
    let loss = heads.json["loss"]["loss"].as_f64().unwrap();
    near(&[scores.get("perplexity").unwrap() as f32], &[loss.exp() as f32], "perplexity");
    let nothing = head.score(Split::Train, &[]);
    assert_eq!((nothing.get("masked_accuracy"), nothing.get("perplexity")), (Some(0.0), Some(1.0)));
}

#[test]
fn what_is_served_has_mask_tokens_and_nothing_to_compare_with() {
    let heads = fixture();
    let (task, view, mut pack) = of_fixture(&heads);
    pack.masked_labels.clear();
    let mask = TOKENIZER.mask().unwrap();
    pack.ids[pack.offsets[4] + 2] = mask;
    let predictions = found(&heads, &task, &pack, &[0, 4]);
    assert_eq!(predictions[0], Prediction::Tokens(vec![]));
    let Prediction::Tokens(tokens) = &predictions[1] else { panic!("tokens") };
    assert_eq!((tokens.len(), tokens[0].original), (1, None));
    let device = Device::flex();
    let (parameters, mut head) = heads.build(&task, &device);
    head.encode_targets(Split::Train, &view).unwrap();
    let (states, all) = (heads.states(&device), same(&[0, 4]));
    let batch = Batch::evaluated(&states, &pack, Split::Train, &all);
    assert!(head.loss(&parameters, &batch).is_none());
    let answer = head.to_json(&predictions[1], ModelInput::Text { text: "a [MASK]", words: &[] });
    let names = answer["masked"][0].as_object().unwrap();
    assert_eq!((answer["masked"].as_array().unwrap().len(), names.len()), (1, 5));
    assert!(names.values().all(|p| p.as_f64().is_some_and(|p| p > 0.0 && p < 1.0)), "{answer}");
}

#[test]
fn a_vocabulary_without_a_mask_token_is_refused() {
    let mut settings: Json = serde_json::from_str(TOKENIZER.to_json()).unwrap();
    for key in ["/added_tokens", "/model/vocab"] {
        match settings.pointer_mut(key).unwrap() {
            Json::Array(tokens) => tokens.retain(|token| token["content"] != "[MASK]"),
            Json::Object(tokens) => assert!(tokens.remove("[MASK]").is_some()),
            _ => panic!("a vocabulary"),
        }
    }
    let without = Tokenizer::from_json(&settings.to_string()).unwrap();
    let mut parameters = model::Parameters::new(&Device::flex(), 1);
    let token_embedding = parameters.add_matrix(token_embedding("table", &[3, 2]));
    let handles =
        TrunkHandles { hidden: 2, tokenizer: &without, token_embedding, decoder: None, language_model: None };
    let error = masked().init_head(&json!({}), &handles, &mut parameters).err().expect("an error");
    let says = "task.t: found a vocabulary without a mask token, expected one with [MASK] or <mask>";
    assert!(error.to_string().starts_with(says), "{error}");
}
