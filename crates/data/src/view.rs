//! The rows of a corpus under one input, tokenized.

use std::path::Path;
use std::sync::Arc;

use crate::input_field::keep;
use crate::{DataError, Encoded, Input, InputField, Row, TokenMasking, Tokenizer, encode_cached};

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
    /// Tokenizes one input of the rows, through the cache in `cache` if given. Rows without anything to read, also those of whose text
    /// the tokenizer leaves nothing, lose their fields, so that they have no labels ([`View::blank_rows`]).
    ///
    /// # Errors
    /// [`InputField::keep_readable`]; rows of whose texts the tokenizer leaves nothing; a tokenizer or cache that fails.
    pub fn new(
        corpus: impl Into<Arc<str>>,
        input: InputField,
        rows: Arc<[Row]>,
        tokenizer: &Tokenizer,
        max_length: usize,
        cache: Option<&Path>,
    ) -> Result<View, Vec<DataError>> {
        let (read, blank) = (input.read_all(&rows)?, input.blank());
        let inputs: Vec<Input<'_>> =
            read.iter().map(|input| input.as_ref().unwrap_or(&blank).as_input()).collect();
        let with_place = |error: DataError| match error {
            DataError::RowNotTokenized { row, reason } => {
                rows[row - 1].place.error(format!("the tokenizer fails on it: {reason}"))
            }
            other => other,
        };
        let encoded =
            encode_cached(cache, tokenizer, &inputs, max_length).map_err(|error| vec![with_place(error)])?;
        let empty = tokenizer.encode(&[blank.as_input()], max_length).map_err(|e| vec![e])?;
        let is_kept: Vec<bool> = read
            .iter()
            .enumerate()
            .map(|(row, input)| input.is_some() && encoded.has_more_than(row, &empty))
            .collect();
        let rows = keep(&rows, &is_kept, &input)?;
        Ok(View { corpus: corpus.into(), input, rows, encoded, masking: None })
    }

    /// The rows without anything to read: they are not trained on, not scored and not counted as labelled.
    pub fn blank_rows(&self) -> impl Iterator<Item = usize> {
        (0..self.rows.len()).filter(|row| self.rows[*row].fields.is_empty())
    }
}

/// Whether in every row the text field equals the words field joined by single spaces: then one view (that of the
/// words) serves both. False when the fields hold something else.
pub fn same_text(rows: &[Row], text: &str, words: &str) -> bool {
    rows.iter().all(|row| match (row.text(text), row.words(words)) {
        (Ok(text), Ok(words)) => {
            let (text, words) = (text.unwrap_or_default(), words.unwrap_or_default());
            let mut rest = Some(&*text);
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
