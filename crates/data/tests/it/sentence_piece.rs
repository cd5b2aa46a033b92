//! Pieces of texts against those of the SentencePiece library (`scripts/make_text_metric_fixtures.py`).

use std::path::Path;

use polytask_data::SentencePiece;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    model: String,
    text: String,
    pieces: Vec<String>,
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn pieces_are_those_of_the_library() {
    let cases = std::fs::read_to_string(fixture("sentencepiece.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&cases).unwrap();
    assert!(cases.len() > 300);
    for name in ["unigram", "bpe", "bytes"] {
        let model = SentencePiece::open(&fixture(&format!("sentencepiece_{name}.model"))).unwrap();
        for Case { text, pieces, .. } in cases.iter().filter(|case| case.model == name) {
            assert_eq!(&model.pieces(text), pieces, "{name}: {text:?}");
        }
    }
}

#[test]
fn what_is_no_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture("sentencepiece_bpe.model")).unwrap();
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("text", b"{\"model\": {}}"),
        ("cut", &whole[..whole.len() / 2 + 1]),
        ("begin", &whole[..3]),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = SentencePiece::open(&path) {
            assert!(error.to_string().contains(&format!("{name}: found no SentencePiece model")), "{error}");
        } else {
            // Cut between two pieces, what is left is a model of fewer.
            assert_eq!(name, "cut");
        }
    }
    assert!(SentencePiece::open(&dir.path().join("none")).is_err());
}
