//! What a head may use of the trunk beside its states.

use std::sync::Arc;

use data::Tokenizer;
use model::{Decoder, Matrix};

/// The parts of the trunk that are the same for every batch ([`crate::Kind::connect`]).
#[derive(Debug, Clone, Copy)]
pub struct Trunk<'a> {
    /// The width of the token states.
    pub hidden: usize,
    /// What texts are made into tokens with.
    pub tokenizer: &'a Tokenizer,
    /// The backbone's table of token vectors, `[vocabulary, width]`.
    pub token_table: Matrix,
    /// What writes texts, where the model has it.
    pub decoder: Option<&'a Arc<Decoder>>,
}
