//! Dataset embeddings: a learned vector for each corpus, added to the vector of every token of its rows.
//!
//! ```text
//! x = ... + E_word[id] + E_dataset[corpus]        before the first norm, dropout or layer
//! ```
//!
//! Shapes: E_dataset `[corpora, hidden]`, one parameter of the trunk, called [`NAME`]. It begins as zeros, so that the network
//! begins as it was without it.
//! Cost: `corpora hidden` parameters, and an addition a token.
//! Paper: van der Goot and de Lhoneux 2021, "Parsing with pretrained language models, multiple datasets, and dataset
//! embeddings", with the vector in the encoder's input.

use crate::init::Init;
use crate::parameters::{Depth, Level, MatrixId, Owner, ParameterSpec, Parameters, Role};

/// The table's name among the parameters.
pub(crate) const NAME: &str = "backbone.embeddings.corpus";

/// Makes the table.
pub(super) fn add(corpora: usize, hidden: usize, parameters: &mut Parameters) -> MatrixId {
    parameters.add_matrix(ParameterSpec {
        name: NAME.into(),
        shape: &[corpora, hidden],
        owner: Owner::Trunk,
        role: Role::Embedding,
        depth: Some(Depth::encoder(Level::Embeddings)),
        init: Init::Zeros,
    })
}
