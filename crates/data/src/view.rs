//! The rows of a corpus under one input, tokenized.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    DataError, Encoded, EntityMarkers, ErrorList, Input, Row, TokenMasking, Tokenizer, encode_cached,
};

/// The input of a task: which fields of a row it reads, and how. A saved model says it in these words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputField {
    /// A field of plain text.
    Text(String),
    /// A field of plain text with a prefix, by which a model tells its tasks apart.
    Prefixed {
        /// The text before every text of the field.
        prefix: String,
        /// The field.
        field: String,
    },
    /// A field of words, each of which may carry a label.
    Words(String),
    /// Two fields of plain text, read as one row.
    Pair(String, String),
    /// A field of plain text and a field with a list of texts, read as one row with a sequence for each of the list.
    Choices(String, String),
    /// Two fields of plain text, read as one row with a sequence for each window of the second.
    Windows {
        /// Both fields.
        fields: [String; 2],
        /// Tokens that a window shares with the one before it.
        overlap: usize,
        /// The maximum number of windows of a text.
        most: usize,
    },
    /// A field of text or words with two spans marked in it. The words of its tokens are pieces ([`crate::SpanRole`]).
    Marked(EntityMarkers),
}

impl InputField {
    /// A field of plain text, with a prefix if there is one.
    pub fn text(field: &str, prefix: Option<&str>) -> Self {
        match prefix {
            Some(prefix) => InputField::Prefixed { prefix: prefix.to_owned(), field: field.to_owned() },
            None => InputField::Text(field.to_owned()),
        }
    }

    /// The names of the fields.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            InputField::Text(field) | InputField::Prefixed { field, .. } | InputField::Words(field) => {
                vec![field]
            }
            InputField::Pair(first, second) | InputField::Choices(first, second) => vec![first, second],
            InputField::Windows { fields: [first, second], .. } => vec![first, second],
            InputField::Marked(marked) => marked.fields().to_vec(),
        }
    }
}

/// The fields' names, for people: `text`, or `premise + hypothesis`.
impl fmt::Display for InputField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.fields().join(" + "))
    }
}

/// The rows of one corpus and split under one input, tokenized. A corpus has several views only where its tasks' inputs
/// differ (see [`same_text`]), or where some of them mask tokens.
#[derive(Debug, Clone)]
pub struct View {
    /// The corpus's name.
    pub corpus: Arc<str>,
    /// The input that the tasks of the view read.
    pub input: InputField,
    /// The rows; views of one corpus and split share them.
    pub rows: Arc<[Row]>,
    /// Their tokens; row `i` of the encoding is row `i` of `rows`.
    pub encoded: Encoded,
    /// How packs mask tokens of the rows, if they do.
    pub masking: Option<TokenMasking>,
}

impl View {
    /// Tokenizes one input of the rows, through the cache in `cache` if given.
    ///
    /// # Errors
    /// Every row that lacks the field or holds something else in it (many at once); a tokenizer or cache that fails.
    pub fn new(
        corpus: impl Into<Arc<str>>,
        input: InputField,
        rows: Arc<[Row]>,
        tokenizer: &Tokenizer,
        max_length: usize,
        cache: Option<&Path>,
    ) -> Result<View, Vec<DataError>> {
        let with_place = |error: DataError| match error {
            DataError::RowNotTokenized { row, reason } => {
                rows[row - 1].place.error(format!("the tokenizer fails on it: {reason}"))
            }
            other => other,
        };
        let encode = |inputs: &[Input<'_>]| {
            encode_cached(cache, tokenizer, inputs, max_length).map_err(|e| vec![with_place(e)])
        };
        let encoded = match &input {
            InputField::Text(field) => {
                let texts = present(&rows, field, |row| row.text(field))?;
                encode(&texts.iter().map(|text| Input::Text(text)).collect::<Vec<_>>())?
            }
            InputField::Prefixed { prefix, field } => {
                let texts = present(&rows, field, |row| row.text(field))?;
                let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
                encode(&texts.iter().map(|text| Input::Text(text)).collect::<Vec<_>>())?
            }
            InputField::Words(field) => {
                let words = present(&rows, field, |row| row.words(field))?;
                encode(&words.iter().map(|words| Input::Words(words)).collect::<Vec<_>>())?
            }
            InputField::Pair(first, second) => {
                let texts = |field| present(&rows, field, |row| row.text(field));
                let pairs = both(texts(first), texts(second))?;
                encode(&pairs.map(|(first, second)| Input::Pair(first, second)).collect::<Vec<_>>())?
            }
            InputField::Choices(first, second) => {
                let texts = present(&rows, first, |row| row.text(first));
                let choices = present(&rows, second, |row| row.choices(second));
                let rows: Vec<(&str, Vec<String>)> = both(texts, choices)?.collect();
                let inputs = rows.iter().map(|(text, choices)| Input::Choices(text, choices));
                encode(&inputs.collect::<Vec<_>>())?
            }
            InputField::Windows { fields, overlap, most } => {
                let texts = |field: &str| present(&rows, field, |row| row.text(field));
                let pairs = both(texts(&fields[0]), texts(&fields[1]))?;
                let (overlap, most) = (*overlap, *most);
                let window = |(first, second)| Input::Windows { first, second, overlap, most };
                encode(&pairs.map(window).collect::<Vec<_>>())?
            }
            InputField::Marked(marked) => {
                let spans = [&marked.head, &marked.tail];
                if let Some(error) = spans.into_iter().find_map(|field| absent(&rows, field)) {
                    return Err(vec![error]);
                }
                let pieces = present(&rows, &marked.text, |row| marked.pieces(row))?;
                encode(&pieces.iter().map(|pieces| Input::Words(pieces)).collect::<Vec<_>>())?
            }
        };
        Ok(View { corpus: corpus.into(), input, rows, encoded, masking: None })
    }
}

/// Reads a field of every row, or returns the errors of the rows that lack it.
fn present<'a, T>(
    rows: &'a [Row],
    field: &str,
    read: impl Fn(&'a Row) -> Result<Option<T>, DataError>,
) -> Result<Vec<T>, Vec<DataError>> {
    let mut errors = ErrorList::new();
    let mut out = Vec::with_capacity(rows.len());
    if let Some(error) = absent(rows, field) {
        return Err(vec![error]);
    }
    for row in rows {
        match read(row) {
            Ok(Some(value)) => out.push(value),
            Ok(None) => errors.push(row.missing(field)),
            Err(error) => errors.push(error),
        }
    }
    errors.finish(out)
}

/// Two fields of every row side by side, or the errors of both.
fn both<A, B>(
    first: Result<Vec<A>, Vec<DataError>>,
    second: Result<Vec<B>, Vec<DataError>>,
) -> Result<impl Iterator<Item = (A, B)>, Vec<DataError>> {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok(first.into_iter().zip(second)),
        (first, second) => Err([first.err(), second.err()].into_iter().flatten().flatten().collect()),
    }
}

/// The error that none of many rows has a field: one misspelt name, not thousands of bad rows.
fn absent(rows: &[Row], field: &str) -> Option<DataError> {
    let [first, _, ..] = rows else { return None };
    let nowhere = rows.iter().all(|row| row.get(field).is_none());
    nowhere.then(|| first.missing_everywhere(field, rows.len()))
}

/// Whether in every row the text field equals the words field joined by single spaces: then one view (that of the
/// words) serves both. False when any row lacks either, or the fields hold something else.
pub fn same_text(rows: &[Row], text: &str, words: &str) -> bool {
    rows.iter().all(|row| match (row.text(text), row.words(words)) {
        (Ok(Some(text)), Ok(Some(words))) => {
            let mut rest = Some(text);
            for (i, word) in words.iter().enumerate() {
                rest = rest
                    .and_then(|r| if i > 0 { r.strip_prefix(' ') } else { Some(r) })
                    .and_then(|r| r.strip_prefix(word.as_str()));
            }
            rest == Some("")
        }
        _ => false,
    })
}
