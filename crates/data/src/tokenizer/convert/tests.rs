//! Tokenizers of `scripts/make_tokenizer_fixtures.py` give the ids that transformers gives; broken ones are refused.

use super::*;
use crate::Input;
use serde_json::Value as Json;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(name)
}

/// The ids of a text, or of two; a text without any has the fallback's.
fn encode(tokenizer: &Tokenizer, input: Input<'_>) -> Vec<u32> {
    tokenizer.encode(&[input], 100_000).unwrap().ids
}

/// Compares with `expected.json` of a folder.
fn compare(tokenizer: &Tokenizer, folder: &Path) {
    let expected: Json =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let ids = |key: &str| -> Vec<Vec<u32>> { serde_json::from_value(expected[key].clone()).unwrap() };
    let texts: Vec<String> = serde_json::from_value(expected["texts"].clone()).unwrap();
    let mut wrong = String::new();
    let mut check = |text: &str, found: Vec<u32>, expected: &Vec<u32>, sort: &str| {
        if found != *expected && !expected.is_empty() {
            let [found, expected] = [&found, expected].map(|ids| tokenizer.tokens(ids).join("|"));
            wrong += &format!("{sort} {text:?}\n  found    {found}\n  expected {expected}\n");
        }
    };
    for (text, expected) in texts.iter().zip(ids("ids")) {
        check(text, encode(tokenizer, Input::Text(text)), &expected, "text");
    }
    for (text, expected) in texts.iter().zip(ids("pairs")) {
        check(text, encode(tokenizer, Input::Pair(&texts[0], text)), &expected, "pair");
    }
    assert!(wrong.is_empty(), "{}:\n{wrong}", folder.display());
}

/// The tokenizer of a folder, which has no tokenizer.json.
fn converted(name: &str) -> Tokenizer {
    let (tokenizer, note) = Tokenizer::of_model(&fixture(name)).unwrap();
    let note = note.unwrap();
    assert!(note.starts_with("tokenizer: there is no tokenizer.json; it was made of "), "{note}");
    tokenizer
}

macro_rules! same_ids {
    ($($name:ident),+) => { $(
        #[test]
        fn $name() {
            let name = stringify!($name);
            compare(&converted(name), &fixture(name));
        }
    )+ };
}

mod same_ids_as_transformers {
    use super::*;
    same_ids!(
        gguf_smollm,
        gguf_gpt2,
        gguf_llama3,
        gguf_qwen2,
        gguf_llama,
        gguf_gemma,
        wordpiece,
        wordpiece_cased,
        gpt2,
        roberta,
        qwen2,
        spm_t5,
        spm_xlm_roberta,
        spm_albert,
        spm_deberta_v2,
        spm_llama
    );
}

/// Of any file, by hand: `GGUF=FILE EXPECTED=DIR cargo test ... -- --ignored`, with the ids that the script writes for it.
#[test]
#[ignore = "needs a file that is not committed"]
fn a_real_file() {
    let [file, expected] = ["GGUF", "EXPECTED"].map(|name| PathBuf::from(std::env::var_os(name).unwrap()));
    compare(&Tokenizer::of_model(&file).unwrap().0, &expected);
}

#[test]
fn what_a_gguf_says_of_its_tokens_is_available() {
    let tokenizer = GgufTokenizer::open(&fixture("gguf_smollm").join("model.gguf")).unwrap();
    let template = "{% for message in messages %}{{ message['content'] }}{% endfor %}";
    assert_eq!(tokenizer.chat_template.as_deref(), Some(template));
    assert_eq!((tokenizer.bos, tokenizer.eos), (Some(1), Some(2)));
    assert_eq!((tokenizer.unk, tokenizer.pad), (Some(0), Some(2)));
}

#[test]
fn a_tokenizer_json_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let made = converted("wordpiece");
    std::fs::write(dir.path().join("tokenizer.json"), made.to_json()).unwrap();
    std::fs::write(dir.path().join("vocab.txt"), "").unwrap();
    let (taken, note) = Tokenizer::of_model(dir.path()).unwrap();
    assert_eq!((taken.to_json(), note), (made.to_json(), None));
}

/// The error of a folder with these files.
fn refused(files: &[(&str, &[u8])]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    Tokenizer::of_model(dir.path()).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let bert = ("config.json", br#"{"model_type": "bert"}"#.as_slice());
    let class = |name: &'static str| ("tokenizer_config.json", name.as_bytes());
    let gpt2 = class(r#"{"tokenizer_class": "GPT2Tokenizer"}"#);
    for (files, reason) in [
        (vec![], "tokenizer.json"),
        (vec![bert], "tokenizer.json"),
        (vec![bert, ("vocab.txt", b"[PAD]\n[CLS]\n[SEP]\n")], r#"vocab.txt: the vocabulary has no "[UNK]""#),
        (vec![bert, ("vocab.txt", b"[UNK]\n[CLS]\n")], r#"vocab.txt: the vocabulary has no "[SEP]""#),
        (vec![bert, ("vocab.txt", b"[UNK]\n\xff\n")], "vocab.txt: found bytes that are not UTF-8"),
        (
            vec![("vocab.txt", b"[UNK]\n")],
            "vocab.txt: nothing says how it is read: there is neither a tokenizer_class",
        ),
        (
            vec![class(r#"{"tokenizer_class": "TapasTokenizer"}"#), ("vocab.txt", b"a")],
            "found the tokenizer_class TapasTokenizer in tokenizer_config.json, expected one of BertTokenizer",
        ),
        (
            vec![bert, class(r#"{"do_lower_case": 1}"#), ("vocab.txt", b"[UNK]\n[CLS]\n[SEP]\n")],
            "do_lower_case: found 1, expected true or false",
        ),
        (vec![bert, class("{"), ("vocab.txt", b"[UNK]\n")], "tokenizer_config.json is not JSON"),
        (vec![gpt2, ("vocab.json", b"{}"), ("merges.txt", b"")], "the vocabulary is empty"),
        (vec![gpt2, ("vocab.json", b"[]"), ("merges.txt", b"")], "vocab.json is no table of ids"),
        (
            vec![gpt2, ("vocab.json", br#"{"a": 4294967295}"#), ("merges.txt", b"")],
            "found the id 4294967295, expected ids below",
        ),
        (
            vec![gpt2, ("vocab.json", br#"{"a": 0}"#), ("merges.txt", b"a b c")],
            r#"found the merge "a b c", expected two tokens"#,
        ),
        (vec![gpt2, ("vocab.json", br#"{"a": 0}"#), ("merges.txt", b"a b")], "out of vocabulary"),
        (
            vec![class(r#"{"tokenizer_class": "T5Tokenizer"}"#), ("spiece.model", b"text")],
            "spiece.model: found no SentencePiece model",
        ),
        (
            vec![
                class(r#"{"tokenizer_class": "CamembertTokenizer"}"#),
                ("spiece.model", b"\x0a\x03\x0a\x01a"),
            ],
            "CamembertTokenizer",
        ),
        (vec![("model.gguf", b"GGUF")], "found 4 bytes, expected at least 24"),
    ] {
        let error = refused(&files);
        assert!(error.to_lowercase().contains(&reason.to_lowercase()), "{error}\n  expected {reason}");
    }
}

/// A copy of a file with a text replaced by one of the same length.
fn changed(name: &str, from: &str, to: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(fixture(name).join("model.gguf")).unwrap();
    let at = (0..bytes.len()).find(|at| bytes[*at..].starts_with(from.as_bytes())).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn what_a_gguf_has_no_sense_in_is_refused_by_its_key() {
    for (name, from, to, reason) in [
        (
            "gguf_smollm",
            "smollm",
            "smoltm",
            r#"tokenizer.ggml.pre: found "smoltm", expected one of gpt-2, default, smollm"#,
        ),
        (
            "gguf_smollm",
            "ggml.merges",
            "ggml.murges",
            "tokenizer.ggml.merges: found nothing, expected merges",
        ),
        (
            "gguf_smollm",
            "ggml.tokens",
            "ggml.takens",
            "tokenizer.ggml.tokens: found nothing, expected a vocabulary",
        ),
        ("gguf_smollm", "gpt2", "bert", r#"tokenizer.ggml.model: found "bert", expected "gpt2""#),
        (
            "gguf_llama",
            "ggml.scores",
            "ggml.scares",
            "tokenizer.ggml.scores: found nothing, expected a score of each token",
        ),
        (
            "gguf_llama",
            "bos_token_id\u{4}\0\0\0\u{1}\0",
            "bos_token_id\u{4}\0\0\0\u{1}\u{9}",
            "tokenizer.ggml.bos_token_id: found Unsigned(2305), expected an id below",
        ),
    ] {
        let error = refused(&[("model.gguf", &changed(name, from, to))]);
        assert!(error.contains(reason), "{error}\n  expected {reason}");
    }
}

#[test]
fn a_changed_byte_never_panics() {
    for (name, file) in
        [("gguf_llama", "model.gguf"), ("spm_t5", "spiece.model"), ("spm_llama", "tokenizer.model")]
    {
        let whole = std::fs::read(fixture(name).join(file)).unwrap();
        for at in (0..whole.len()).step_by(701) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(file), bytes).unwrap();
            std::fs::write(dir.path().join("config.json"), r#"{"model_type": "t5"}"#).unwrap();
            if file == "model.gguf" {
                std::fs::remove_file(dir.path().join("config.json")).unwrap();
            }
            if let Ok((tokenizer, _)) = Tokenizer::of_model(dir.path()) {
                let _ = tokenizer.encode(&[Input::Text("a text, of words")], 64);
            }
        }
    }
}
