//! A vocabulary trained from the training split, for any script: byte-pair encoding (`train/bpe.rs`) or a unigram model
//! (`train/unigram.rs`).
//!
//! Text is brought into a normal form (Unicode NFC or NFKC), lower case if asked, and split into pieces; a piece begins with a
//! mark for the space before it. What no token stands for is written byte by byte, so nothing is unknown: not an emoji, and no rare
//! character that never came in training.

mod bpe;
mod unigram;

use std::collections::BTreeMap;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::{DataError, Tokenizer};

/// The special tokens, with their ids 0 to 4. `[CLS]` begins every row, `[SEP]` ends it.
const SPECIALS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// `[tokenizer]`: a vocabulary trained from the training split, for models built from scratch. Works for any script; no
/// text is ever unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerConfig {
    /// How tokens are found: `bpe` (byte-pair encoding, the default) or `unigram`.
    #[serde(default)]
    pub kind: TokenizerKind,
    /// How many tokens the vocabulary has at most. 256 are the bytes, 5 are special; with `unigram` 95 more are the characters
    /// of ASCII.
    #[serde(default = "size")]
    #[schemars(range(min = 300, max = 1_000_000))]
    pub size: usize,
    /// Whether upper and lower case are the same.
    #[serde(default = "yes")]
    pub lowercase: bool,
    /// How often two pieces must stand side by side to become one token; with `unigram`, how often a character must occur to be
    /// a token, and not its bytes.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub min_count: u64,
    /// Whether tokens of `bpe` say if a space stood before a punctuation mark or a Chinese character, so that generated text has
    /// the spaces of the training texts. Without, marks stand by themselves wherever they are, and the vocabulary is shared better.
    /// Tokens of `unigram` always say it.
    #[serde(default)]
    pub spaces: bool,
}

/// How the tokens of a vocabulary are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// Byte-pair encoding: frequent neighbours are joined.
    #[default]
    Bpe,
    /// A unigram model: from all frequent pieces those go that are missed least.
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
            for piece in tokenizer.pieces(text.as_ref())? {
                *counts.entry(piece).or_insert(0) += 1;
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

/// The steps of normalization: the Unicode form, lower case if asked, and where spaces are kept, each run of them as one, with one
/// before the text.
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

/// The text of a `tokenizer.json` with the special tokens of [`SPECIALS`].
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
        "added_tokens": SPECIALS.iter().enumerate().map(special).collect::<Vec<_>>(),
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
