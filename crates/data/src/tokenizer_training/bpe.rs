//! Byte-pair encoding: the most frequent pair of adjacent tokens is merged into one token, repeatedly.
//!
//! It does not use the trainer of the tokenizers library, which breaks ties in the order of a randomly seeded hash table and
//! can give another vocabulary on the next run. Here ties go to the pair with the lower ids.
//!
//! Paper: Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units*, 2016 (arXiv 1508.07909);
//! bytes as its alphabet: Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use serde_json::{Value as Json, json};

use super::{SPECIAL_TOKENS, TokenizerConfig, count_pieces, frame, normalizers};
use crate::cast::to_u32;
use crate::{DataError, Tokenizer};

pub(super) fn train<S: AsRef<str> + Sync>(
    texts: &[S],
    config: &TokenizerConfig,
) -> Result<Tokenizer, DataError> {
    let mut alphabet: Vec<char> =
        tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut vocabulary: Vec<String> = SPECIAL_TOKENS.map(String::from).to_vec();
    vocabulary.extend(alphabet.iter().map(char::to_string));
    let untrained = Tokenizer::from_json(&to_json(&vocabulary, &[], config))?;
    let pieces = count_pieces(&untrained, texts)?;
    let merges = merge(&pieces, &mut vocabulary, config);
    Tokenizer::from_json(&to_json(&vocabulary, &merges, config))
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
    let mut occurrences: HashMap<Pair, HashSet<usize>> = HashMap::new();
    for (i, (word, n)) in words.iter().enumerate() {
        for pair in word.windows(2).map(|two| (two[0], two[1])) {
            *counts.entry(pair).or_default() += n;
            occurrences.entry(pair).or_default().insert(i);
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
            to_u32(vocabulary.len()) - 1
        });
        merges.push(pair);
        let mut changed: HashSet<Pair> = HashSet::new();
        for i in occurrences.remove(&pair).unwrap_or_default() {
            let (word, n) = &mut words[i];
            for pair in word.windows(2).map(|two| (two[0], two[1])) {
                *counts.entry(pair).or_default() -= *n;
            }
            replace(word, pair, id);
            for pair in word.windows(2).map(|two| (two[0], two[1])) {
                *counts.entry(pair).or_default() += *n;
                if pair.0 == id || pair.1 == id {
                    occurrences.entry(pair).or_default().insert(i);
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
fn to_json(vocabulary: &[String], merges: &[Pair], config: &TokenizerConfig) -> String {
    let ids: serde_json::Map<String, Json> =
        vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let merges: Vec<_> =
        merges.iter().map(|(a, b)| json!([vocabulary[*a as usize], vocabulary[*b as usize]])).collect();
    frame(
        normalizers("NFC", config),
        pre_tokenizers(config.spaces),
        json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }),
        json!({
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
        }),
    )
}

/// Pieces are words, punctuation marks and Chinese characters, each with a space before it, or only where the text has one.
fn pre_tokenizers(spaces: bool) -> Json {
    if spaces {
        let mark = r"\p{Han}\p{P}!-/:-@\[-`{-~";
        let piece = format!(" ?[{mark}]| ?[^ {mark}]+");
        return json!([
            { "type": "Split", "pattern": { "Regex": piece }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        ]);
    }
    json!([
        { "type": "WhitespaceSplit" },
        { "type": "Split", "pattern": { "Regex": "\\p{Han}" }, "behavior": "Isolated", "invert": false },
        { "type": "Punctuation", "behavior": "Isolated" },
        { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false },
    ])
}
