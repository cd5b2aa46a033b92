//! SentencePiece models (`*.model`): a text's pieces, as the library encodes it. Used where a metric has words of its own, such as
//! spBLEU with the tokenizer of Flores-200.
//!
//! Models of the types unigram and BPE are read, with their normalization table. Kudo and Richardson, *SentencePiece*, EMNLP 2018.

use std::collections::HashMap;
use std::path::Path;

use crate::DataError;

/// What replaces a space.
const SPACE: char = '\u{2581}';

/// How much less than the least score of a piece an unknown character has.
const UNKNOWN_PENALTY: f32 = 10.0;

/// A model that splits texts into pieces.
#[derive(Debug, Clone)]
pub struct SentencePiece {
    /// The score of every piece that a text may have.
    scores: HashMap<String, f32>,
    /// The length of the longest, in bytes.
    longest: usize,
    unknown: f32,
    is_bpe: bool,
    /// Whether unknown characters become pieces of their bytes.
    byte_fallback: bool,
    normalizer: Normalizer,
}

/// What is done to a text before it is split.
#[derive(Debug, Clone)]
struct Normalizer {
    /// A trie (darts-clone) of replaced strings, and what replaces them, each ended by a 0.
    trie: Vec<u32>,
    replacements: Vec<u8>,
    adds_prefix: bool,
    removes_spaces: bool,
}

impl SentencePiece {
    /// Opens a model.
    ///
    /// # Errors
    /// When the file cannot be read, is no SentencePiece model, or is of a type that is not supported.
    pub fn open(path: &Path) -> Result<SentencePiece, DataError> {
        let bytes = std::fs::read(path)
            .map_err(|error| DataError::SentencePiece { path: path.into(), reason: error.to_string() })?;
        SentencePiece::read(&bytes)
            .map_err(|reason| DataError::SentencePiece { path: path.into(), reason: reason.into() })
    }

    /// Reads a model's protocol buffer (`sentencepiece_model.proto`).
    fn read(bytes: &[u8]) -> Result<SentencePiece, &'static str> {
        const BROKEN: &str = "found no SentencePiece model: the file is not one, or is cut off";
        let (mut scores, mut least) = (HashMap::new(), f32::INFINITY);
        let (mut model_type, mut byte_fallback) = (1, false);
        let mut normalizer = Normalizer {
            trie: Vec::new(),
            replacements: Vec::new(),
            adds_prefix: true,
            removes_spaces: true,
        };
        for field in fields(bytes) {
            match field.ok_or(BROKEN)? {
                (1, Field::Bytes(piece)) => {
                    let (mut text, mut score, mut kind) = ("", 0.0, 1);
                    for field in fields(piece) {
                        match field.ok_or(BROKEN)? {
                            (1, Field::Bytes(bytes)) => {
                                text = std::str::from_utf8(bytes).map_err(|_| BROKEN)?
                            }
                            (2, Field::Fixed(bits)) => score = f32::from_bits(bits),
                            (3, Field::Number(number)) => kind = number,
                            _ => {}
                        }
                    }
                    match kind {
                        1 => {
                            least = least.min(score);
                            scores.insert(text.to_owned(), score);
                        }
                        4 => return Err("found pieces that the user defined, expected a model without them"),
                        _ => {}
                    }
                }
                (2, Field::Bytes(trainer)) => {
                    for field in fields(trainer) {
                        match field.ok_or(BROKEN)? {
                            (3, Field::Number(number)) => model_type = number,
                            (35, Field::Number(number)) => byte_fallback = number != 0,
                            (24, Field::Number(1)) => {
                                return Err(
                                    "found a model that treats spaces as suffixes, expected prefixes",
                                );
                            }
                            _ => {}
                        }
                    }
                }
                (3, Field::Bytes(spec)) => normalizer.read(spec).ok_or(BROKEN)?,
                _ => {}
            }
        }
        if scores.is_empty() {
            return Err(BROKEN);
        }
        if !matches!(model_type, 1 | 2) {
            return Err("found a model of words or characters, expected one of the type unigram or BPE");
        }
        let longest = scores.keys().map(String::len).max().unwrap_or(0);
        let unknown = least - UNKNOWN_PENALTY;
        Ok(SentencePiece { scores, longest, unknown, is_bpe: model_type == 2, byte_fallback, normalizer })
    }

    /// The pieces of a text.
    pub fn pieces(&self, text: &str) -> Vec<String> {
        let text = self.normalizer.normalize(text);
        let pieces = if self.is_bpe { self.merged(&text) } else { self.most_probable(&text) };
        let mut out: Vec<String> = Vec::with_capacity(pieces.len());
        let mut after_unknown = false;
        for piece in pieces {
            let is_unknown = !self.scores.contains_key(piece);
            match out.last_mut() {
                _ if is_unknown && self.byte_fallback => {
                    out.extend(piece.bytes().map(|byte| format!("<0x{byte:02X}>")));
                }
                // A run of unknown characters is one piece.
                Some(last) if is_unknown && after_unknown => last.push_str(piece),
                _ => out.push(piece.to_owned()),
            }
            after_unknown = is_unknown;
        }
        out
    }

    /// The split with the largest sum of scores, as a unigram model has it.
    fn most_probable<'a>(&self, text: &'a str) -> Vec<&'a str> {
        // Of every position the best score up to it, and where its last piece begins.
        let mut best: Vec<Option<(f32, usize)>> = vec![None; text.len() + 1];
        best[0] = Some((0.0, 0));
        for (start, first) in text.char_indices() {
            let Some((score, _)) = best[start] else { continue };
            let one = start + first.len_utf8();
            let mut offer = |end: usize, of_piece: f32| {
                let candidate = score + of_piece;
                if best[end].is_none_or(|(before, _)| candidate > before) {
                    best[end] = Some((candidate, start));
                }
            };
            let mut has_one = false;
            let ends = text[start..].char_indices().map(|(at, c)| start + at + c.len_utf8());
            for end in ends.take_while(|end| end - start <= self.longest) {
                if let Some(of_piece) = self.scores.get(&text[start..end]) {
                    offer(end, *of_piece);
                    has_one |= end == one;
                }
            }
            if !has_one {
                offer(one, self.unknown);
            }
        }
        let (mut end, mut pieces) = (text.len(), Vec::new());
        while end > 0 {
            let start = best[end].map_or(0, |(_, start)| start);
            pieces.push(&text[start..end]);
            end = start;
        }
        pieces.reverse();
        pieces
    }

    /// The split after merging neighbours, the best-scored pair first, as a BPE model has it.
    fn merged<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut pieces: Vec<&str> = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
        let mut starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        loop {
            let pair = |i: usize| &text[starts[i]..starts[i] + pieces[i].len() + pieces[i + 1].len()];
            let scored =
                (0..pieces.len().saturating_sub(1)).filter_map(|i| Some((*self.scores.get(pair(i))?, i)));
            // The first of equals.
            let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
            let Some((_, i)) = best else { return pieces };
            pieces[i] = pair(i);
            pieces.remove(i + 1);
            starts.remove(i + 1);
        }
    }
}

impl Normalizer {
    /// Reads a `NormalizerSpec`.
    fn read(&mut self, spec: &[u8]) -> Option<()> {
        for field in fields(spec) {
            match field? {
                (2, Field::Bytes(table)) if !table.is_empty() => {
                    let (size, rest) = table.split_first_chunk()?;
                    let (trie, replacements) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
                    self.trie = trie.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
                    self.replacements = replacements.to_vec();
                }
                (3, Field::Number(number)) => self.adds_prefix = number != 0,
                (4, Field::Number(number)) => self.removes_spaces = number != 0,
                _ => {}
            }
        }
        Some(())
    }

    /// The text with the longest strings of the table replaced, single spaces between words, and a mark in place of each space.
    fn normalize(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 3);
        let mut rest = text;
        while self.removes_spaces && !rest.is_empty() {
            let (replaced, by) = self.prefix(rest);
            if by != " " {
                break;
            }
            rest = &rest[replaced..];
        }
        if rest.is_empty() {
            return out;
        }
        if self.adds_prefix {
            out.push(SPACE);
        }
        let mut after_space = self.removes_spaces;
        while !rest.is_empty() {
            let (replaced, mut by) = self.prefix(rest);
            while after_space && by.starts_with(' ') {
                by = &by[1..];
            }
            if !by.is_empty() {
                out.extend(by.chars().map(|c| if c == ' ' { SPACE } else { c }));
                after_space = by.ends_with(' ');
            }
            rest = &rest[replaced..];
            if !self.removes_spaces {
                after_space = false;
            }
        }
        while self.removes_spaces && out.ends_with(SPACE) {
            out.pop();
        }
        out
    }

    /// The bytes at the begin of a text that are replaced together, and what replaces them.
    fn prefix<'a>(&'a self, text: &'a str) -> (usize, &'a str) {
        let found = self.longest_match(text.as_bytes());
        if let Some((length, at)) = found.filter(|(length, _)| text.is_char_boundary(*length)) {
            let replacement = self.replacements.get(at..).unwrap_or_default();
            let end = replacement.iter().position(|byte| *byte == 0).unwrap_or(replacement.len());
            if let Ok(by) = std::str::from_utf8(&replacement[..end]) {
                return (length, by);
            }
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        (length, &text[..length])
    }

    /// The longest string of the trie that a text begins with: its length, and where its replacement is.
    fn longest_match(&self, text: &[u8]) -> Option<(usize, usize)> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut at = offset(*self.trie.first()?);
        let mut found = None;
        for (i, byte) in text.iter().enumerate() {
            at ^= usize::from(*byte);
            let Some(unit) = self.trie.get(at).copied() else { break };
            if unit & ((1 << 31) | 0xff) != u32::from(*byte) {
                break;
            }
            at ^= offset(unit);
            if (unit >> 8) & 1 == 1 {
                found = self.trie.get(at).map(|leaf| (i + 1, (leaf & 0x7fff_ffff) as usize));
            }
        }
        found
    }
}

/// The value of a field of a protocol buffer.
pub(crate) enum Field<'a> {
    Number(u64),
    Fixed(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, by their numbers; `None` where it is broken.
pub(crate) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u64, Field<'_>)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = next_field(&mut bytes);
        if field.is_none() {
            bytes = &[];
        }
        Some(field)
    })
}

fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = varint(bytes)?;
    let mut take = |length: usize| -> Option<&'a [u8]> {
        let (taken, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(taken)
    };
    let value = match key & 7 {
        0 => Field::Number(varint(bytes)?),
        1 => Field::Bytes(take(8)?),
        2 => {
            let length = varint(bytes)?;
            let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            *bytes = rest;
            Field::Bytes(taken)
        }
        5 => Field::Fixed(u32::from_le_bytes(take(4)?.try_into().ok()?)),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
