//! A vocabulary trained from the training split: byte-level byte-pair encoding, for any script.
//!
//! Text is brought into composed form (Unicode NFC), lower case if asked, and split at spaces; punctuation and Chinese
//! characters stand by themselves. Each piece begins with a mark for its start and consists of bytes; the pair of
//! neighbours that occurs most often becomes one token, again and again. Since every byte is a token, nothing is unknown:
//! an emoji or a rare character that never came in training is written with several tokens.
//!
//! The trainer is our own, for one reason: that of the tokenizers library breaks ties in the order of a randomly seeded
//! hash table and can give another vocabulary on the next run. Here ties go to the earlier pair.
//!
//! Paper: Sennrich, Haddow, Birch, Neural Machine Translation of Rare Words with Subword Units, 2016 (arXiv 1508.07909);
//! bytes as its alphabet: Radford et al., Language Models are Unsupervised Multitask Learners, 2019.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{DataError, Tokenizer};

/// The special tokens, with their ids 0 to 4. `[CLS]` begins every row, `[SEP]` ends it.
const SPECIALS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const MIN_SIZE: usize = 300;

/// `[tokenizer]`: a vocabulary trained from the training split, for models built from scratch. Works for any script; no
/// text is ever unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerConfig {
    /// How many tokens the vocabulary has at most. 256 are the bytes, 5 are special.
    #[serde(default = "size")]
    #[schemars(range(min = 300, max = 1_000_000))]
    pub size: usize,
    /// Whether upper and lower case are the same.
    #[serde(default = "yes")]
    pub lowercase: bool,
    /// How often two pieces must stand side by side to become one token.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub min_count: u64,
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
        Self { size: size(), lowercase: yes(), min_count: two() }
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
        if !(MIN_SIZE..=1_000_000).contains(&config.size) {
            return setting("size", config.size.to_string(), "300 to 1000000");
        }
        if config.min_count == 0 {
            return setting("min_count", "0".into(), "1 or more");
        }
        let mut alphabet: Vec<char> =
            tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
        alphabet.sort_unstable();
        let mut vocabulary: Vec<String> = SPECIALS.map(String::from).to_vec();
        vocabulary.extend(alphabet.iter().map(char::to_string));
        let untrained = Tokenizer::from_json(&to_json(&vocabulary, &[], config.lowercase))?;
        let pieces = count_pieces(&untrained, texts)?;
        let merges = merge(&pieces, &mut vocabulary, config);
        Tokenizer::from_json(&to_json(&vocabulary, &merges, config.lowercase))
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

type Pair = (u32, u32);

/// Merges the most frequent pairs until the vocabulary is full; returns the merged pairs in order.
fn merge(
    pieces: &BTreeMap<String, u64>,
    vocabulary: &mut Vec<String>,
    config: &TokenizerConfig,
) -> Vec<Pair> {
    let mut ids: HashMap<String, u32> = vocabulary.iter().cloned().zip(0..).collect();
    let letters: HashMap<char, u32> =
        vocabulary.iter().zip(0..).filter_map(|(token, id)| Some((single(token)?, id))).collect();
    let mut words: Vec<(Vec<u32>, i64)> = pieces
        .iter()
        .map(|(piece, &n)| (piece.chars().filter_map(|c| letters.get(&c).copied()).collect(), n as i64))
        .collect();
    // How often each pair occurs, and the words that it may occur in.
    let mut counts: HashMap<Pair, i64> = HashMap::new();
    let mut places: HashMap<Pair, HashSet<usize>> = HashMap::new();
    for (i, (word, n)) in words.iter().enumerate() {
        for pair in word.windows(2).map(|two| (two[0], two[1])) {
            *counts.entry(pair).or_default() += n;
            places.entry(pair).or_default().insert(i);
        }
    }
    // The most frequent pair first, of equals the one with the lower ids. Counts in the heap may be out of date: they are
    // checked when taken.
    let mut heap: BinaryHeap<(i64, Reverse<Pair>)> =
        counts.iter().map(|(&pair, &n)| (n, Reverse(pair))).collect();
    let mut merges = Vec::new();
    while vocabulary.len() < config.size
        && let Some((count, Reverse(pair))) = heap.pop()
    {
        let now = counts.get(&pair).copied().unwrap_or(0);
        if now != count {
            if now > 0 {
                heap.push((now, Reverse(pair)));
            }
            continue;
        }
        if (count as u64) < config.min_count {
            break;
        }
        let token = format!("{}{}", vocabulary[pair.0 as usize], vocabulary[pair.1 as usize]);
        let id = *ids.entry(token.clone()).or_insert_with(|| {
            vocabulary.push(token);
            vocabulary.len() as u32 - 1
        });
        merges.push(pair);
        let mut changed: HashSet<Pair> = HashSet::new();
        for i in places.remove(&pair).unwrap_or_default() {
            let (word, n) = &mut words[i];
            for pair in word.windows(2).map(|two| (two[0], two[1])) {
                *counts.entry(pair).or_default() -= *n;
            }
            replace(word, pair, id);
            for pair in word.windows(2).map(|two| (two[0], two[1])) {
                *counts.entry(pair).or_default() += *n;
                if pair.0 == id || pair.1 == id {
                    places.entry(pair).or_default().insert(i);
                    changed.insert(pair);
                }
            }
        }
        counts.remove(&pair);
        heap.extend(changed.into_iter().map(|pair| (counts[&pair], Reverse(pair))));
    }
    merges
}

fn single(token: &str) -> Option<char> {
    let mut chars = token.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// Replaces every occurrence of the pair, from the left.
fn replace(word: &mut Vec<u32>, pair: Pair, id: u32) {
    let (mut from, mut to) = (0, 0);
    while from < word.len() {
        if from + 1 < word.len() && (word[from], word[from + 1]) == pair {
            word[to] = id;
            from += 2;
        } else {
            word[to] = word[from];
            from += 1;
        }
        to += 1;
    }
    word.truncate(to);
}

/// The text of a `tokenizer.json`.
fn to_json(vocabulary: &[String], merges: &[Pair], lowercase: bool) -> String {
    let special = |(id, token)| {
        json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let normalizers = if lowercase {
        json!([{ "type": "NFC" }, { "type": "Lowercase" }])
    } else {
        json!([{ "type": "NFC" }])
    };
    let begin = json!({ "SpecialToken": { "id": "[CLS]", "type_id": 0 } });
    let end = |type_id| json!({ "SpecialToken": { "id": "[SEP]", "type_id": type_id } });
    let sequence = |id, type_id| json!({ "Sequence": { "id": id, "type_id": type_id } });
    let template =
        |token: &str, id: u32| (token.to_owned(), json!({ "id": token, "ids": [id], "tokens": [token] }));
    let ids: serde_json::Map<String, serde_json::Value> =
        vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let merges: Vec<_> =
        merges.iter().map(|(a, b)| json!([vocabulary[*a as usize], vocabulary[*b as usize]])).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": SPECIALS.iter().enumerate().map(special).collect::<Vec<_>>(),
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "WhitespaceSplit" },
            { "type": "Split", "pattern": { "Regex": "\\p{Han}" }, "behavior": "Isolated", "invert": false },
            { "type": "Punctuation", "behavior": "Isolated" },
            { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false },
        ] },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, sequence("A", 0), end(0)],
            "pair": [begin, sequence("A", 0), end(0), sequence("B", 1), end(1)],
            "special_tokens": serde_json::Map::from_iter([template("[CLS]", 2), template("[SEP]", 3)]),
        },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": ids,
            "merges": merges,
        },
    })
    .to_string()
}
