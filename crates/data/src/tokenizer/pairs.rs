//! Two texts in one sequence, and rows of several such sequences.

use tokenizers::{Encoding, TruncationDirection};

use super::beginning::Beginning;
use super::{Encoded, NO_WORD_ID, Tokenizer};
use crate::TextWindows;
use crate::cast::to_u32;

/// A text without special tokens.
struct Text {
    encoding: Encoding,
    /// The tokens of the text that were not looked at.
    rest: usize,
    /// The byte range and the word id of each token. Read before the tokenizer joins the texts, which would trim byte-level
    /// spaces twice.
    tokens: Vec<([u32; 2], u32)>,
}

impl Text {
    /// Its tokens from `from` to before `to`.
    fn part(&self, from: usize, to: usize) -> Text {
        Text { encoding: part(&self.encoding, from, to), rest: 0, tokens: self.tokens[from..to].to_vec() }
    }

    fn len(&self) -> usize {
        self.tokens.len()
    }
}

/// The tokens of an encoding from `from` to before `to`.
pub(super) fn part(encoding: &Encoding, from: usize, to: usize) -> Encoding {
    let mut part = encoding.clone();
    part.truncate(to, 0, TruncationDirection::Right);
    part.truncate(to - from, 0, TruncationDirection::Left);
    part.take_overflowing();
    part
}

impl Tokenizer {
    /// Appends a pair, truncated to `max_length`.
    pub(super) fn append_pair(
        &self,
        part: &mut Encoded,
        texts: [&str; 2],
        max_length: usize,
    ) -> tokenizers::Result<()> {
        let texts = [self.text(texts[0], max_length)?, self.text(texts[1], max_length)?];
        let truncated = self.join_longest_first(part, &texts, max_length)?;
        self.end_row(part, truncated);
        Ok(())
    }

    /// Appends a row with a sequence for each choice: the text and the choice, truncated to `max_length` as a pair is.
    pub(super) fn append_choices(
        &self,
        part: &mut Encoded,
        text: &str,
        choices: &[String],
        max_length: usize,
    ) -> tokenizers::Result<()> {
        let mut texts = [self.text(text, max_length)?, self.text("", max_length)?];
        let mut truncated = 0;
        for choice in choices {
            texts[1] = self.text(choice, max_length)?;
            truncated += self.join_longest_first(part, &texts, max_length)?;
            part.sequences.push(part.ids.len());
        }
        self.end_row(part, truncated);
        Ok(())
    }

    /// Appends a row with a sequence for each window of the second text: the first text and the window, at most `max_length`
    /// long.
    pub(super) fn append_windows(
        &self,
        part: &mut Encoded,
        texts: [&str; 2],
        [overlap, most]: [usize; 2],
        max_length: usize,
    ) -> tokenizers::Result<()> {
        let first = self.text(texts[0], max_length)?;
        let second = self.text(texts[1], max_length.saturating_mul(most.max(1)))?;
        let available = max_length - self.num_special_tokens[1];
        let kept = first.len().min(available / 2);
        let width = (available - kept).max(1);
        let head = first.part(0, kept);
        let mut read = 0;
        for [begin, end] in (TextWindows { overlap, most }).split(second.len(), width) {
            self.join(part, &head, &second.part(begin, end))?;
            part.sequences.push(part.ids.len());
            read = end;
        }
        self.end_row(part, first.len() - kept + first.rest + second.len() - read + second.rest);
        Ok(())
    }

    /// As much of a text as gives its first `enough` tokens.
    fn text(&self, text: &str, enough: usize) -> tokenizers::Result<Text> {
        let Beginning { encoding, rest } = self.beginning_of_text(text, false, enough)?;
        let range = |(from, to): &(usize, usize)| [to_u32(*from), to_u32(*to)];
        let tokens = encoding.get_offsets().iter().map(range).zip(encoding.get_word_ids());
        let tokens = tokens.map(|(range, word_id)| (range, word_id.unwrap_or(NO_WORD_ID))).collect();
        Ok(Text { encoding, rest, tokens })
    }

    /// As [`Tokenizer::join`], truncated to `max_length`. Returns how many tokens that removed.
    fn join_longest_first(
        &self,
        part: &mut Encoded,
        [first, second]: &[Text; 2],
        max_length: usize,
    ) -> tokenizers::Result<usize> {
        let [n, m] = longest_first([first.len(), second.len()], max_length - self.num_special_tokens[1]);
        self.join(part, &first.part(0, n), &second.part(0, m))?;
        Ok(first.len() + first.rest + second.len() + second.rest - n - m)
    }

    /// Appends a sequence of two texts. Type ids other than 0 make the second segment.
    fn join(&self, part: &mut Encoded, first: &Text, second: &Text) -> tokenizers::Result<()> {
        let mut of_second = second.encoding.clone();
        // The tokenizer itself begins from these where no template says otherwise.
        of_second.set_type_ids(vec![1; second.len()]);
        let pair = self.inner.post_process(first.encoding.clone(), Some(of_second), true)?;
        let begin = part.ids.len();
        part.ids.extend_from_slice(pair.get_ids());
        if pair.is_empty() {
            part.ids.push(self.fallback_id);
        }
        let in_first = pair.get_type_ids().iter().take_while(|type_id| **type_id == 0).count();
        part.first_segment_len.push(to_u32(in_first.max(usize::from(pair.is_empty()))));
        part.word_ids.resize(part.ids.len(), NO_WORD_ID);
        part.offset_mapping.resize(part.ids.len(), [0, 0]);
        let own = pair.get_special_tokens_mask().iter().enumerate().filter(|(_, special)| **special == 0);
        for ((i, _), (range, word_id)) in own.skip(first.len()).zip(&second.tokens) {
            (part.offset_mapping[begin + i], part.word_ids[begin + i]) = (*range, *word_id);
        }
        part.unknown += self.count_unknown(&part.ids[begin..]);
        Ok(())
    }

    fn end_row(&self, part: &mut Encoded, truncated: usize) {
        part.truncated.push(to_u32(truncated));
        part.offsets.push(part.ids.len());
    }
}

/// How many tokens of two texts are kept of `most`: the longer text is truncated until both are of one length, then both,
/// the second less.
fn longest_first([first, second]: [usize; 2], most: usize) -> [usize; 2] {
    if first + second <= most {
        return [first, second];
    }
    let shorter = first.min(second).min(most / 2);
    if first <= second { [shorter, most - shorter] } else { [most - shorter, shorter] }
}
