//! Encodings kept on disk by content.
//!
//! One file per (tokenizer, inputs, `max_length`), named by the BLAKE3 hash of the three: a changed row or tokenizer gives
//! another name, so nothing in a cache is ever out of date, and the folder may be deleted at any time.
//!
//! The file, all numbers little-endian: the 8 bytes `PTTOKEN3`; the key, 32 bytes; rows, tokens, unknown tokens, sequences (0 if
//! every row is one) and sequences that are pairs (all or none), each u64; then u32: per row its length and its cut tokens; per
//! sequence its length; of pairs per sequence the tokens of the first segment, and per token from where to where in the second
//! text it stands; per token its id and its word; the BLAKE3 hash of all before. It is written beside its place, synced and renamed. A file that is cut short or damaged is made anew.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{DataError, Encoded, Input, Tokenizer};

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
    if let Ok(bytes) = fs::read(&path)
        && let Some(encoded) = from_bytes(&bytes, &key, tokenizer.vocabulary())
        && encoded.rows() == inputs.len()
    {
        return Ok(encoded);
    }
    let encoded = tokenizer.encode(inputs, max_length)?;
    write(dir, &path, &to_bytes(&encoded, &key)).map_err(|source| DataError::Io { path, source })?;
    Ok(encoded)
}

fn key(tokenizer: &Tokenizer, inputs: &[Input<'_>], max_length: usize) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 tokenized cache, version 1");
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
    for number in [rows, tokens, encoded.unknown, sequences.len(), encoded.first.len()] {
        out.extend_from_slice(&(number as u64).to_le_bytes());
    }
    let places = encoded.places.as_flattened().to_vec();
    let parts = [&lengths, &encoded.cut, &sequences, &encoded.first, &places, &encoded.ids, &encoded.words];
    for numbers in parts {
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
    bounds.windows(2).map(|pair| (pair[1] - pair[0]) as u32).collect()
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
    let (lengths, cut, sequences, first) = (take(rows)?, take(rows)?, take(several)?, take(pairs)?);
    let places = take(if pairs > 0 { tokens.checked_mul(2)? } else { 0 })?;
    let (ids, words) = (take(tokens)?, take(tokens)?);
    let offsets = bounds(&lengths)?;
    let all = if several > 0 { &sequences } else { &lengths };
    let fits =
        pairs == 0 || (pairs == all.len() && first.iter().zip(all).all(|(first, length)| first <= length));
    let sequences = if several > 0 { bounds(&sequences)? } else { Vec::new() };
    let cuts_rows = several == 0 || offsets.iter().all(|end| sequences.binary_search(end).is_ok());
    let places = places.as_chunks().0.to_vec();
    let whole = offsets[rows] == tokens && ids.iter().all(|&id| (id as usize) < vocabulary);
    let sound = fits && cuts_rows && rest.is_empty() && whole;
    sound.then_some(Encoded { ids, offsets, words, sequences, first, places, cut, unknown })
}

/// Writes a file so that after a crash it is there whole or not at all.
fn write(dir: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new().prefix(".tokens-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Encoded, blake3::Hash) {
        let encoded = Encoded {
            ids: vec![2, 7, 3, 2, 9],
            offsets: vec![0, 3, 5],
            words: vec![u32::MAX, 0, u32::MAX, u32::MAX, 0],
            sequences: vec![0, 1, 3, 5],
            first: vec![1, 1, 2],
            places: vec![[0, 0], [0, 0], [0, 3], [0, 0], [2, 5]],
            cut: vec![0, 4],
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
}
