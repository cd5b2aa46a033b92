//! What byte-level BPEs have in common: their letters, their models, and how they cut texts into words.

use super::document::{sequence, vocabulary};
use serde_json::{Value as Json, json};
use std::collections::HashMap;

/// Apart from names: how a text is cut into words before merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// By GPT-2's expression, which is the library's own.
    Gpt2,
    /// By GPT-2's, after each digit has been cut off.
    Gpt2Digits,
    /// By an expression.
    Pattern(&'static str),
}

/// The expression of Qwen 2 and 3: digits stand alone.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Llama 3: up to three digits.
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Mistral's Tekken.
pub(super) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Split {
    /// The pre-tokenizer.
    pub fn pre_tokenizer(self, add_prefix_space: bool) -> Json {
        let letters = |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": use_regex });
        let steps = match self {
            Split::Gpt2 => vec![letters(true)],
            Split::Gpt2Digits => vec![json!({ "type": "Digits", "individual_digits": true }), letters(true)],
            Split::Pattern(pattern) => {
                let split = json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
                vec![split, letters(false)]
            }
        };
        sequence("pretokenizers", steps)
    }
}

/// The decoder.
pub(super) fn decoder() -> Json {
    json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true })
}

/// The model.
pub(super) fn model(ids: &HashMap<String, u32>, merges: &[[&str; 2]], ignore_merges: bool) -> Json {
    json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false,
        "byte_fallback": false, "ignore_merges": ignore_merges, "vocab": vocabulary(ids), "merges": merges,
    })
}

/// Merges as files write them, `left right` each.
pub(super) fn merges<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<[&'a str; 2]>, String> {
    lines
        .map(|line| match line.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
                Ok([left, right])
            }
            _ => Err(format!("found the merge {line:?}, expected two tokens with a space between them")),
        })
        .collect()
}
