//! The parts of a `tokenizer.json`, and how they are written.

use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;

/// A token that is found in the text before anything else.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Added {
    pub content: String,
    /// Whether the space before it, or after it, is its own.
    pub lstrip: bool,
    pub rstrip: bool,
    pub single_word: bool,
    /// Whether it is found in the normalized text.
    pub normalized: bool,
    /// Whether it is no part of a text that is written.
    pub special: bool,
}

impl Added {
    /// A special token, as it is.
    pub fn special(content: impl Into<String>) -> Self {
        Added {
            content: content.into(),
            lstrip: false,
            rstrip: false,
            single_word: false,
            normalized: false,
            special: true,
        }
    }
}

/// A whole tokenizer. What a part is not is `null`.
pub(super) struct Document {
    pub added: Vec<Added>,
    pub normalizer: Json,
    pub pre_tokenizer: Json,
    pub post_processor: Json,
    pub decoder: Json,
    pub model: Json,
}

impl Document {
    /// The text of the tokenizer.json. Tokens are added under their ids in `ids`, those that are new behind `size`.
    pub fn text(self, ids: &HashMap<String, u32>, size: usize) -> String {
        let (mut added, mut next): (Vec<(u32, Added)>, usize) = (Vec::new(), size);
        for token in self.added {
            if token.content.is_empty() || added.iter().any(|(_, other)| other.content == token.content) {
                continue;
            }
            let id = ids.get(&token.content).copied().unwrap_or_else(|| {
                next += 1;
                crate::cast::to_u32(next - 1)
            });
            added.push((id, token));
        }
        added.sort_by_key(|(id, _)| *id);
        let added: Vec<Json> = added
            .into_iter()
            .map(|(id, token)| {
                json!({
                    "id": id, "content": token.content, "single_word": token.single_word, "lstrip": token.lstrip,
                    "rstrip": token.rstrip, "normalized": token.normalized, "special": token.special,
                })
            })
            .collect();
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": self.normalizer,
            "pre_tokenizer": self.pre_tokenizer, "post_processor": self.post_processor, "decoder": self.decoder, "model": self.model,
        })
        .to_string()
    }
}

/// Ids by token, and the token of the first id where one occurs twice.
pub(super) fn ids<'a>(tokens: impl Iterator<Item = &'a str>) -> HashMap<String, u32> {
    let mut ids = HashMap::new();
    for (id, token) in tokens.enumerate() {
        ids.entry(token.to_owned()).or_insert(crate::cast::to_u32(id));
    }
    ids
}

/// A vocabulary as an object, by id.
pub(super) fn vocabulary(ids: &HashMap<String, u32>) -> Json {
    let mut sorted: Vec<(&String, &u32)> = ids.iter().collect();
    sorted.sort_by_key(|(_, id)| **id);
    Json::Object(sorted.into_iter().map(|(token, id)| (token.clone(), json!(id))).collect::<Map<_, _>>())
}

/// A part of a template: a special token or a text, with its segment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Token(&'a str, u32),
    Text(u32),
}

/// The post-processor that puts special tokens around one text, and around two. `null` where there are none.
pub(super) fn template(
    single: &[Part<'_>],
    pair: &[Part<'_>],
    ids: &HashMap<String, u32>,
) -> Result<Json, String> {
    let mut tokens = Map::new();
    let mut parts = |parts: &[Part<'_>]| -> Result<Vec<Json>, String> {
        let mut texts = ["A", "B"].into_iter();
        let mut part = |part: &Part<'_>| match part {
            Part::Text(segment) => {
                Ok(json!({ "Sequence": { "id": texts.next().unwrap_or("B"), "type_id": segment } }))
            }
            Part::Token(token, segment) => {
                let id = ids.get(*token).ok_or_else(|| format!("the vocabulary has no {token:?}"))?;
                tokens.insert((*token).into(), json!({ "id": token, "ids": [id], "tokens": [token] }));
                Ok(json!({ "SpecialToken": { "id": token, "type_id": segment } }))
            }
        };
        parts.iter().map(&mut part).collect()
    };
    let (single, pair) = (parts(single)?, parts(pair)?);
    if tokens.is_empty() {
        return Ok(Json::Null);
    }
    Ok(json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens }))
}

/// A template with tokens before and after each text, where there are some.
pub(super) fn around(
    before: Option<&str>,
    after: Option<&str>,
    ids: &HashMap<String, u32>,
) -> Result<Json, String> {
    let one = |segment| {
        let before = before.map(|token| Part::Token(token, segment));
        let after = after.map(|token| Part::Token(token, segment));
        before.into_iter().chain([Part::Text(segment)]).chain(after).collect::<Vec<_>>()
    };
    template(&one(0), &[one(0), one(1)].concat(), ids)
}

/// BERT's template.
pub(super) fn cls_and_sep(cls: &str, sep: &str, ids: &HashMap<String, u32>) -> Result<Json, String> {
    let single = [Part::Token(cls, 0), Part::Text(0), Part::Token(sep, 0)];
    let pair = [single.as_slice(), &[Part::Text(1), Part::Token(sep, 1)]].concat();
    template(&single, &pair, ids)
}

/// Steps one after the other, of a normalizer, a pre-tokenizer or a decoder; `null` where there are none.
pub(super) fn sequence(of: &str, steps: Vec<Json>) -> Json {
    match steps.len() {
        0 => Json::Null,
        1 => steps.into_iter().next().unwrap_or_default(),
        _ => json!({ "type": "Sequence", of: steps }),
    }
}

/// A normalizer that replaces a text, or what a regular expression matches.
pub(super) fn replace(kind: &str, pattern: &str, content: &str) -> Json {
    json!({ "type": "Replace", "pattern": { kind: pattern }, "content": content })
}

/// The pre-tokenizer or decoder that marks spaces by `▁`.
pub(super) fn metaspace(prepend_scheme: &str, split: bool) -> Json {
    json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend_scheme, "split": split })
}
