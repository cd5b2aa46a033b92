//! SentencePiece models: unigram and BPE, as transformers' convert_slow_tokenizer.py makes tokenizers of them.

use super::document::{
    Added, Document, Part, around, cls_and_sep, ids, metaspace, replace, sequence, template, vocabulary,
};
use super::settings::Settings;
use super::{merges, read};
use crate::sentence_piece::{Field, fields};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    T5,
    XlmRoberta,
    Albert,
    DebertaV2,
    Llama,
    Gemma,
}

const FAMILIES: [(&[&str], &[&str], Family); 6] = [
    (&["T5Tokenizer", "MT5Tokenizer"], &["t5", "mt5", "umt5"], Family::T5),
    (&["XLMRobertaTokenizer"], &["xlm-roberta", "xlm-roberta-xl"], Family::XlmRoberta),
    (&["AlbertTokenizer"], &["albert"], Family::Albert),
    (&["DebertaV2Tokenizer"], &["deberta-v2"], Family::DebertaV2),
    (&["LlamaTokenizer"], &["llama", "mistral"], Family::Llama),
    (&["GemmaTokenizer"], &["gemma", "gemma2", "gemma3", "gemma3_text"], Family::Gemma),
];

impl Family {
    /// The special tokens that its class names by default.
    fn tokens(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Family::T5 => &[("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")],
            Family::XlmRoberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("sep_token", "</s>"),
                ("cls_token", "<s>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Family::Albert => &[
                ("bos_token", "[CLS]"),
                ("eos_token", "[SEP]"),
                ("sep_token", "[SEP]"),
                ("cls_token", "[CLS]"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "[MASK]"),
            ],
            Family::DebertaV2 => &[
                ("bos_token", "[CLS]"),
                ("eos_token", "[SEP]"),
                ("sep_token", "[SEP]"),
                ("cls_token", "[CLS]"),
                ("unk_token", "[UNK]"),
                ("pad_token", "[PAD]"),
                ("mask_token", "[MASK]"),
            ],
            Family::Llama => &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")],
            Family::Gemma => &[
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
            ],
        }
    }
}

/// What is read of `sentencepiece_model.proto`.
struct Model {
    /// Text, score and type.
    pieces: Vec<(String, f32, u64)>,
    is_bpe: bool,
    byte_fallback: bool,
    unk_id: u32,
    /// The table of the normalizer.
    table: Vec<u8>,
}

/// Types of pieces.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const BROKEN: &str = "found no SentencePiece model: the file is not one, or is cut off";

impl Model {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut model =
            Model { pieces: Vec::new(), is_bpe: false, byte_fallback: false, unk_id: 0, table: Vec::new() };
        let mut kind = 1;
        for field in fields(bytes) {
            match field.ok_or(BROKEN)? {
                (1, Field::Bytes(piece)) => model.pieces.push(piece_of(piece).ok_or(BROKEN)?),
                (2, Field::Bytes(trainer)) => {
                    for field in fields(trainer) {
                        match field.ok_or(BROKEN)? {
                            (3, Field::Number(number)) => kind = number,
                            (35, Field::Number(number)) => model.byte_fallback = number != 0,
                            (40, Field::Number(id)) => {
                                model.unk_id = u32::try_from(id).map_err(|_| BROKEN)?
                            }
                            (24, Field::Number(1)) => {
                                return Err(
                                    "found a model that treats spaces as suffixes, expected prefixes".into(),
                                );
                            }
                            _ => {}
                        }
                    }
                }
                (3, Field::Bytes(normalizer)) => {
                    for field in fields(normalizer) {
                        if let (2, Field::Bytes(table)) = field.ok_or(BROKEN)? {
                            model.table = table.to_vec();
                        }
                    }
                }
                _ => {}
            }
        }
        if model.pieces.is_empty() || model.unk_id as usize >= model.pieces.len() {
            return Err(BROKEN.into());
        }
        if !matches!(kind, 1 | 2) {
            return Err(
                "found a model of words or characters, expected one of the type unigram or BPE".into()
            );
        }
        model.is_bpe = kind == 2;
        Ok(model)
    }
}

fn piece_of(message: &[u8]) -> Option<(String, f32, u64)> {
    let (mut text, mut score, mut kind) = ("", 0.0, 1);
    for field in fields(message) {
        match field? {
            (1, Field::Bytes(bytes)) => text = std::str::from_utf8(bytes).ok()?,
            (2, Field::Fixed(bits)) => score = f32::from_bits(bits),
            (3, Field::Number(number)) => kind = number,
            _ => {}
        }
    }
    Some((text.to_owned(), score, kind))
}

pub(super) fn convert(path: &Path, settings: &Settings) -> Result<String, String> {
    let model = Model::read(&read(path)?)?;
    let family = settings.family(&FAMILIES, None)?;
    let (pieces, unk) = pieces(&model, family, settings)?;
    let ids = ids(pieces.iter().map(|(piece, _)| piece.as_str()));
    let mut named: HashMap<&str, String> = HashMap::new();
    let mut added = settings.more_tokens();
    for (key, default) in family.tokens() {
        let Some(mut token) = settings.token(key, Some(default))? else { continue };
        // The space before a mask is the mask's, as in the models on the Hub, where nothing else is said.
        let takes_space = *key == "mask_token" && family != Family::DebertaV2;
        token.lstrip |= takes_space && settings.token(key, None)?.is_none();
        named.insert(key, token.content.clone());
        added.push(token);
    }
    let extra = |piece: &&(String, f64)| family == Family::T5 && piece.0.starts_with("<extra_id_");
    added.extend(pieces.iter().filter(extra).map(|(piece, _)| Added::special(piece.as_str())));
    let own = model.pieces.iter().filter(|(.., kind)| matches!(*kind, CONTROL | USER_DEFINED));
    added.extend(own.map(|(piece, _, kind)| {
        let of_turn =
            family == Family::Gemma && ["<start_of_turn>", "<end_of_turn>"].contains(&piece.as_str());
        Added { special: *kind == CONTROL || of_turn, ..Added::special(piece.as_str()) }
    }));
    let [normalizer, pre_tokenizer, decoder] = steps(&model, family, settings)?;
    let document = Document {
        added,
        normalizer,
        pre_tokenizer,
        post_processor: framing(family, &named, settings, &ids)?,
        decoder,
        model: network(&model, family, &pieces, unk, &ids),
    };
    Ok(document.text(&ids, pieces.len()))
}

/// The vocabulary with scores, and the id of the unknown piece.
fn pieces(model: &Model, family: Family, settings: &Settings) -> Result<(Vec<(String, f64)>, u32), String> {
    let mut pieces: Vec<(String, f64)> =
        model.pieces.iter().map(|(piece, score, _)| (piece.clone(), f64::from(*score))).collect();
    match family {
        // fairseq has its own first four tokens, and a mask behind all.
        Family::XlmRoberta => {
            let first = ["<s>", "<pad>", "</s>", "<unk>"].map(|token| (token.to_owned(), 0.0));
            let mut all = first.to_vec();
            all.extend(pieces.into_iter().skip(3));
            all.push(("<mask>".into(), 0.0));
            return Ok((all, 3));
        }
        Family::T5 => {
            let extra = settings.number("extra_ids", 100)?;
            pieces.extend((0..extra).rev().map(|i| (format!("<extra_id_{i}>"), 0.0)));
        }
        // Pieces of a digit and a comma split elsewhere.
        Family::Albert => {
            for (piece, score) in &mut pieces {
                let mut last = piece.chars().rev();
                if last.next() == Some(',') && last.next().is_some_and(char::is_numeric) {
                    *score -= 100.0;
                }
            }
        }
        // Older vocabularies have the tab as a byte.
        Family::Gemma => {
            if !pieces.iter().any(|(piece, _)| piece == "\t")
                && let Some(tab) = pieces.iter_mut().find(|(piece, _)| piece == "<0x09>")
            {
                *tab = ("\t".into(), 0.0);
            }
        }
        Family::DebertaV2 | Family::Llama => {}
    }
    Ok((pieces, model.unk_id))
}

fn network(
    model: &Model,
    family: Family,
    pieces: &[(String, f64)],
    unk: u32,
    ids: &HashMap<String, u32>,
) -> Json {
    let fallback = model.byte_fallback && matches!(family, Family::Llama | Family::Gemma);
    if !model.is_bpe {
        return json!({ "type": "Unigram", "unk_id": unk, "vocab": pieces, "byte_fallback": fallback });
    }
    // Gemma's scores say nothing of the order of merges; its pieces stand in it.
    let rank =
        |(i, (_, score)): (usize, &(String, f64))| if family == Family::Gemma { i as f64 } else { -*score };
    let ranks = pieces.iter().enumerate().map(rank);
    let merges = merges::generate(pieces.iter().map(|(piece, _)| piece.as_str()).zip(ranks), ids);
    json!({
        "type": "BPE", "dropout": null, "unk_token": pieces[unk as usize].0, "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": true, "byte_fallback": fallback, "ignore_merges": false, "vocab": vocabulary(ids), "merges": merges,
    })
}

/// Normalizer, pre-tokenizer and decoder.
fn steps(model: &Model, family: Family, settings: &Settings) -> Result<[Json; 3], String> {
    let table = (!model.table.is_empty())
        .then(|| json!({ "type": "Precompiled", "precompiled_charsmap": base64(&model.table) }));
    let prefix = settings.flag("add_prefix_space")?.unwrap_or(true);
    let scheme = if prefix { "always" } else { "never" };
    let lower = |default: bool| -> Result<Option<Json>, String> {
        Ok(settings.flag("do_lower_case")?.unwrap_or(default).then(|| json!({ "type": "Lowercase" })))
    };
    let single_space = || replace("Regex", " {2,}", " ");
    let of_bytes = |strip: bool| {
        let mut steps =
            vec![replace("String", "▁", " "), json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" })];
        steps.extend(strip.then(|| json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 })));
        sequence("decoders", steps)
    };
    let spaces = metaspace(scheme, true);
    Ok(match family {
        Family::T5 | Family::XlmRoberta => {
            let mut steps: Vec<Json> = table.into_iter().collect();
            steps.push(json!({ "type": "Strip", "strip_left": false, "strip_right": true }));
            steps.push(replace("Regex", " {2,}", "▁"));
            [sequence("normalizers", steps), spaces.clone(), spaces]
        }
        Family::Albert => {
            let mut steps = vec![replace("String", "``", "\""), replace("String", "''", "\"")];
            if !settings.flag("keep_accents")?.unwrap_or(false) {
                steps.extend([json!({ "type": "NFKD" }), json!({ "type": "StripAccents" })]);
            }
            steps.extend(lower(true)?.into_iter().chain(table).chain([single_space()]));
            [sequence("normalizers", steps), spaces.clone(), spaces]
        }
        Family::DebertaV2 => {
            let mut steps: Vec<Json> = lower(false)?.into_iter().collect();
            steps.push(json!({ "type": "Strip", "strip_left": true, "strip_right": true }));
            steps.extend(table.into_iter().chain([single_space()]));
            let split = settings.flag("split_by_punct")?.unwrap_or(false);
            let split = split.then(|| json!({ "type": "Punctuation", "behavior": "Isolated" }));
            let cuts = split.into_iter().chain([spaces.clone()]).collect();
            [sequence("normalizers", steps), sequence("pretokenizers", cuts), spaces]
        }
        Family::Llama if settings.flag("legacy")?.unwrap_or(true) => {
            let mut steps = Vec::new();
            steps.extend(prefix.then(|| json!({ "type": "Prepend", "prepend": "▁" })));
            steps.push(replace("String", " ", "▁"));
            [sequence("normalizers", steps), Json::Null, of_bytes(prefix)]
        }
        Family::Llama => {
            [Json::Null, metaspace(if prefix { "first" } else { "never" }, false), of_bytes(prefix)]
        }
        Family::Gemma => {
            let split = json!({ "type": "Split", "pattern": { "String": " " }, "behavior": "MergedWithPrevious", "invert": false });
            [replace("String", " ", "▁"), split, of_bytes(false)]
        }
    })
}

/// The special tokens around texts.
fn framing(
    family: Family,
    named: &HashMap<&str, String>,
    settings: &Settings,
    ids: &HashMap<String, u32>,
) -> Result<Json, String> {
    let token = |key: &str| named.get(key).map_or("", String::as_str);
    match family {
        Family::T5 => around(None, Some(token("eos_token")), ids),
        Family::XlmRoberta => {
            let (bos, eos) = (Part::Token(token("bos_token"), 0), Part::Token(token("eos_token"), 0));
            let single = [bos, Part::Text(0), eos];
            template(&single, &[single.as_slice(), &[eos, Part::Text(0), eos]].concat(), ids)
        }
        Family::Albert | Family::DebertaV2 => cls_and_sep(token("cls_token"), token("sep_token"), ids),
        Family::Llama | Family::Gemma => {
            let bos = settings.flag("add_bos_token")?.unwrap_or(true).then(|| token("bos_token"));
            let eos = settings.flag("add_eos_token")?.unwrap_or(false).then(|| token("eos_token"));
            around(bos, eos, ids)
        }
    }
}

/// Bytes as text (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|i| u32::from(chunk.get(i).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_rfc_4648() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, text) in cases {
            assert_eq!(super::base64(plain.as_bytes()), text);
        }
    }
}
