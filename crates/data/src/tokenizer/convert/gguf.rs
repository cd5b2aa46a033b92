//! The tokenizer of a GGUF file: its metadata `tokenizer.ggml.*`, as llama.cpp and transformers read them (src/llama-vocab.cpp;
//! integrations/gguf/gguf_tokenizer_mapping.py).

use super::byte_level::{self, LLAMA3, QWEN2, Split, TEKKEN};
use super::document::{Added, Document, around, ids, metaspace, replace, sequence, vocabulary};
use super::merges;
use crate::DataError;
use gguf::{Array, Gguf, Value};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::path::Path;

/// What a GGUF file says of its tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTokenizer {
    /// The text of an equivalent `tokenizer.json`.
    pub json: String,
    /// The template of conversations, in Jinja, where there is one.
    pub chat_template: Option<String>,
    /// The id of the token that begins a text.
    pub bos: Option<u32>,
    /// The id of the token that ends one.
    pub eos: Option<u32>,
    /// The id of padding.
    pub pad: Option<u32>,
    /// The id of what is in no vocabulary.
    pub unk: Option<u32>,
}

/// How a byte-level BPE of a name in `tokenizer.ggml.pre` works.
pub(super) struct Pre {
    pub names: &'static [&'static str],
    pub split: Split,
    /// Whether texts are composed first.
    pub nfc: bool,
    /// Whether a word that is a token is that token, whatever the merges say; and whether a text begins with bos where the file does
    /// not say.
    pub whole_words: bool,
    adds_bos: bool,
}

const PLAIN: Pre = Pre { names: &[], split: Split::Gpt2, nfc: false, whole_words: false, adds_bos: false };
pub(super) const PRES: [Pre; 5] = [
    Pre { names: &["gpt-2", "default"], ..PLAIN },
    Pre { names: &["smollm", "starcoder", "refact"], split: Split::Gpt2Digits, ..PLAIN },
    Pre { names: &["qwen2", "deepseek-r1-qwen"], split: Split::Pattern(QWEN2), nfc: true, ..PLAIN },
    Pre {
        names: &["llama-bpe", "llama3", "llama-v3"],
        split: Split::Pattern(LLAMA3),
        whole_words: true,
        adds_bos: true,
        ..PLAIN
    },
    Pre { names: &["tekken"], split: Split::Pattern(TEKKEN), whole_words: true, adds_bos: true, ..PLAIN },
];

/// Types of tokens (`TokenType` of gguf-py).
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

impl GgufTokenizer {
    /// Reads the tokenizer of a file.
    ///
    /// # Errors
    /// When the file cannot be read, or its tokenizer is of a sort that is not known.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let invalid = |reason: String| DataError::Tokenizer { path: Some(path.into()), reason };
        let file = Gguf::open(path).map_err(|error| match error {
            gguf::GgufError::Broken { reason, remedy, .. } => invalid(format!("{reason}. Try: {remedy}")),
            other => invalid(other.to_string()),
        })?;
        Metadata { file: &file }.tokenizer().map_err(invalid)
    }
}

struct Metadata<'a> {
    file: &'a Gguf,
}

/// What both sorts of tokenizers need.
struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    ids: HashMap<String, u32>,
    added: Vec<Added>,
}

impl<'a> Metadata<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.file.get(&format!("tokenizer.ggml.{key}"))
    }

    fn wrong(&self, key: &str, expected: &str) -> String {
        let found = match self.get(key) {
            None => "nothing".to_owned(),
            Some(Value::String(text)) => format!("{text:?}"),
            Some(Value::Array(array)) => format!("an array of {}", array.len()),
            Some(other) => format!("{other:?}"),
        };
        format!("tokenizer.ggml.{key}: found {found}, expected {expected}")
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_bool().map(Some).ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    /// A token's id, below the number of tokens.
    fn id(&self, key: &str, tokens: usize) -> Result<Option<u32>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < tokens);
        id.map(Some).ok_or_else(|| self.wrong(key, &format!("an id below {tokens}")))
    }

    fn texts(&self, key: &str) -> Result<Option<&'a [String]>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => {
                value.as_array().and_then(Array::as_strings).map(Some).ok_or_else(|| self.wrong(key, "texts"))
            }
        }
    }

    fn tokenizer(&self) -> Result<GgufTokenizer, String> {
        let tokens = self.texts("tokens")?.filter(|tokens| !tokens.is_empty());
        let tokens = tokens.ok_or_else(|| self.wrong("tokens", "a vocabulary"))?;
        let mut tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let architecture = self.file.get("general.architecture").and_then(Value::as_str).unwrap_or_default();
        let spaces: Vec<String>;
        let is_gemma = architecture.starts_with("gemma");
        if is_gemma {
            // Runs of spaces stand there as spaces, and are found as their marks.
            spaces = tokens.iter().map(|token| marked(token)).collect();
            tokens = spaces.iter().map(String::as_str).collect();
        }
        let [bos, eos, pad, unk] = ["bos", "eos", "padding", "unknown"]
            .map(|name| self.id(&format!("{name}_token_id"), tokens.len()));
        let [bos, eos, pad, unk] = [bos?, eos?, pad?, unk?];
        let token = |id: Option<u32>| id.map(|id| tokens[id as usize]);
        let mut added = self.added(&tokens)?;
        // Runs of spaces are found by merges, as in Gemma's own tokenizer.
        added.retain(|token| token.special || !is_gemma || !token.content.trim_matches('▁').is_empty());
        added.extend([bos, eos, pad, unk].into_iter().filter_map(token).map(Added::special));
        let (bos_token, eos_token, unk_token) = (token(bos), token(eos), token(unk));
        let words = Vocabulary { ids: ids(tokens.iter().copied()), tokens: tokens.clone(), added };
        let framing = |ids: &HashMap<String, u32>, adds_bos: bool| -> Result<Json, String> {
            let bos = self.flag("add_bos_token")?.unwrap_or(adds_bos).then_some(bos_token).flatten();
            let eos = self.flag("add_eos_token")?.unwrap_or(false).then_some(eos_token).flatten();
            around(bos, eos, ids)
        };
        let json = match self.get("model").and_then(Value::as_str) {
            Some("gpt2") => {
                let pre = self.pre()?;
                let framing = framing(&words.ids, pre.adds_bos)?;
                self.byte_level(words, pre, framing)?
            }
            Some("llama") => {
                let framing = framing(&words.ids, true)?;
                self.scored(words, unk_token, is_gemma, framing)?
            }
            _ => {
                return Err(
                    self.wrong("model", "\"gpt2\", a byte-level BPE, or \"llama\", a SentencePiece BPE")
                );
            }
        };
        let template = self.file.get("tokenizer.chat_template").and_then(Value::as_str);
        Ok(GgufTokenizer { json, chat_template: template.map(str::to_owned), bos, eos, pad, unk })
    }

    /// The tokens that are found in the text as they are: special ones, and those of users.
    fn added(&self, tokens: &[&str]) -> Result<Vec<Added>, String> {
        let Some(value) = self.get("token_type") else { return Ok(Vec::new()) };
        let types = value.as_array().and_then(Array::to_i64).filter(|types| types.len() == tokens.len());
        let types = types.ok_or_else(|| self.wrong("token_type", "a type of each token"))?;
        let of = |kind: i64, special: bool| {
            let chosen = types.iter().zip(tokens).filter(move |(found, _)| **found == kind);
            chosen.map(move |(_, token)| Added { special, ..Added::special(*token) })
        };
        Ok(of(CONTROL, true).chain(of(USER_DEFINED, false)).collect())
    }

    fn pre(&self) -> Result<&'static Pre, String> {
        const KNOWN: &[Pre] = &PRES;
        let Some(value) = self.get("pre") else { return Ok(&KNOWN[0]) };
        KNOWN.iter().find(|pre| pre.names.iter().any(|name| Some(*name) == value.as_str())).ok_or_else(|| {
            let known: Vec<&str> = KNOWN.iter().flat_map(|pre| pre.names).copied().collect();
            self.wrong("pre", &format!("one of {}", known.join(", ")))
        })
    }

    fn byte_level(&self, words: Vocabulary<'_>, pre: &Pre, post_processor: Json) -> Result<String, String> {
        let lines = self.texts("merges")?.ok_or_else(|| self.wrong("merges", "merges"))?;
        let merges = byte_level::merges(lines.iter().map(String::as_str))?;
        let document = Document {
            added: words.added,
            normalizer: if pre.nfc { json!({ "type": "NFC" }) } else { Json::Null },
            pre_tokenizer: pre.split.pre_tokenizer(self.flag("add_space_prefix")?.unwrap_or(false)),
            post_processor,
            decoder: byte_level::decoder(),
            model: byte_level::model(&words.ids, &merges, pre.whole_words),
        };
        Ok(document.text(&words.ids, words.tokens.len()))
    }

    /// A BPE whose merges follow from its tokens: by their scores, or in Gemma, whose scores say something else, by their order.
    fn scored(
        &self,
        words: Vocabulary<'_>,
        unk: Option<&str>,
        is_gemma: bool,
        post_processor: Json,
    ) -> Result<String, String> {
        let Vocabulary { tokens, ids, added } = words;
        let lines = self.texts("merges")?;
        let merges = match lines {
            Some(lines) => byte_level::merges(lines.iter().map(String::as_str))?,
            None => {
                let scores = self.get("scores").and_then(Value::as_array).and_then(Array::as_f32);
                let scores = scores.filter(|scores| scores.len() == tokens.len());
                let scores = scores.ok_or_else(|| self.wrong("scores", "a score of each token"))?;
                let rank = |(i, score): (usize, &f32)| if is_gemma { i as f64 } else { -f64::from(*score) };
                merges::generate(tokens.iter().copied().zip(scores.iter().enumerate().map(rank)), &ids)
            }
        };
        let prefix = self.flag("add_space_prefix")?.unwrap_or(!is_gemma);
        let mut decoder =
            vec![replace("String", "▁", " "), json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" })];
        let (normalizer, pre_tokenizer) = if is_gemma {
            let split = json!({ "type": "Split", "pattern": { "String": " " }, "behavior": "MergedWithPrevious", "invert": false });
            (replace("String", " ", "▁"), split)
        } else {
            (Json::Null, metaspace(if prefix { "first" } else { "never" }, false))
        };
        if prefix {
            decoder.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        }
        let document = Document {
            added,
            normalizer,
            pre_tokenizer,
            post_processor,
            decoder: sequence("decoders", decoder),
            model: json!({
                "type": "BPE", "dropout": null, "unk_token": unk, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": vocabulary(&ids), "merges": merges,
            }),
        };
        Ok(document.text(&ids, tokens.len()))
    }
}

/// A run of spaces as marks.
fn marked(token: &str) -> String {
    if token.contains(' ') && token.trim().is_empty() {
        "▁".repeat(token.chars().count())
    } else {
        token.to_owned()
    }
}
