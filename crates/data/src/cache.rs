//! Encodings kept on disk by content.
//!
//! One file per (tokenizer, inputs, `max_length`), named by the BLAKE3 hash of the three: a changed row or tokenizer gives
//! another name, so nothing in a cache is ever out of date, and the folder may be deleted at any time.
//!
//! The file, all numbers little-endian: the 8 bytes `PTTOKEN2`; the key, 32 bytes; rows, tokens, unknown tokens and rows that
//! are pairs (all or none), each u64; then u32: per row its length and its cut tokens; of pairs per row the tokens of the first
//! segment, and per token from where to where in the second text it stands; per token its id and its word; the BLAKE3 hash of
//! all before. It is written beside its place, synced and renamed. A file that is cut short or damaged is made anew.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{DataError, Encoded, Input, Tokenizer};

const MAGIC: &[u8; 8] = b"PTTOKEN2";
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
    let mut out = Vec::with_capacity(MAGIC.len() + 2 * HASH + 32 + 12 * rows + 16 * tokens);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(key.as_bytes());
    for number in [rows, tokens, encoded.unknown, encoded.first.len()] {
        out.extend_from_slice(&(number as u64).to_le_bytes());
    }
    let lengths: Vec<u32> = (0..rows).map(|i| encoded.length(i) as u32).collect();
    let places = encoded.places.as_flattened().to_vec();
    for numbers in [&lengths, &encoded.cut, &encoded.first, &places, &encoded.ids, &encoded.words] {
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
    let hash = blake3::hash(&out);
    out.extend_from_slice(hash.as_bytes());
    out
}

/// The encoding in a cache file; `None` when anything is not as it should be.
fn from_bytes(bytes: &[u8], key: &blake3::Hash, vocabulary: usize) -> Option<Encoded> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    if blake3::hash(body).as_bytes() != hash {
        return None;
    }
    let body = body.strip_prefix(MAGIC)?.strip_prefix(key.as_bytes())?;
    let (head, mut rest) = body.split_at_checked(32)?;
    let number =
        |i: usize| u64::from_le_bytes(head[8 * i..8 * i + 8].try_into().expect("8 bytes")).try_into().ok();
    let (rows, tokens, unknown, pairs): (usize, usize, usize, usize) =
        (number(0)?, number(1)?, number(2)?, number(3)?);
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
    let (lengths, cut, first) = (take(rows)?, take(rows)?, take(pairs)?);
    let places = take(if pairs > 0 { tokens.checked_mul(2)? } else { 0 })?;
    let (ids, words) = (take(tokens)?, take(tokens)?);
    let fits =
        pairs == 0 || (pairs == rows && first.iter().zip(&lengths).all(|(first, length)| first <= length));
    let places = places.as_chunks().0.to_vec();
    let mut offsets = vec![0];
    let mut end = 0usize;
    for length in lengths {
        end = end.checked_add(length as usize)?;
        offsets.push(end);
    }
    let sound = fits && rest.is_empty() && end == tokens && ids.iter().all(|&id| (id as usize) < vocabulary);
    sound.then_some(Encoded { ids, offsets, words, first, places, cut, unknown })
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
            first: vec![2, 2],
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
        for (at, value) in [(40, u64::MAX), (48, u64::MAX / 4), (48, 4), (40, 1), (64, 1), (64, u64::MAX)] {
            let mut body = bytes[..bytes.len() - HASH].to_vec();
            body[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let hash = blake3::hash(&body);
            body.extend_from_slice(hash.as_bytes());
            assert_eq!(from_bytes(&body, &key, 10), None);
        }
    }
}
