//! `vocab.txt`: WordPiece as in BERT, a token a line (`BertTokenizer` in transformers' models/bert/tokenization_bert.py).

use super::document::{Document, cls_and_sep, vocabulary};
use super::read_text;
use super::settings::Settings;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::path::Path;

/// Classes and types of models that read the file as BERT does.
const FAMILIES: [(&[&str], &[&str], ()); 1] = [(
    &["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer"],
    &["bert", "distilbert", "electra", "mobilebert", "convbert"],
    (),
)];
/// A longer word is unknown.
const MOST_CHARACTERS: usize = 100;

pub(super) fn convert(path: &Path, settings: &Settings) -> Result<String, String> {
    settings.family(&FAMILIES, None)?;
    let text = read_text(path)?;
    // A line that occurs twice has the id of the last.
    let lines = || text.split_terminator('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let ids: HashMap<String, u32> =
        lines().enumerate().map(|(id, token)| (token.to_owned(), crate::cast::to_u32(id))).collect();
    let tokens = [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ];
    let mut added = settings.more_tokens();
    let mut named = Vec::new();
    for (key, default) in tokens {
        let token = settings.token(key, Some(default))?;
        named.push(token.as_ref().map_or(default.to_owned(), |token| token.content.clone()));
        added.extend(token);
    }
    let [unk, sep, _, cls, _] = named.try_into().map_err(|_| "tokens are missing")?;
    if !ids.contains_key(&unk) {
        return Err(format!("the vocabulary has no {unk:?}"));
    }
    let strip_accents = settings.flag("strip_accents")?.map_or(Json::Null, Json::Bool);
    let document = Document {
        added,
        normalizer: json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": settings.flag("tokenize_chinese_chars")?.unwrap_or(true),
            "strip_accents": strip_accents,
            "lowercase": settings.flag("do_lower_case")?.unwrap_or(true),
        }),
        pre_tokenizer: json!({ "type": "BertPreTokenizer" }),
        post_processor: cls_and_sep(&cls, &sep, &ids)?,
        decoder: json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
        model: json!({
            "type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##", "max_input_chars_per_word": MOST_CHARACTERS,
            "vocab": vocabulary(&ids),
        }),
    };
    Ok(document.text(&ids, lines().count()))
}
