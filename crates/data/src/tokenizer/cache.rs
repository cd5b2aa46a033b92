//! Encodings kept on disk by content.
//!
//! One file per (tokenizer, inputs, `max_length`), named by the BLAKE3 hash of the three: a changed row or tokenizer gives
//! another name, so nothing in a cache is ever out of date, and the folder may be deleted at any time.
//!
//! The file, all numbers little-endian: the 8 bytes `PTTOKEN3`; the key, 32 bytes; rows, tokens, unknown tokens, sequences (0 if
//! every row is one) and sequences that are pairs (all or none), each u64; then u32: per row its length and its truncated tokens; per
//! sequence its length; of pairs per sequence the tokens of the first segment, and per token its byte range in the second text;
//! per token its id and its word id; the BLAKE3 hash of all before. It is written to a temporary file, synced and renamed. A
//! file that is cut short or damaged is made anew.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use crate::cast::to_u32;
use crate::{DataError, Encoded, Input, NO_WORD_ID, Tokenizer};

const MAGIC: &[u8; 8] = b"PTTOKEN3";
const HASH: usize = 32;

/// Tokenizes, or reads what an earlier call with the same tokenizer, inputs and `max_length` wrote into `dir` (made if
/// missing). Without `dir` it only tokenizes.
///
/// # Errors
/// As [`Tokenizer::encode`], and when the folder cannot be written.
pub fn encode_cached(
    dir: Option<&Path>,
    tokenizer: &Tokenizer,
    inputs: &[Input<'_>],
    max_length: usize,
) -> Result<Encoded, DataError> {
    let Some(dir) = dir else { return tokenizer.encode(inputs, max_length) };
    let key = key(tokenizer, inputs, max_length);
    let path = dir.join(format!("{}.tokens", key.to_hex()));
    if let Ok(bytes) = files::read(&path)
        && let Some(encoded) = from_bytes(&bytes, &key, tokenizer.vocabulary())
        && can_encode(&encoded, inputs, max_length)
    {
        // Used now: what is not used for long may be removed. A folder that cannot be written serves as well.
        let _ = fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        return Ok(encoded);
    }
    let encoded = tokenizer.encode(inputs, max_length)?;
    let written = fs::create_dir_all(dir).and_then(|()| files::write(&path, &to_bytes(&encoded, &key)));
    written.map_err(|source| DataError::Io { path, source })?;
    Ok(encoded)
}

fn key(tokenizer: &Tokenizer, inputs: &[Input<'_>], max_length: usize) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 tokenized cache, version 2");
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    text(tokenizer.to_json());
    text(&max_length.to_string());
    for input in inputs {
        match input {
            Input::Text(one) => {
                text("text");
                text(one);
            }
            Input::Pair(first, second) => {
                text("pair");
                text(first);
                text(second);
            }
            Input::Choices(first, choices) => {
                text("choices");
                text(first);
                text(&choices.len().to_string());
                choices.iter().for_each(|choice| text(choice));
            }
            Input::Windows { first, second, overlap, most } => {
                text("windows");
                text(&format!("{overlap} {most}"));
                text(first);
                text(second);
            }
            Input::Words(words) => {
                text("words");
                text(&words.len().to_string());
                words.iter().for_each(|word| text(word));
            }
            Input::Chat(chat) => {
                text("chat");
                text(&chat.text);
                text(&format!("{:?}", chat.assistant));
            }
            Input::Completion(completion) => {
                text("completion");
                text(completion.prompt);
                text(completion.separator);
                text(&format!("{} {}", completion.target.is_some(), completion.max_target_length));
                text(completion.target.unwrap_or_default());
            }
            Input::LongText(one, windows) => {
                text("long text");
                text(&format!("{} {}", windows.overlap, windows.most));
                text(one);
            }
            Input::LongWords(words, windows) => {
                text("long words");
                text(&format!("{} {} {}", windows.overlap, windows.most, words.len()));
                words.iter().for_each(|word| text(word));
            }
        }
    }
    hasher.finalize()
}

fn to_bytes(encoded: &Encoded, key: &blake3::Hash) -> Vec<u8> {
    let (rows, tokens) = (encoded.rows(), encoded.ids.len());
    let mut out = Vec::with_capacity(MAGIC.len() + 2 * HASH + HEAD + 12 * rows + 16 * tokens);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(key.as_bytes());
    let (lengths, sequences) = (lengths(&encoded.offsets), lengths(&encoded.sequences));
    for number in [rows, tokens, encoded.unknown, sequences.len(), encoded.first_segment_len.len()] {
        out.extend_from_slice(&(number as u64).to_le_bytes());
    }
    let Encoded { ids, word_ids, first_segment_len, truncated, .. } = encoded;
    let offset_mapping = encoded.offset_mapping.as_flattened().to_vec();
    for numbers in [&lengths, truncated, &sequences, first_segment_len, &offset_mapping, ids, word_ids] {
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
    let hash = blake3::hash(&out);
    out.extend_from_slice(hash.as_bytes());
    out
}

/// Bytes of the five sizes.
const HEAD: usize = 40;

/// How far apart the numbers of a rising list are.
fn lengths(bounds: &[usize]) -> Vec<u32> {
    bounds.windows(2).map(|pair| to_u32(pair[1] - pair[0])).collect()
}

/// Undoes [`lengths`] for a list that begins with 0; `None` if that is not to be had.
fn bounds(lengths: &[u32]) -> Option<Vec<usize>> {
    let mut bounds = vec![0usize];
    for length in lengths {
        bounds.push(bounds[bounds.len() - 1].checked_add(*length as usize)?);
    }
    Some(bounds)
}

/// The encoding in a cache file; `None` when anything is not as it should be.
fn from_bytes(bytes: &[u8], key: &blake3::Hash, vocabulary: usize) -> Option<Encoded> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    if blake3::hash(body).as_bytes() != hash {
        return None;
    }
    let body = body.strip_prefix(MAGIC)?.strip_prefix(key.as_bytes())?;
    let (head, mut rest) = body.split_at_checked(HEAD)?;
    let number =
        |i: usize| u64::from_le_bytes(head[8 * i..8 * i + 8].try_into().expect("8 bytes")).try_into().ok();
    let (rows, tokens, unknown): (usize, usize, usize) = (number(0)?, number(1)?, number(2)?);
    let (several, pairs): (usize, usize) = (number(3)?, number(4)?);
    let mut take = |count: usize| {
        let (numbers, after) = rest.split_at_checked(count.checked_mul(4)?)?;
        rest = after;
        Some(
            numbers
                .chunks_exact(4)
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect::<Vec<u32>>(),
        )
    };
    let (lengths, truncated) = (take(rows)?, take(rows)?);
    let (sequences, first_segment_len) = (take(several)?, take(pairs)?);
    let offset_mapping = take(if pairs > 0 { tokens.checked_mul(2)? } else { 0 })?;
    let (ids, word_ids) = (take(tokens)?, take(tokens)?);
    let offsets = bounds(&lengths)?;
    let all = if several > 0 { &sequences } else { &lengths };
    let fits = pairs == 0
        || (pairs == all.len() && first_segment_len.iter().zip(all).all(|(first, length)| first <= length));
    let sequences = if several > 0 { bounds(&sequences)? } else { Vec::new() };
    let cuts_rows = several == 0
        || (sequences.last() == Some(&tokens)
            && offsets.iter().all(|end| sequences.binary_search(end).is_ok()));
    let offset_mapping = offset_mapping.as_chunks().0.to_vec();
    let whole = offsets[rows] == tokens && ids.iter().all(|&id| (id as usize) < vocabulary);
    let valid = fits && cuts_rows && rest.is_empty() && whole;
    valid.then_some(Encoded {
        ids,
        offsets,
        word_ids,
        sequences,
        first_segment_len,
        offset_mapping,
        truncated,
        unknown,
    })
}

/// Whether the values of an encoding are in the ranges that the inputs allow. A checksum without a secret key does not exclude
/// that somebody made the file, and what is read here is used as indices and sizes without further checks.
fn can_encode(encoded: &Encoded, inputs: &[Input<'_>], max_length: usize) -> bool {
    let bounds = if encoded.sequences.is_empty() { &encoded.offsets } else { &encoded.sequences };
    encoded.rows() == inputs.len()
        && encoded.unknown <= encoded.ids.len()
        && bounds.windows(2).all(|pair| (1..=max_length).contains(&(pair[1] - pair[0])))
        && inputs.iter().enumerate().all(|(row, input)| can_encode_row(encoded, row, input))
}

/// The same of one row: the number of its sequences, its word ids and its offset mapping.
fn can_encode_row(encoded: &Encoded, row: usize, input: &Input<'_>) -> bool {
    let sequences = encoded.sequences(row).count();
    let has_sequences = match input {
        Input::Text(_) | Input::Words(_) | Input::Pair(..) | Input::Completion(_) | Input::Chat(_) => {
            sequences == 1
        }
        Input::Choices(_, choices) => sequences == choices.len(),
        Input::Windows { most, .. } => (1..=(*most).max(1)).contains(&sequences),
        Input::LongText(_, windows) | Input::LongWords(_, windows) => {
            (1..=windows.most.max(1)).contains(&sequences)
        }
    };
    has_sequences
        && encoded.sequences(row).enumerate().all(|(sequence, (tokens, _))| {
            let (words, bytes) = match input {
                Input::Text(text) | Input::LongText(text, _) => (max_words(text), 0),
                Input::Words(words) | Input::LongWords(words, _) => (words.len(), 0),
                Input::Pair(_, second) | Input::Windows { second, .. } => (max_words(second), second.len()),
                Input::Choices(_, choices) => (max_words(&choices[sequence]), choices[sequence].len()),
                Input::Completion(_) => (1, 0),
                Input::Chat(chat) => (chat.assistant.len(), 0),
            };
            let word_ids = encoded.word_ids[tokens.clone()].iter().filter(|id| **id != NO_WORD_ID);
            let ranges = encoded.offset_mapping.get(tokens).unwrap_or_default();
            word_ids.clone().is_sorted()
                && word_ids.max().is_none_or(|id| (*id as usize) < words)
                && ranges.iter().all(|[start, end]| start <= end && *end as usize <= bytes)
        })
}

/// More words than a tokenizer finds in a text. Unicode normalization can expand one character of three bytes to four words.
fn max_words(text: &str) -> usize {
    4 * text.len() + 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenizerConfig;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn sample() -> (Encoded, blake3::Hash) {
        let encoded = Encoded {
            ids: vec![2, 7, 3, 2, 9],
            offsets: vec![0, 3, 5],
            word_ids: vec![u32::MAX, 0, u32::MAX, u32::MAX, 0],
            sequences: vec![0, 1, 3, 5],
            first_segment_len: vec![1, 1, 2],
            offset_mapping: vec![[0, 0], [0, 0], [0, 3], [0, 0], [2, 5]],
            truncated: vec![0, 4],
            unknown: 1,
        };
        (encoded, blake3::hash(b"key"))
    }

    #[test]
    fn what_is_written_is_read() {
        let (encoded, key) = sample();
        let bytes = to_bytes(&encoded, &key);
        assert_eq!(from_bytes(&bytes, &key, 10), Some(encoded));
        assert_eq!(from_bytes(&bytes, &blake3::hash(b"other"), 10), None);
        assert_eq!(from_bytes(&bytes, &key, 9), None);
    }

    #[test]
    fn every_damage_is_noticed() {
        let (encoded, key) = sample();
        let bytes = to_bytes(&encoded, &key);
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1;
            assert_eq!(from_bytes(&damaged, &key, 10), None);
            assert_eq!(from_bytes(&bytes[..i], &key, 10), None);
        }
    }

    #[test]
    fn sizes_that_lie_are_refused_even_under_a_right_checksum() {
        let (encoded, key) = sample();
        let bytes = to_bytes(&encoded, &key);
        let lies = [
            (40, u64::MAX),
            (48, u64::MAX / 4),
            (48, 4),
            (40, 1),
            (64, 2),
            (64, u64::MAX),
            (72, 1),
            (72, u64::MAX),
        ];
        for (at, value) in lies {
            let mut body = bytes[..bytes.len() - HASH].to_vec();
            body[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let hash = blake3::hash(&body);
            body.extend_from_slice(hash.as_bytes());
            assert_eq!(from_bytes(&body, &key, 10), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever stands under a right checksum, what is read has sizes that fit together.
        #[test]
        fn any_body_is_refused_or_fits_together(
            (sizes, numbers) in prop_oneof![
                (vec(any::<u64>(), 5), vec(any::<u32>(), 0..40)),
                vec(0u64..4, 5).prop_flat_map(|sizes| {
                    let [rows, tokens, _, sequences, pairs] = [0, 1, 2, 3, 4].map(|i| sizes[i] as usize);
                    let ranges = if pairs > 0 { 2 * tokens } else { 0 };
                    let count = 2 * rows + sequences + pairs + ranges + 2 * tokens;
                    (Just(sizes), vec(0u32..4, count))
                }),
            ]
        ) {
            let key = blake3::hash(b"key");
            let mut body = [&MAGIC[..], key.as_bytes()].concat();
            body.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
            body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            let hash = blake3::hash(&body);
            body.extend_from_slice(hash.as_bytes());
            if let Some(encoded) = from_bytes(&body, &key, 10) {
                let tokens = encoded.ids.len();
                prop_assert_eq!((encoded.word_ids.len(), encoded.offsets.last()), (tokens, Some(&tokens)));
                prop_assert!(encoded.ids.iter().all(|id| *id < 10));
                prop_assert_eq!(encoded.truncated.len(), encoded.rows());
                prop_assert!(encoded.sequences.is_empty() || encoded.sequences.last() == Some(&tokens));
                prop_assert_eq!(to_bytes(&encoded, &key), body);
            }
        }
    }

    #[test]
    fn values_out_of_range_are_refused_even_under_a_right_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = Tokenizer::train(&["one two three"], &TokenizerConfig::default()).unwrap();
        let choices = ["one".to_owned(), "two three".to_owned()];
        let inputs = [
            Input::Text("three"),
            Input::Pair("one", "two three"),
            Input::Choices("one", &choices),
            Input::Windows { first: "one", second: "two two two two", overlap: 1, most: 9 },
            Input::Words(&choices),
        ];
        let dir = Some(folder.path());
        let encode = |inputs: &[Input<'_>]| encode_cached(dir, &tokenizer, inputs, 8).unwrap();
        let good = encode(&inputs);
        assert!(can_encode(&good, &inputs, 8));
        let last_word = |encoded: &Encoded| encoded.word_ids.iter().rposition(|id| *id != NO_WORD_ID);
        let last_range = |encoded: &Encoded| encoded.offset_mapping.iter().rposition(|range| range[1] > 0);
        let (word, range) = (last_word(&good).unwrap(), last_range(&good).unwrap());
        let with = |change: &dyn Fn(&mut Encoded)| {
            let mut encoded = good.clone();
            change(&mut encoded);
            encoded
        };
        let bad = [
            with(&|encoded| encoded.word_ids[word] = u32::MAX - 1),
            with(&|encoded| encoded.word_ids[word] = 2),
            with(&|encoded| encoded.word_ids[..=word].reverse()),
            with(&|encoded| encoded.offset_mapping[range] = [0, 16]),
            with(&|encoded| encoded.offset_mapping[range] = [2, 1]),
            with(&|encoded| encoded.offset_mapping[0] = [0, 1]),
            with(&|encoded| {
                encoded.ids.extend([0; 8]);
                encoded.word_ids.extend([NO_WORD_ID; 8]);
                encoded.offset_mapping.extend([[0, 0]; 8]);
                *encoded.offsets.last_mut().unwrap() += 8;
                *encoded.sequences.last_mut().unwrap() += 8;
            }),
        ];
        let key = key(&tokenizer, &inputs, 8);
        for bad in bad {
            let path = folder.path().join(format!("{}.tokens", key.to_hex()));
            fs::write(path, to_bytes(&bad, &key)).unwrap();
            assert_eq!(encode(&inputs), good);
        }
    }
}
