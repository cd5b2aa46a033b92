//! From ids back to text: against the Python package (scripts/make_tokenizer_fixtures.py), and what is kept on the way.

use std::path::{Path, PathBuf};

use polytask_data::{Input, SpecialTokens, Tokenizer};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_file(&fixture(&format!("{name}.json"))).unwrap()
}

/// Texts that hold no special token by its name.
fn texts() -> Vec<String> {
    let all: Vec<String> = serde_json::from_value(json("tokenizer_texts.json")).unwrap();
    all.into_iter().filter(|text| !text.contains("[SEP]")).collect()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(&[Input::Text(text)], 10_000).unwrap().ids
}

#[test]
fn texts_equal_pythons() {
    let cases = json("tokenizer_cases.json");
    let mut compared = 0;
    for case in cases.as_array().unwrap() {
        let Some(theirs) = case["decoded"].as_str() else { continue };
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let name = case["tokenizer"].as_str().unwrap();
        assert_eq!(tokenizer(name).decode(&ids), theirs.trim(), "{name}: {ids:?}");
        compared += 1;
    }
    assert_eq!(compared, 200);
}

#[test]
fn a_trained_vocabulary_gives_back_all_but_spaces() {
    let tokenizer = tokenizer("trained");
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    for text in texts() {
        let ids = ids(&tokenizer, &text);
        let decoded = tokenizer.decode(&ids);
        assert_eq!(dense(&decoded), dense(&normal(&text, false)), "{text:?}");
        assert_eq!(self::ids(&tokenizer, &decoded), ids, "what was decoded has the same ids: {text:?}");
    }
}

/// The normal form of a text by a library that is not ours, each run of spaces as one.
fn normal(text: &str, compatible: bool) -> String {
    let mut normal = tokenizers::NormalizedString::from(text);
    let form = if compatible { normal.nfkc() } else { normal.nfc() };
    form.lowercase().get().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn vocabularies_with_spaces_give_back_everything() {
    let sentences = [
        "Hello, world! (It isn't 3.50 yet...) \"so\"",
        "我喜欢 北京, 上海。ok",
        "a  b\tc \n d",
        "x,y ,z",
        "«Да» — нет",
        "<0x41> literally, and <0xZZ>",
        "don’t - 5-4=1",
        "\u{1F600}\u{1F468}\u{200D}\u{1F469} ok",
        "ﬁne ①② ｆｕｌｌ",
        "…end",
        " . ",
    ];
    for (name, compatible) in [("trained_spaces", false), ("trained_unigram", true)] {
        let tokenizer = tokenizer(name);
        for text in texts().iter().map(String::as_str).chain(sentences) {
            let ids = ids(&tokenizer, text);
            let decoded = tokenizer.decode(&ids);
            assert_eq!(decoded, normal(text, compatible), "{name}: {text:?}");
            assert_eq!(self::ids(&tokenizer, &decoded), ids, "{name}: {text:?}");
        }
        // Words that are given one by one are words.
        let words = ["don't".to_owned(), "stop".to_owned(), "!".to_owned()];
        let encoded = tokenizer.encode(&[Input::Words(&words)], 100).unwrap();
        assert_eq!(tokenizer.decode(&encoded.ids), "don't stop !", "{name}");
    }
}

#[test]
fn special_tokens_and_strange_ids_are_left_out() {
    let tokenizer = tokenizer("trained");
    let (cls, sep) = (tokenizer.id_of("[CLS]").unwrap(), tokenizer.id_of("[SEP]").unwrap());
    let inner = ids(&tokenizer, "hello world");
    assert_eq!((inner[0], inner[inner.len() - 1]), (cls, sep));
    let strange = [&[u32::MAX, cls, sep], &inner[..], &[tokenizer.vocabulary() as u32, cls]].concat();
    assert_eq!(tokenizer.decode(&strange), "hello world");
    assert_eq!((tokenizer.decode(&[]), tokenizer.decode(&[cls, sep])), (String::new(), String::new()));
    // Bytes that are no text by themselves are replaced, as a model may say such things.
    let broken = tokenizer.id_of("Ã").unwrap();
    assert_eq!(tokenizer.decode(&[broken]), "\u{fffd}");
}

#[test]
fn frames_are_found_by_the_usual_names() {
    let of = |name: &str| tokenizer(name).specials();
    assert_eq!(of("trained"), SpecialTokens { bos: Some(2), eos: Some(3), pad: Some(0) });
    assert_eq!(of("byte_level"), SpecialTokens { bos: Some(0), eos: Some(2), pad: Some(1) });
    let mut bare = json("trained.json");
    bare["post_processor"] = Value::Null;
    bare["added_tokens"] = Value::Array(Vec::new());
    let vocabulary = bare["model"]["vocab"].as_object_mut().unwrap();
    vocabulary.retain(|token, _| !token.starts_with('['));
    vocabulary.insert("[".into(), 0.into());
    bare["model"]["merges"] = Value::Array(Vec::new());
    let bare = Tokenizer::from_json(&bare.to_string()).unwrap();
    assert_eq!((bare.specials(), bare.id_of("[CLS]")), (SpecialTokens::default(), None));
}
