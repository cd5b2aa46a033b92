//! A byte-level BPE of a `tokenizer.json` as the metadata `tokenizer.ggml.*` of a GGUF file, as llama.cpp's `convert_hf_to_gguf.py`
//! writes them.

use super::gguf::{PRES, Pre};
use crate::DataError;
use gguf::{Array, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The special tokens of a model, as its config.json has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GgufTokenIds {
    /// What begins a text.
    pub bos: Option<u32>,
    /// What ends one.
    pub eos: Option<u32>,
    /// Padding.
    pub pad: Option<u32>,
}

/// Types of tokens (`TokenType` of gguf-py).
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// The metadata of a tokenizer, for a network of `vocabulary` token ids; those without a token are told to be unused.
///
/// # Errors
/// A tokenizer that llama.cpp has no name for: another model than a byte-level BPE, other steps before it.
pub fn gguf_tokenizer(
    json: &str,
    vocabulary: usize,
    special: GgufTokenIds,
) -> Result<Vec<(String, Value)>, DataError> {
    let invalid = |reason: String| DataError::Tokenizer { path: None, reason };
    let json: Json = serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
    metadata(&json, vocabulary, special)
        .map_err(|reason| invalid(format!("GGUF: {reason}, which llama.cpp has no name for")))
}

fn metadata(json: &Json, vocabulary: usize, special: GgufTokenIds) -> Result<Vec<(String, Value)>, String> {
    let model = &json["model"];
    check_model(model)?;
    let (pre, prefix) = pre(json, model["ignore_merges"] == true)?;
    let (tokens, types) = tokens(json, vocabulary)?;
    let [adds_bos, adds_eos] = framing(&json["post_processor"], special)?;
    let text = |text: &str| Value::String(text.into());
    let mut keys = vec![
        ("model", text("gpt2")),
        ("pre", text(pre.names[0])),
        ("tokens", Value::Array(Array::String(tokens))),
        ("token_type", Value::Array(Array::I32(types))),
        ("merges", Value::Array(Array::String(merges(&model["merges"])?))),
        ("add_space_prefix", Value::Bool(prefix)),
        ("add_bos_token", Value::Bool(adds_bos)),
        ("add_eos_token", Value::Bool(adds_eos)),
    ];
    let ids =
        [("bos_token_id", special.bos), ("eos_token_id", special.eos), ("padding_token_id", special.pad)];
    keys.extend(ids.into_iter().filter_map(|(key, id)| Some((key, Value::Unsigned(id?.into())))));
    Ok(keys.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect())
}

/// Refuses what is no plain byte-level BPE.
fn check_model(model: &Json) -> Result<(), String> {
    if model["type"] != "BPE" {
        return Err(format!("found the model {}", model["type"]));
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix", "dropout"] {
        if !(model[key].is_null() || model[key] == "") {
            return Err(format!("found model.{key} = {}", model[key]));
        }
    }
    match model["byte_fallback"] == true {
        true => Err("found a BPE that falls back to bytes (SentencePiece)".into()),
        false => Ok(()),
    }
}

/// What llama.cpp calls the steps before the model, and whether a space is put before a text.
fn pre(json: &Json, ignore_merges: bool) -> Result<(&'static Pre, bool), String> {
    const KNOWN: &[Pre] = &PRES;
    let found = plain(&json["pre_tokenizer"]);
    let nfc = match &json["normalizer"] {
        Json::Null => false,
        normalizer if plain(normalizer) == serde_json::json!([{ "type": "NFC" }]) => true,
        other => return Err(format!("found the normalizer {other}")),
    };
    for pre in KNOWN.iter().filter(|pre| pre.nfc == nfc && pre.whole_words == ignore_merges) {
        for prefix in [false, true] {
            if plain(&pre.split.pre_tokenizer(prefix)) == found {
                return Ok((pre, prefix));
            }
        }
    }
    Err(format!("found the steps {} before the model", json["pre_tokenizer"]))
}

/// The steps of a part, without what changes no token.
fn plain(part: &Json) -> Json {
    let steps = match part["type"].as_str() {
        Some("Sequence") => {
            let steps = part.get("pretokenizers").or_else(|| part.get("normalizers"));
            steps.and_then(Json::as_array).cloned().unwrap_or_default()
        }
        _ => vec![part.clone()],
    };
    let step = |mut step: Json| {
        if let Some(step) = step.as_object_mut() {
            step.remove("trim_offsets");
            step.entry("use_regex").or_insert(true.into());
            if step.get("type") != Some(&"ByteLevel".into()) {
                step.remove("use_regex");
            }
            step.sort_keys();
        }
        step
    };
    steps.into_iter().map(step).collect()
}

/// Every token by id, and its type.
fn tokens(json: &Json, vocabulary: usize) -> Result<(Vec<String>, Vec<i32>), String> {
    let mut by_id: BTreeMap<u64, (&str, i32)> = BTreeMap::new();
    let words = json["model"]["vocab"].as_object().into_iter().flatten();
    by_id.extend(words.filter_map(|(token, id)| Some((id.as_u64()?, (token.as_str(), NORMAL)))));
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        if let (Some(id), Some(token)) = (added["id"].as_u64(), added["content"].as_str()) {
            by_id.insert(id, (token, if added["special"] == true { CONTROL } else { USER_DEFINED }));
        }
    }
    if let Some((id, (token, _))) = by_id.range(vocabulary as u64..).next() {
        return Err(format!("found the token {token:?} with the id {id} in a network of {vocabulary}"));
    }
    let of = |id: u64| match by_id.get(&id) {
        Some((token, kind)) => ((*token).to_owned(), *kind),
        None => (format!("[PAD{id}]"), UNUSED),
    };
    Ok((0..vocabulary as u64).map(of).unzip())
}

/// Merges as the format writes them, `left right` each.
fn merges(merges: &Json) -> Result<Vec<String>, String> {
    let merge = |merge: &Json| match merge {
        Json::String(text) => Some(text.clone()),
        Json::Array(pair) => match &pair[..] {
            [Json::String(left), Json::String(right)] if !format!("{left}{right}").contains(' ') => {
                Some(format!("{left} {right}"))
            }
            _ => None,
        },
        _ => None,
    };
    let list = merges.as_array().ok_or("found no merges")?;
    list.iter().map(|found| merge(found).ok_or_else(|| format!("found the merge {found}"))).collect()
}

/// Whether the token that begins a text, and that which ends one, are put around it.
fn framing(post_processor: &Json, special: GgufTokenIds) -> Result<[bool; 2], String> {
    let mut added = [false; 2];
    let steps = match post_processor["processors"].as_array() {
        Some(steps) => steps.clone(),
        None => vec![post_processor.clone()],
    };
    for step in steps {
        let kind = step["type"].as_str();
        if step.is_null() || kind == Some("ByteLevel") {
            continue;
        }
        let template = step["single"].as_array().filter(|_| kind == Some("TemplateProcessing"));
        let Some(template) = template else {
            return Err(format!("found the post-processor {kind:?}"));
        };
        let text = template.iter().position(|part| part.get("Sequence").is_some()).unwrap_or(0);
        for (at, part) in template.iter().enumerate().filter(|(at, _)| *at != text) {
            let name = part["SpecialToken"]["id"].as_str().unwrap_or_default();
            let id = step["special_tokens"][name]["ids"][0].as_u64();
            let (side, expected) = if at < text { (0, special.bos) } else { (1, special.eos) };
            if id.is_none() || id != expected.map(u64::from) || added[side] {
                return Err(format!("found the token {name:?} around texts"));
            }
            added[side] = true;
        }
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GgufTokenizer;
    use std::path::Path;

    fn converted(name: &str) -> (GgufTokenizer, usize) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(name);
        let file = gguf::of_model(&folder).unwrap().unwrap();
        let tokens = gguf::Gguf::open(&file).unwrap().get("tokenizer.ggml.tokens").cloned().unwrap();
        (GgufTokenizer::open(&file).unwrap(), tokens.as_array().unwrap().len())
    }

    #[test]
    fn what_is_written_reads_as_the_same_tokenizer() {
        for name in ["gguf_gpt2", "gguf_smollm", "gguf_qwen2", "gguf_llama3"] {
            let (own, tokens) = converted(name);
            let special = GgufTokenIds { bos: own.bos, eos: own.eos, pad: own.pad };
            let mut writer = gguf::Writer::new();
            writer.set("general.architecture", Value::String("llama".into()));
            let keys = gguf_tokenizer(&own.json, tokens, special).unwrap();
            keys.into_iter().for_each(|(key, value)| writer.set(key, value));
            if let Some(unk) = own.unk {
                writer.set("tokenizer.ggml.unknown_token_id", Value::Unsigned(unk.into()));
            }
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("again.gguf");
            let mut file = std::fs::File::create(&path).unwrap();
            writer.write(&mut file, |_| unreachable!("there are no tensors")).unwrap();
            let again = GgufTokenizer::open(&path).unwrap();
            let parse = |text: &str| serde_json::from_str::<Json>(text).unwrap();
            assert_eq!(parse(&again.json), parse(&own.json), "{name}");
        }
    }

    #[test]
    fn what_llama_cpp_has_no_name_for_is_refused() {
        let (own, tokens) = converted("gguf_gpt2");
        let refused = |change: &dyn Fn(&mut Json), tokens: usize| {
            let mut json: Json = serde_json::from_str(&own.json).unwrap();
            change(&mut json);
            gguf_tokenizer(&json.to_string(), tokens, GgufTokenIds::default()).unwrap_err().to_string()
        };
        let normalizer = |json: &mut Json| json["normalizer"] = serde_json::json!({ "type": "Lowercase" });
        assert!(refused(&normalizer, tokens).contains("found the normalizer {\"type\":\"Lowercase\"}"));
        let steps = |json: &mut Json| json["pre_tokenizer"] = serde_json::json!({ "type": "Whitespace" });
        assert!(refused(&steps, tokens).contains("found the steps"));
        let model = |json: &mut Json| json["model"]["type"] = "Unigram".into();
        assert!(refused(&model, tokens).contains("found the model \"Unigram\""));
        let bytes = |json: &mut Json| json["model"]["byte_fallback"] = true.into();
        assert!(refused(&bytes, tokens).contains("SentencePiece"));
        assert!(refused(&|_| (), 3).contains("in a network of 3"));
        // More rows than tokens have none.
        let keys = gguf_tokenizer(&own.json, tokens + 2, GgufTokenIds::default()).unwrap();
        let get =
            |name: &str| keys.iter().find(|(key, _)| key.ends_with(name)).unwrap().1.as_array().unwrap();
        assert_eq!(get(".tokens").as_strings().unwrap()[tokens + 1], format!("[PAD{}]", tokens + 1));
        assert_eq!(get(".token_type").to_i64().unwrap()[tokens], 5);
    }
}
