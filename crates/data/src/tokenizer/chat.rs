//! A conversation in one row.

use super::{Encoded, NO_WORD_ID, Tokenizer};
use crate::RenderedChat;
use crate::cast::to_u32;

impl Tokenizer {
    /// Appends a conversation, whose template has written all special tokens. Of a long one the beginning is cut. A token is part of a turn of
    /// the assistant if it has a character of it: in many vocabularies a word's token begins with the space before it.
    pub(super) fn append_chat(
        &self,
        part: &mut Encoded,
        chat: &RenderedChat,
        max_length: usize,
    ) -> tokenizers::Result<()> {
        let encoding = self.inner.encode(chat.text.as_str(), false)?;
        let (ids, offsets) = (encoding.get_ids(), encoding.get_offsets());
        let cut = ids.len().saturating_sub(max_length);
        let before = part.ids.len();
        for (id, (start, end)) in ids.iter().zip(offsets).skip(cut) {
            let turn = chat.assistant.iter().position(|turn| *start < turn.end && turn.start < *end);
            part.ids.push(*id);
            part.word_ids.push(turn.map_or(NO_WORD_ID, to_u32));
        }
        if part.ids.len() == before {
            part.ids.push(self.fallback_id);
            part.word_ids.push(NO_WORD_ID);
        }
        part.unknown += self.count_unknown(&part.ids[before..]);
        part.truncated.push(to_u32(cut));
        part.offsets.push(part.ids.len());
        Ok(())
    }
}
