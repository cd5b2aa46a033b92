//! Of a text that is many times longer than the tokens that are kept of it, only the beginning is tokenized: a tokenizer needs
//! 250 bytes of memory for a byte of text.
//!
//! Texts of up to 64 KiB are tokenized whole. Of a longer one a beginning is taken that ends at a space and has at least 64 bytes for
//! each token that is kept; where it gives too few tokens, four times as much. The tokens that are kept lie far from the cut, so
//! that they are those of the whole text. How many tokens of the rest are lost is then estimated from its bytes.

use tokenizers::{EncodeInput, Encoding};

use super::{Tokenizer, spaced};

/// Texts up to so many bytes are tokenized whole.
pub(crate) const WHOLE: usize = 64 << 10;
/// Bytes of text for each token that is kept.
const BYTES_PER_TOKEN: usize = 64;
/// Tokens between those that are kept and the cut.
const MARGIN: usize = 256;
/// So many bytes, or so many for each token that is kept, must give the tokens that are kept; else the text is refused.
const MOST: usize = 4 << 20;
const MOST_PER_TOKEN: usize = 16;

/// The beginning of a text, tokenized.
pub(super) struct Beginning {
    pub(super) encoding: Encoding,
    /// The tokens of the rest, estimated; 0 where there is no rest.
    pub(super) rest: usize,
}

impl Tokenizer {
    /// Tokenizes as much of a text as gives its first `enough` tokens, with special tokens or without.
    pub(super) fn beginning_of_text(
        &self,
        text: &str,
        special_tokens: bool,
        enough: usize,
    ) -> tokenizers::Result<Beginning> {
        let part = |bytes: usize| {
            let part = cut(text, bytes);
            (part.into(), part.len())
        };
        self.beginning(text.len(), part, special_tokens, enough)
    }

    /// The same of words that are given one by one.
    pub(super) fn beginning_of_words(
        &self,
        words: &[String],
        special_tokens: bool,
        enough: usize,
    ) -> tokenizers::Result<Beginning> {
        let length = |word: &String| word.len() + 1;
        let part = |bytes: usize| {
            let (mut number, mut taken) = (0, 0);
            while let Some(word) = words.get(number)
                && (number == 0 || taken + length(word) <= bytes)
            {
                (number, taken) = (number + 1, taken + length(word));
            }
            let words = &words[..number];
            let input = match self.spaced {
                true => words.iter().map(spaced).collect::<Vec<String>>().into(),
                false => words.into(),
            };
            (input, taken)
        };
        self.beginning(words.iter().map(length).sum(), part, special_tokens, enough)
    }

    /// `part` gives a beginning of about so many bytes, and how many it has.
    fn beginning<'a>(
        &self,
        length: usize,
        part: impl Fn(usize) -> (EncodeInput<'a>, usize),
        special_tokens: bool,
        enough: usize,
    ) -> tokenizers::Result<Beginning> {
        let most = MOST.max(enough.saturating_mul(MOST_PER_TOKEN));
        let mut bytes = WHOLE.max(enough.saturating_mul(BYTES_PER_TOKEN)).min(most);
        loop {
            let (input, taken) = part(bytes);
            if taken > most {
                return Err(format!("a word of {taken} bytes; {most} are read at most").into());
            }
            let encoding = self.inner.encode(input, special_tokens)?;
            let tokens = encoding.len();
            if taken == length {
                return Ok(Beginning { encoding, rest: 0 });
            }
            if tokens >= enough.saturating_add(MARGIN) {
                let rest = (length - taken) as f64 * tokens as f64 / taken as f64;
                return Ok(Beginning { encoding, rest: crate::cast::whole_part(rest.min(1e9)) });
            }
            if bytes >= most {
                return Err(format!(
                    "a text of {length} bytes, of which the first {taken} give only {tokens} tokens; {most} bytes are read at most"
                )
                .into());
            }
            bytes = bytes.saturating_mul(4).min(most);
        }
    }
}

/// The beginning of a text, at most so many bytes but at least one character, up to a space where one is near.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = text.floor_char_boundary(bytes.max(4));
    let near = text.floor_char_boundary(end.saturating_sub(1024));
    let space = text[near..end].rfind(char::is_whitespace).filter(|space| near + space > 0);
    &text[..space.map_or(end, |space| near + space)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_ends_at_a_space_or_a_character() {
        assert_eq!(cut("one two three", 9), "one two");
        assert_eq!(cut("one", 3), "one");
        assert_eq!(cut("東京東京", 7), "東京");
        assert_eq!(cut(&"x".repeat(5000), 3000).len(), 3000);
    }
}
