//! Tokenizer training on the training split, for any script: byte-pair encoding (`tokenizer_training/bpe.rs`) or a unigram
//! language model (`tokenizer_training/unigram.rs`).
//!
//! Text is normalized (Unicode NFC or NFKC, optionally lower case) and split into pieces; a piece begins with a mark for the
//! space before it. Characters without a token are written as their bytes, so nothing is unknown: not an emoji, and no rare
//! character that does not occur in training.

mod bpe;
mod unigram;

use std::collections::BTreeMap;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::tokenizer::beginning::{WHOLE, cut};
use crate::{DataError, Tokenizer};

/// The special tokens, with ids 0 to 4. `[CLS]` begins every row, `[SEP]` ends it.
const SPECIAL_TOKENS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// `[tokenizer]`: a vocabulary trained from the training split, for models built from scratch. Works for any script; no
/// text is ever unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerConfig {
    /// A `tokenizer.json` that is taken as it is, in place of training one: then without the other settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The training algorithm: `bpe` (byte-pair encoding, the default) or `unigram` (a unigram language model).
    #[serde(default)]
    pub kind: TokenizerKind,
    /// The maximum size of the vocabulary. 256 tokens are the bytes, 5 are special; with `unigram` 95 more are the characters of
    /// ASCII.
    #[serde(default = "size")]
    #[schemars(range(min = 300, max = 1_000_000))]
    pub size: usize,
    /// Whether text is converted to lower case.
    #[serde(default = "yes")]
    pub lowercase: bool,
    /// The minimum frequency of a pair to be merged into a token; with `unigram`, the minimum frequency of a character to be a
    /// token instead of its bytes.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub min_count: u64,
    /// Whether tokens of `bpe` keep the space before a punctuation mark or a Chinese character, so that generated text has the
    /// spacing of the training texts. Otherwise a punctuation mark is the same token with and without a space, which makes better
    /// use of the vocabulary. Tokens of `unigram` always keep the space.
    #[serde(default)]
    pub spaces: bool,
}

/// The algorithm that trains a vocabulary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// Byte-pair encoding: frequent pairs are merged.
    #[default]
    Bpe,
    /// A unigram language model: starting from all frequent pieces, those with the lowest loss are pruned.
    Unigram,
}

fn size() -> usize {
    8000
}

fn yes() -> bool {
    true
}

fn two() -> u64 {
    2
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            file: None,
            kind: TokenizerKind::default(),
            size: size(),
            lowercase: yes(),
            min_count: two(),
            spaces: false,
        }
    }
}

impl Tokenizer {
    /// Trains a vocabulary from scratch. The same texts give the same tokenizer, in any order and with any number of
    /// threads.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn train<S: AsRef<str> + Sync>(texts: &[S], config: &TokenizerConfig) -> Result<Self, DataError> {
        let setting = |key: &str, found: String, expected: &str| {
            Err(DataError::Setting { key: format!("tokenizer.{key}"), found, expected: expected.into() })
        };
        let (least, range) = match config.kind {
            TokenizerKind::Bpe => (300, "300 to 1000000"),
            TokenizerKind::Unigram => (unigram::MIN_SIZE, "400 to 1000000 with kind \"unigram\""),
        };
        if !(least..=1_000_000).contains(&config.size) {
            return setting("size", config.size.to_string(), range);
        }
        if config.min_count == 0 {
            return setting("min_count", "0".into(), "1 or more");
        }
        match config.kind {
            TokenizerKind::Bpe => bpe::train(texts, config),
            TokenizerKind::Unigram => unigram::train(texts, config),
        }
    }
}

/// How often each piece occurs, sorted.
fn count_pieces<S: AsRef<str> + Sync>(
    tokenizer: &Tokenizer,
    texts: &[S],
) -> Result<BTreeMap<String, u64>, DataError> {
    let count = |texts: &[S]| {
        let mut counts = BTreeMap::new();
        for text in texts {
            // In parts: all of a long text at once would take many times its memory.
            let mut rest = text.as_ref();
            loop {
                let part = cut(rest, WHOLE);
                for piece in tokenizer.pieces(part)? {
                    *counts.entry(piece).or_insert(0) += 1;
                }
                rest = &rest[part.len()..];
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok(counts)
    };
    let join = |mut a: BTreeMap<String, u64>, b: BTreeMap<String, u64>| {
        b.into_iter().for_each(|(piece, n)| *a.entry(piece).or_insert(0) += n);
        Ok(a)
    };
    texts.par_chunks(1024).map(count).try_reduce(BTreeMap::new, join)
}

/// The normalization steps: the Unicode form, lower case if configured, and where spaces are kept, each run of them as one, with
/// one before the text.
fn normalizers(form: &str, config: &TokenizerConfig) -> Json {
    let mut steps = vec![json!({ "type": form })];
    if config.lowercase {
        steps.push(json!({ "type": "Lowercase" }));
    }
    if config.spaces {
        steps.push(json!({ "type": "Replace", "pattern": { "Regex": "\\s+" }, "content": " " }));
        steps.push(json!({ "type": "Strip", "strip_left": true, "strip_right": true }));
        steps.push(json!({ "type": "Prepend", "prepend": " " }));
    }
    json!(steps)
}

/// The text of a `tokenizer.json` with the special tokens of [`SPECIAL_TOKENS`].
fn frame(normalizers: Json, pre_tokenizers: Json, decoder: Json, model: Json) -> String {
    let special = |(id, token)| {
        json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let begin = json!({ "SpecialToken": { "id": "[CLS]", "type_id": 0 } });
    let end = |type_id| json!({ "SpecialToken": { "id": "[SEP]", "type_id": type_id } });
    let sequence = |id, type_id| json!({ "Sequence": { "id": id, "type_id": type_id } });
    let template =
        |token: &str, id: u32| (token.to_owned(), json!({ "id": token, "ids": [id], "tokens": [token] }));
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": SPECIAL_TOKENS.iter().enumerate().map(special).collect::<Vec<_>>(),
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": pre_tokenizers },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, sequence("A", 0), end(0)],
            "pair": [begin, sequence("A", 0), end(0), sequence("B", 1), end(1)],
            "special_tokens": serde_json::Map::from_iter([template("[CLS]", 2), template("[SEP]", 3)]),
        },
        "decoder": decoder,
        "model": model,
    })
    .to_string()
}
