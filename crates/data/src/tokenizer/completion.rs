//! A prompt and the text that follows it, in one row: what a decoder learns to write.

use super::{Encoded, NO_WORD_ID, Tokenizer};
use crate::cast::to_u32;

/// A prompt and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion<'a> {
    /// The text that is read. Of a long one the end is cut.
    pub prompt: &'a str,
    /// What stands between the two; never cut.
    pub separator: &'a str,
    /// The text that is to be written; `None` where it is not known.
    pub target: Option<&'a str>,
    /// Tokens of the target that are kept, at most.
    pub max_target_length: usize,
}

impl Tokenizer {
    /// Appends a row: the tokens that begin one, the prompt, the separator, the target. Each of the three is tokenized by itself, so that the
    /// row begins in the same way where the target is not known. Tokens that end a row are left out. The prompt is cut so that a target of
    /// `max_target_length` tokens, or of half of `max_length`, has room.
    pub(super) fn append_completion(
        &self,
        part: &mut Encoded,
        completion: &Completion<'_>,
        max_length: usize,
    ) -> tokenizers::Result<()> {
        let beginning = self.beginning_of_text(completion.prompt, true, max_length)?;
        let (ids, special) = (beginning.encoding.get_ids(), beginning.encoding.get_special_tokens_mask());
        let tail = special.iter().rev().take_while(|special| **special == 1).count();
        let prompt = &ids[..ids.len() - tail];
        let separator = self.text_ids(completion.separator)?;
        let target = match completion.target {
            Some(target) => self.text_ids(target)?,
            None => Vec::new(),
        };
        let most_target = completion.max_target_length.min(max_length / 2);
        let room = max_length.saturating_sub(separator.len());
        let kept_prompt = prompt.len().min(room.saturating_sub(target.len().min(most_target)));
        let kept_target = target.len().min(completion.max_target_length).min(room - kept_prompt);
        let before = part.ids.len();
        part.ids.extend_from_slice(&prompt[..kept_prompt]);
        part.ids.extend(separator.iter().take(max_length));
        if part.ids.len() == before {
            part.ids.push(self.fallback_id);
        }
        part.word_ids.resize(part.ids.len(), NO_WORD_ID);
        part.ids.extend_from_slice(&target[..kept_target]);
        part.word_ids.resize(part.ids.len(), 0);
        part.unknown += self.count_unknown(&part.ids[before..]);
        let lost = prompt.len() - kept_prompt + beginning.rest + target.len() - kept_target;
        part.truncated.push(to_u32(lost));
        part.offsets.push(part.ids.len());
        Ok(())
    }

    fn text_ids(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        Ok(self.inner.encode_fast(text, false)?.get_ids().to_vec())
    }
}
