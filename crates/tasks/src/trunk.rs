//! The parts of the trunk that a head may use in addition to the token states.

use std::sync::Arc;

use data::Tokenizer;
use model::{Generator, MatrixId};

/// The parts of the trunk that are the same for every batch ([`crate::Kind::init_head`]).
#[derive(Debug, Clone, Copy)]
pub struct TrunkHandles<'a> {
    /// The width of the token states.
    pub hidden: usize,
    /// The tokenizer of the model.
    pub tokenizer: &'a Tokenizer,
    /// The backbone's token embedding, `[vocabulary, width]`.
    pub token_embedding: MatrixId,
    /// The network that generates texts, where the model has one.
    pub decoder: Option<&'a Arc<dyn Generator>>,
}
