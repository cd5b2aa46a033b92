//! Gold labels: how they are read from rows, and how they are encoded.

pub(crate) mod class_weights;
pub(crate) mod gold;
pub(crate) mod labels;
pub(crate) mod tag_scheme;
pub(crate) mod text_spans;
pub(crate) mod words;
