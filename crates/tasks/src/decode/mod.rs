//! From logits to tags, and from tags to answers.

pub(crate) mod answer;
pub(crate) mod tag_decoder;
