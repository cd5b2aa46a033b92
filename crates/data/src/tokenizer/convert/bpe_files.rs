//! `vocab.json` and `merges.txt`: byte-level BPE as in GPT-2, RoBERTa, DeBERTa and Qwen 2 (transformers' `GPT2Converter`,
//! `RobertaConverter`, `DebertaConverter`, `Qwen2Converter`).

use super::byte_level::{self, QWEN2, Split};
use super::document::{Added, Document, around, cls_and_sep};
use super::read_text;
use super::settings::Settings;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::path::Path;

/// No vocabulary in use is a tenth as large.
const MOST_IDS: usize = 1 << 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Gpt2,
    Roberta,
    Deberta,
    Qwen2,
}

const FAMILIES: [(&[&str], &[&str], Family); 4] = [
    (&["GPT2Tokenizer"], &["gpt2", "gpt_neo"], Family::Gpt2),
    (
        &["RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"],
        &["roberta", "bart", "longformer"],
        Family::Roberta,
    ),
    (&["DebertaTokenizer"], &["deberta"], Family::Deberta),
    (&["Qwen2Tokenizer"], &["qwen2", "qwen2_moe", "qwen3", "qwen3_moe"], Family::Qwen2),
];

impl Family {
    /// The special tokens that its class names by default.
    fn tokens(self) -> &'static [(&'static str, Option<&'static str>)] {
        const END: Option<&str> = Some("<|endoftext|>");
        match self {
            Family::Gpt2 => {
                &[("unk_token", END), ("bos_token", END), ("eos_token", END), ("pad_token", None)]
            }
            Family::Qwen2 => {
                &[("unk_token", END), ("bos_token", None), ("eos_token", END), ("pad_token", END)]
            }
            Family::Roberta => &[
                ("bos_token", Some("<s>")),
                ("eos_token", Some("</s>")),
                ("sep_token", Some("</s>")),
                ("cls_token", Some("<s>")),
                ("unk_token", Some("<unk>")),
                ("pad_token", Some("<pad>")),
                ("mask_token", Some("<mask>")),
            ],
            Family::Deberta => &[
                ("sep_token", Some("[SEP]")),
                ("cls_token", Some("[CLS]")),
                ("unk_token", Some("[UNK]")),
                ("pad_token", Some("[PAD]")),
                ("mask_token", Some("[MASK]")),
            ],
        }
    }
}

pub(super) fn convert(path: &Path, settings: &Settings) -> Result<String, String> {
    let family = settings.family(&FAMILIES, None)?;
    let vocabulary = read_text(path)?;
    let ids: HashMap<String, u32> = serde_json::from_str(&vocabulary)
        .map_err(|error| format!("vocab.json is no table of ids: {error}"))?;
    let text = read_text(&path.with_file_name("merges.txt"))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("#version"));
    let merges = byte_level::merges(lines)?;
    let mut named: HashMap<&str, Added> = HashMap::new();
    let mut added = settings.more_tokens();
    for (key, default) in family.tokens() {
        let Some(mut token) = settings.token(key, *default)? else { continue };
        // The space before a mask is the mask's, as in the models on the Hub, where nothing else is said.
        token.lstrip |= *key == "mask_token" && settings.token(key, None)?.is_none();
        named.insert(key, token.clone());
        added.push(token);
    }
    let of = |key: &str| named.get(key).map(|token| token.content.as_str());
    let prefix = settings.flag("add_prefix_space")?.unwrap_or(false);
    let framed = |key: &str, token: &str| -> Result<Option<String>, String> {
        Ok(settings.flag(key)?.unwrap_or(false).then(|| of(token).map(str::to_owned)).flatten())
    };
    let post_processor = match family {
        Family::Gpt2 | Family::Qwen2 => {
            let (bos, eos) = (framed("add_bos_token", "bos_token")?, framed("add_eos_token", "eos_token")?);
            around(bos.as_deref(), eos.as_deref(), &ids)?
        }
        Family::Deberta => {
            cls_and_sep(of("cls_token").unwrap_or_default(), of("sep_token").unwrap_or_default(), &ids)?
        }
        Family::Roberta => {
            let token = |key: &str| -> Result<Json, String> {
                let token = of(key).unwrap_or_default();
                let id = ids.get(token).ok_or_else(|| format!("the vocabulary has no {token:?}"))?;
                Ok(json!([token, id]))
            };
            json!({
                "type": "RobertaProcessing", "sep": token("sep_token")?, "cls": token("cls_token")?, "trim_offsets": true,
                "add_prefix_space": prefix,
            })
        }
    };
    let split = if family == Family::Qwen2 { Split::Pattern(QWEN2) } else { Split::Gpt2 };
    let size = ids.values().max().map_or(0, |id| *id as usize + 1);
    if size == 0 {
        return Err("the vocabulary is empty".into());
    }
    if size > MOST_IDS {
        return Err(format!("vocab.json: found the id {}, expected ids below {MOST_IDS}", size - 1));
    }
    let document = Document {
        added,
        normalizer: if family == Family::Qwen2 { json!({ "type": "NFC" }) } else { Json::Null },
        pre_tokenizer: split.pre_tokenizer(prefix),
        post_processor,
        decoder: byte_level::decoder(),
        model: byte_level::model(&ids, &merges, false),
    };
    Ok(document.text(&ids, size))
}
