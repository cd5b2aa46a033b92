//! From a text to its ids alone and back, and the special tokens that frame a row.

use super::Tokenizer;
use crate::{DataError, foreign};

/// The ids of the tokens that frame a row, as far as the vocabulary has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Beginning of sequence: `[CLS]`, `<s>`, `<bos>` or `<|begin_of_text|>`.
    pub bos: Option<u32>,
    /// End of sequence: `[SEP]`, `</s>`, `<eos>`, `<|end_of_text|>` or `<|endoftext|>`.
    pub eos: Option<u32>,
    /// Padding: `[PAD]` or `<pad>`.
    pub pad: Option<u32>,
}

/// The names that vocabularies give these tokens; the first one found counts.
const BOS: [&str; 4] = ["[CLS]", "<s>", "<bos>", "<|begin_of_text|>"];
const EOS: [&str; 5] = ["[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"];
const PAD: [&str; 2] = ["[PAD]", "<pad>"];

impl Tokenizer {
    /// The text that ids stand for, without special tokens and without spaces at its ends. Ids that are none are left out.
    ///
    /// It is the text that was encoded as the tokenizer keeps it: in its normal form (often lower case), each run of spaces
    /// as one. A vocabulary that puts punctuation by itself without noting whether a space stood before it, as BERT's and
    /// those of [`Tokenizer::train`] without `spaces`, gives it back with one.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decode_untrimmed(ids).trim().to_owned()
    }

    /// As [`Tokenizer::decode`], with the spaces at the ends.
    pub fn decode_untrimmed(&self, ids: &[u32]) -> String {
        // A decoder of the file that fails on these tokens leaves the tokens themselves.
        let text = foreign::caught(|| self.inner.decode(ids, true).ok()).ok().flatten();
        text.unwrap_or_else(|| self.tokens(ids).join(" "))
    }

    /// The ids of a text, without the tokens that frame a row and without a limit.
    ///
    /// # Errors
    /// When the tokenizer fails on it.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoded = foreign::caught(|| self.inner.encode_fast(text, false)).map_err(Into::into).flatten();
        let ids = encoded.and_then(|encoded| {
            self.check_ids(encoded.get_ids())?;
            Ok(encoded.get_ids().to_vec())
        });
        ids.map_err(|error| DataError::Tokenizer { path: None, reason: error.to_string() })
    }

    /// The id of a token, if the vocabulary has it.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The tokens that frame a row, found by their common names.
    pub fn specials(&self) -> SpecialTokens {
        let first = |names: &[&str]| names.iter().find_map(|name| self.id_of(name));
        SpecialTokens { bos: first(&BOS), eos: first(&EOS), pad: first(&PAD) }
    }
}
