//! From text to token ids, in parallel, with truncation of our own that is counted; `decode.rs` has the way back.

mod absent;
pub(crate) mod beginning;
mod cache;
mod chat;
mod completion;
mod convert;
mod decode;
mod pairs;
mod windows;

pub use cache::encode_cached;
pub use completion::Completion;
pub use convert::{GgufTokenIds, GgufTokenizer, gguf_tokenizer};
pub use decode::SpecialTokens;

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value as Json;
use tokenizers::EncodeInput;

use self::beginning::Beginning;
use crate::cast::to_u32;
use crate::read::{LFS_POINTER, LFS_REMEDY};
use crate::{DataError, RenderedChat, TextWindows, foreign};

/// Word index of a token that belongs to no word, such as a special token.
pub const NO_WORD_ID: u32 = u32::MAX;

/// One row to tokenize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// Plain text; the tokenizer finds the words.
    Text(&'a str),
    /// Given words, each tokenized by itself.
    Words(&'a [String]),
    /// Two texts, one after the other, as the tokenizer joins them.
    Pair(&'a str, &'a str),
    /// A text beside each of several others: one row, a sequence for each pair.
    Choices(&'a str, &'a [String]),
    /// A text beside another that may be too long for one sequence: one row, a sequence for each window of the second text.
    Windows {
        /// The text of every sequence; truncated to half of `max_length`.
        first: &'a str,
        /// The text that is split into windows.
        second: &'a str,
        /// Tokens that a window shares with the one before it, at most half a window.
        overlap: usize,
        /// The maximum number of windows; the rest of the text is truncated.
        most: usize,
    },
    /// Plain text that may be too long for one sequence: one row, a sequence for each window of it.
    LongText(&'a str, TextWindows),
    /// Given words that may be too many for one sequence: one row, a sequence for each window of their tokens.
    LongWords(&'a [String], TextWindows),
    /// A prompt and the text that follows it, whose tokens alone have a word id.
    Completion(Completion<'a>),
    /// A conversation. What the assistant says has word ids: the number of the turn.
    Chat(&'a RenderedChat),
}

/// Tokens of many rows, end to end. With `r` rows and `n` tokens:
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// `[n]` token ids, each below [`Tokenizer::vocabulary`].
    pub ids: Vec<u32>,
    /// `[r + 1]` token offsets of the rows: first 0, last `n`, strictly increasing, since no row is without tokens.
    pub offsets: Vec<usize>,
    /// `[n]` index in its row of the word that the token belongs to, or [`NO_WORD_ID`]: special tokens, and of a pair all of the
    /// first text. Of a text in windows each word has its id in one window only. Non-decreasing within a sequence, special tokens
    /// aside.
    pub word_ids: Vec<u32>,
    /// `[s + 1]` token offsets of the sequences: attention and positions do not go beyond one. Empty where every row is one
    /// sequence, else each row has one or more, and every value of `offsets` is a value of `sequences`.
    pub sequences: Vec<usize>,
    /// `[s]` how many tokens of each sequence are of the first segment (BERT's token type 0); empty where no row is a pair.
    pub first_segment_len: Vec<u32>,
    /// `[n]` the byte range, start and end, of each token in a pair's second text; `[0, 0]` for all other tokens. Empty where
    /// no row is a pair.
    pub offset_mapping: Vec<[u32; 2]>,
    /// `[r]` how many tokens truncation removed from each row; of a text of more than 64 KiB this is an estimate.
    pub truncated: Vec<u32>,
    /// Unknown tokens in all rows, after truncation.
    pub unknown: usize,
}

impl Encoded {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.truncated.len()
    }

    /// The tokens of row `i`, as indices of `ids` and `word_ids`.
    pub fn row(&self, i: usize) -> Range<usize> {
        self.offsets[i]..self.offsets[i + 1]
    }

    /// How many tokens row `i` has.
    pub fn length(&self, i: usize) -> usize {
        self.row(i).len()
    }

    /// The sequences of row `i`, each as (its tokens as indices of `ids`, how many of them are of the first segment).
    pub fn sequences(&self, i: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let row = self.row(i);
        let bounds = if self.sequences.is_empty() { &self.offsets } else { &self.sequences };
        let sequence_at = |token: usize| bounds.partition_point(|start| *start < token);
        let with_first_segment = |sequence: usize| {
            let tokens = bounds[sequence]..bounds[sequence + 1];
            let first = self.first_segment_len.get(sequence).map_or(tokens.len(), |first| *first as usize);
            (tokens, first)
        };
        (sequence_at(row.start)..sequence_at(row.end)).map(with_first_segment)
    }

    /// For each sequence of row `i` the byte ranges of its tokens in the second text; empty for a row that is no pair.
    pub fn offset_mapping(&self, i: usize) -> Vec<&[[u32; 2]]> {
        self.sequences(i).filter_map(|(tokens, _)| self.offset_mapping.get(tokens)).collect()
    }

    /// Whether row `i` has tokens beyond those of `blank`, the encoding of an input of the same sort without text; of a pair both
    /// texts must have some.
    pub(crate) fn has_more_than(&self, i: usize, blank: &Encoded) -> bool {
        let Some((tokens, first)) = blank.sequences(0).next() else { return true };
        let (special, special_first) = (tokens.len(), first);
        let is_pair = !blank.first_segment_len.is_empty();
        let has_text = |(tokens, first): (Range<usize>, usize)| match is_pair {
            true => first > special_first && tokens.len() - first > special - special_first,
            false => tokens.len() > special || self.ids[tokens] != blank.ids[..],
        };
        self.sequences(i).all(has_text)
    }

    /// No rows.
    fn empty() -> Self {
        Self { offsets: vec![0], ..Self::default() }
    }

    fn append(&mut self, other: &Encoded) {
        let before = self.ids.len();
        self.ids.extend_from_slice(&other.ids);
        self.word_ids.extend_from_slice(&other.word_ids);
        self.sequences.extend(other.sequences.iter().skip(usize::from(before > 0)).map(|end| before + end));
        self.first_segment_len.extend_from_slice(&other.first_segment_len);
        self.offset_mapping.extend_from_slice(&other.offset_mapping);
        self.truncated.extend_from_slice(&other.truncated);
        self.offsets.extend(other.offsets[1..].iter().map(|end| before + end));
        self.unknown += other.unknown;
    }
}

/// A tokenizer in the `tokenizer.json` format of Hugging Face. Cheap to clone.
///
/// Padding, truncation and BPE dropout that the file asks for are switched off: packs need no padding, the same text always
/// gives the same tokens, and truncation is done here, where it is counted: of a row longer than `max_length` tokens the first
/// are kept, and the special tokens at its end; of a pair the longer text is cut until both are of one length, then both
/// (`longest_first` of Hugging Face).
///
/// Words that are given one by one are tokenized as after a space, also by a byte-level tokenizer that puts no space before
/// the first word of a text (as Hugging Face does with `add_prefix_space`).
#[derive(Debug, Clone)]
pub struct Tokenizer {
    json: Arc<str>,
    inner: Arc<tokenizers::Tokenizer>,
    vocabulary: usize,
    unknown: Option<u32>,
    /// Special tokens of a single text, and of a pair.
    num_special_tokens: [usize; 2],
    /// The id of a row that gives no token at all.
    fallback_id: u32,
    /// Whether given words need a space before them.
    spaced: bool,
}

impl Tokenizer {
    /// Opens a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is no tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let invalid = |reason: String| DataError::Tokenizer { path: Some(path.into()), reason };
        let io = |source: std::io::Error| match absent::reason(path) {
            Some(reason) if source.kind() == ErrorKind::NotFound => invalid(reason),
            _ => DataError::Io { path: path.into(), source },
        };
        let size = std::fs::metadata(path).map_err(io)?.len();
        if size > MOST_JSON {
            return Err(invalid(format!(
                "has {size} bytes, expected at most {MOST_JSON}: none in use is as large"
            )));
        }
        let json = String::from_utf8(files::read(path).map_err(io)?);
        Self::parse(&json.map_err(|_| invalid("is not UTF-8".into()))?, Some(path.into()))
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is no tokenizer.
    pub fn from_json(json: &str) -> Result<Self, DataError> {
        Self::parse(json, None)
    }

    fn parse(json: &str, path: Option<PathBuf>) -> Result<Self, DataError> {
        let invalid = |reason: String| DataError::Tokenizer { path: path.clone(), reason };
        if json.as_bytes().starts_with(LFS_POINTER) {
            return Err(invalid(LFS_REMEDY.into()));
        }
        let mut settings: Json =
            serde_json::from_str(json).map_err(|error| invalid(format!("is not JSON: {error}")))?;
        // BPE dropout draws from a generator without a seed: the same text would give other tokens on every call.
        let dropout =
            settings.pointer_mut("/model/dropout").map(Json::take).is_some_and(|rate| !rate.is_null());
        let steady = if dropout { settings.to_string() } else { json.to_owned() };
        let growth = growth(&settings["normalizer"]).max(growth(&settings["decoder"]));
        if growth > MOST_GROWTH {
            return Err(invalid(format!(
                "its replacements can make a text {growth:.0} times as long, expected at most {MOST_GROWTH} times"
            )));
        }
        let opened =
            foreign::caught(|| open(&steady)).unwrap_or_else(|panic| Err(format!("cannot be used: {panic}")));
        let (inner, framing) = opened.map_err(&invalid)?;
        let largest = inner.get_vocab(true).values().max().copied();
        let Some(largest) = largest else { return Err(invalid("the vocabulary is empty".into())) };
        let vocabulary = largest as usize + 1;
        // What frames a row has ids of its own in the file.
        if let Some(id) = framing.iter().flatten().find(|id| **id > largest) {
            return Err(invalid(format!(
                "its post-processor frames rows with the id {id}, expected ids of its vocabulary, up to {largest}"
            )));
        }
        let num_special_tokens = framing.map(|ids| ids.len());
        let unknown = unknown_id(&settings, &inner, vocabulary).map_err(invalid)?;
        let pad = || ["[PAD]", "<pad>"].iter().find_map(|token| inner.token_to_id(token));
        let fallback_id = unknown.or_else(pad).unwrap_or(0);
        let spaced = byte_level_without_space(&settings["pre_tokenizer"]);
        let (json, inner) = (json.into(), Arc::new(inner));
        Ok(Self { json, inner, vocabulary, unknown, num_special_tokens, fallback_id, spaced })
    }

    /// The text of its `tokenizer.json`, as it was read.
    pub fn to_json(&self) -> &str {
        &self.json
    }

    /// The tokens whose ids are `rows` or more: those without a row in a table of so many, in the order of their ids.
    pub fn tokens_beyond(&self, rows: usize) -> Vec<String> {
        (to_u32(rows)..to_u32(self.vocabulary)).filter_map(|id| self.inner.id_to_token(id)).collect()
    }

    /// Every id is below this: one more than the largest id.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The tokens that ids stand for; an id that is none gives the empty text.
    pub fn tokens(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|&id| self.inner.id_to_token(id).unwrap_or_default()).collect()
    }

    /// The pieces that normalization and pre-tokenization make of a text, before any model.
    pub(crate) fn pieces(&self, text: &str) -> Result<Vec<String>, DataError> {
        use tokenizers::{
            NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
        };
        let invalid =
            |error: tokenizers::Error| DataError::Tokenizer { path: None, reason: error.to_string() };
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            normalizer.normalize(&mut normalized).map_err(invalid)?;
        }
        let mut split = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut split).map_err(invalid)?;
        }
        let splits = split.get_splits(OffsetReferential::Normalized, OffsetType::None);
        Ok(splits.into_iter().map(|(piece, _, _)| piece.to_owned()).collect())
    }

    /// Tokenizes rows in parallel, in order, each cut to `max_length` tokens. A row that gives no token (no text, and a
    /// tokenizer without special tokens) becomes one unknown token, so that every row has at least one.
    ///
    /// # Errors
    /// When `max_length` is not above the number of special tokens, or the tokenizer fails on a row.
    pub fn encode(&self, inputs: &[Input<'_>], max_length: usize) -> Result<Encoded, DataError> {
        let is_long = |input: &Input<'_>| matches!(input, Input::LongText(..) | Input::LongWords(..));
        let single = |input: &Input<'_>| {
            matches!(input, Input::Text(_) | Input::Words(_) | Input::Completion(_) | Input::Chat(_))
                || is_long(input)
        };
        let several =
            |input: &Input<'_>| matches!(input, Input::Choices(..) | Input::Windows { .. }) || is_long(input);
        let (pairs, several) = (!inputs.iter().all(single), inputs.iter().any(several));
        let special_tokens = self.num_special_tokens[usize::from(pairs)];
        if max_length <= special_tokens {
            let expected = format!("more than the {special_tokens} special tokens of every row");
            return Err(DataError::Setting {
                key: "max_length".into(),
                found: max_length.to_string(),
                expected,
            });
        }
        let encode_chunk = |(chunk, inputs): (usize, &[Input<'_>])| {
            let mut part = Encoded::empty();
            if several {
                part.sequences.push(0);
            }
            for (i, input) in inputs.iter().enumerate() {
                let before = part.ids.len();
                let encoded = foreign::caught(|| self.encode_one(input, &mut part, max_length));
                let encoded =
                    encoded.map_err(Into::into).flatten().and_then(|()| self.check_ids(&part.ids[before..]));
                encoded.map_err(|error| DataError::RowNotTokenized {
                    row: chunk * CHUNK + i + 1,
                    reason: error.to_string(),
                })?;
                if several && part.sequences.last() != Some(&part.ids.len()) {
                    part.sequences.push(part.ids.len());
                }
                if pairs {
                    // Beside pairs a single text is a sequence without a second segment.
                    let bounds = if several { &part.sequences } else { &part.offsets };
                    let added = bounds.windows(2).skip(part.first_segment_len.len());
                    part.first_segment_len.extend(added.map(|ends| to_u32(ends[1] - ends[0])));
                    part.offset_mapping.resize(part.ids.len(), [0, 0]);
                }
            }
            Ok(part)
        };
        let parts: Vec<Encoded> =
            inputs.par_chunks(CHUNK).enumerate().map(encode_chunk).collect::<Result<_, _>>()?;
        let mut all = Encoded::empty();
        all.ids.reserve(parts.iter().map(|part| part.ids.len()).sum());
        parts.iter().for_each(|part| all.append(part));
        Ok(all)
    }

    /// Appends one row, cut to `max_length`.
    fn encode_one(&self, input: &Input<'_>, part: &mut Encoded, max_length: usize) -> tokenizers::Result<()> {
        let beginning = match input {
            Input::Text(text) => self.beginning_of_text(text, true, max_length)?,
            Input::Words(words) => self.beginning_of_words(words, true, max_length)?,
            Input::Pair(first, second) => return self.append_pair(part, [first, second], max_length),
            Input::Completion(completion) => return self.append_completion(part, completion, max_length),
            Input::Chat(chat) => return self.append_chat(part, chat, max_length),
            Input::Choices(text, choices) => return self.append_choices(part, text, choices, max_length),
            Input::Windows { first, second, overlap, most } => {
                return self.append_windows(part, [first, second], [*overlap, *most], max_length);
            }
            Input::LongText(text, windows) => {
                let enough = max_length.saturating_mul(windows.most.max(1));
                let text = self.beginning_of_text(text, false, enough)?;
                return self.append_windows_of_one(part, text, *windows, max_length);
            }
            Input::LongWords(words, windows) => {
                let enough = max_length.saturating_mul(windows.most.max(1));
                let words = self.beginning_of_words(words, false, enough)?;
                return self.append_windows_of_one(part, words, *windows, max_length);
            }
        };
        self.append(part, &beginning, max_length);
        Ok(())
    }

    /// Refuses ids that the vocabulary does not have, whatever made them.
    fn check_ids(&self, ids: &[u32]) -> tokenizers::Result<()> {
        match ids.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => Err(format!("it gives the id {id}, of a vocabulary of {}", self.vocabulary).into()),
            None => Ok(()),
        }
    }

    fn count_unknown(&self, ids: &[u32]) -> usize {
        ids.iter().filter(|id| Some(**id) == self.unknown).count()
    }

    /// Appends the encoding of one text, cut to `max_length`.
    fn append(&self, part: &mut Encoded, Beginning { encoding, rest }: &Beginning, max_length: usize) {
        let (ids, word_ids) = (encoding.get_ids(), encoding.get_word_ids());
        let tail =
            encoding.get_special_tokens_mask().iter().rev().take_while(|&&special| special == 1).count();
        let head = (ids.len() - tail).min(max_length - tail.min(max_length));
        let before = part.ids.len();
        for i in (0..head).chain(ids.len() - tail..ids.len()) {
            part.ids.push(ids[i]);
            part.word_ids.push(word_ids[i].unwrap_or(NO_WORD_ID));
        }
        if ids.is_empty() {
            part.ids.push(self.fallback_id);
            part.word_ids.push(NO_WORD_ID);
        }
        part.unknown += self.count_unknown(&part.ids[before..]);
        part.truncated.push(to_u32(ids.len() - tail - head + rest));
        part.offsets.push(part.ids.len());
    }
}

/// The largest file of a tokenizer, in bytes. In memory it takes 40 times as much.
const MOST_JSON: u64 = 64 << 20;
/// How many times as long a text may become by replacements.
const MOST_GROWTH: f64 = 1024.0;

/// Reads a tokenizer, and the ids that frame a text and a pair.
fn open(json: &str) -> Result<(tokenizers::Tokenizer, [Vec<u32>; 2]), String> {
    let mut inner: tokenizers::Tokenizer = json.parse().map_err(|error| {
        format!("{error}; expected a tokenizer.json of the Hugging Face tokenizers library")
    })?;
    inner.with_padding(None);
    inner.with_truncation(None).map_err(|error| error.to_string())?;
    let framing = |input: EncodeInput<'_>| {
        inner.encode_fast(input, true).map(|e| e.get_ids().to_vec()).map_err(|error| error.to_string())
    };
    let framing = [framing("".into())?, framing(("", "").into())?];
    Ok((inner, framing))
}

/// How many times as long the replacements of a normalizer or decoder can make a text.
fn growth(step: &Json) -> f64 {
    let steps = step["normalizers"].as_array().or_else(|| step["decoders"].as_array());
    if let Some(steps) = steps {
        return steps.iter().map(growth).product();
    }
    let content = step["content"].as_str().filter(|_| step["type"] == "Replace");
    // A regular expression may match single characters, and places between them.
    let pattern = step["pattern"]["String"].as_str().map_or(0, str::len);
    content.map_or(1.0, |content| match pattern {
        0 => content.len() as f64 + 1.0,
        pattern => (content.len() as f64 / pattern as f64).max(1.0),
    })
}

/// Rows that one thread takes at a time.
const CHUNK: usize = 256;

fn spaced(word: &String) -> String {
    if word.is_empty() || word.starts_with(' ') { word.clone() } else { format!(" {word}") }
}

/// The id that the model gives to unknown text, or what is wrong with it.
fn unknown_id(
    settings: &Json,
    inner: &tokenizers::Tokenizer,
    vocabulary: usize,
) -> Result<Option<u32>, String> {
    let model = &settings["model"];
    if let Some(id) = model["unk_token"].as_str().and_then(|token| inner.token_to_id(token)) {
        return Ok(Some(id));
    }
    match model["unk_id"].as_u64() {
        None => Ok(None),
        Some(id) => match u32::try_from(id) {
            Ok(id) if (id as usize) < vocabulary => Ok(Some(id)),
            _ => Err(format!("model.unk_id is {id}, expected an id below {vocabulary}, the vocabulary size")),
        },
    }
}

/// Whether a byte-level pre-tokenizer puts no space before the first word.
fn byte_level_without_space(pre_tokenizer: &Json) -> bool {
    let own = pre_tokenizer["type"] == "ByteLevel" && pre_tokenizer["add_prefix_space"] == false;
    own || pre_tokenizer["pretokenizers"]
        .as_array()
        .is_some_and(|all| all.iter().any(byte_level_without_space))
}
