//! One text, or words, in several sequences.

use super::beginning::Beginning;
use super::{Encoded, NO_WORD_ID, Tokenizer};
use crate::TextWindows;
use crate::cast::to_u32;
use crate::text_windows::window_of;

impl Tokenizer {
    /// Appends a row with a sequence for each window of a text that is given without special tokens; each is at most `max_length`
    /// long with them. A text that fits into one window is what it is without windows.
    ///
    /// The tokens of a word know it in one window only, that of [`window_of`] its first token, so that each word occurs once in a
    /// row.
    pub(super) fn append_windows_of_one(
        &self,
        part: &mut Encoded,
        Beginning { encoding, rest }: Beginning,
        windows: TextWindows,
        max_length: usize,
    ) -> tokenizers::Result<()> {
        let width = max_length - self.num_special_tokens[0];
        let bounds = windows.split(encoding.len(), width);
        if let [_] = bounds[..] {
            let encoding = self.inner.post_process(encoding, None, true)?;
            self.append(part, &Beginning { encoding, rest }, max_length);
            return Ok(());
        }
        let words = word_starts(encoding.get_word_ids());
        let owner = |token: usize| words[token].and_then(|(_, start)| window_of(start, &bounds));
        for (number, [begin, end]) in bounds.iter().copied().enumerate() {
            let window = self.inner.post_process(super::pairs::part(&encoding, begin, end), None, true)?;
            let first = part.ids.len();
            part.ids.extend_from_slice(window.get_ids());
            part.word_ids.resize(part.ids.len(), NO_WORD_ID);
            let own =
                window.get_special_tokens_mask().iter().enumerate().filter(|(_, special)| **special == 0);
            for ((at, _), token) in own.zip(begin..end) {
                if let Some((word, _)) = words[token].filter(|_| owner(token) == Some(number)) {
                    part.word_ids[first + at] = word;
                }
            }
            part.unknown += self.count_unknown(&part.ids[first..]);
            part.sequences.push(part.ids.len());
        }
        let end = bounds.last().map_or(0, |[_, end]| *end);
        part.truncated.push(to_u32(encoding.len() - end + rest));
        part.offsets.push(part.ids.len());
        Ok(())
    }
}

/// The word of each token, and its first token.
fn word_starts(word_ids: &[Option<u32>]) -> Vec<Option<(u32, usize)>> {
    let mut present: Option<(u32, usize)> = None;
    let start = |(token, word): (usize, &Option<u32>)| {
        let word = (*word)?;
        if present.is_none_or(|(of, _)| of != word) {
            present = Some((word, token));
        }
        present
    };
    word_ids.iter().enumerate().map(start).collect()
}
