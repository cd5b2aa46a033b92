//! Readers, tokenized cache, samplers and packs.
//!
//! The path of a row: [`read()`] parses the files of a split into [`Row`]s; a [`View`] tokenizes one input of them
//! (through the cache of [`encode_cached`]); a [`PackStream`] draws rows from several corpora by the shares of a
//! [`Sampler`]; a [`Pack`] holds the rows of one step end to end.
//!
//! Invariants: no tensors, no models, no printing, no environment, no clock. Everything random comes from a seed and a
//! stream name ([`random`]). [`read()`] checks its rows: no row that it returns is malformed.
//!
//! ```
//! use polytask_data::{Input, InputField, Pack, RowRef, Tokenizer, TokenizerConfig, View};
//!
//! let tokenizer = Tokenizer::train(&["one text", "another text"], &TokenizerConfig::default())?;
//! let encoded = tokenizer.encode(&[Input::Text("one text"), Input::Text("text")], 128)?;
//! let length = encoded.length(0);
//! let input = InputField::Text("text".into());
//! let view = View { corpus: "corpus".into(), input, rows: [].into(), encoded, masking: None };
//! let pack = Pack::of(&[view], &[RowRef { view: 0, row: 0 }, RowRef { view: 0, row: 1 }]);
//! assert_eq!((pack.len(), pack.offsets[1]), (2, length));
//! # Ok::<(), polytask_data::DataError>(())
//! ```

#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

mod cast;
mod chat_template;
mod corpus;
mod entity_markers;
mod error;
mod foreign;
mod input_field;
mod order;
mod pack;
pub mod random;
mod read;
pub mod sampler;
mod sentence_piece;
mod stream;
pub mod survey;
mod text_windows;
mod token_masking;
mod tokenizer;
mod tokenizer_training;
mod validation_split;
mod value;
mod view;
mod words;

pub use chat_template::{ChatTemplate, RenderedChat};
pub use corpus::{CorpusConfig, Format, Paths, Split};
pub use entity_markers::{EntityMarkers, SpanRole, span};
pub use error::{DataError, ErrorList};
pub use input_field::chat::ChatSource;
pub use input_field::{InputField, RowInput};
pub use order::{Curriculum, Difficulty, Order, OrderConfig};
pub use pack::{Pack, RowRef};
pub use read::{
    content_hash, escape_pattern, files, foreign_delimiter, format_of_name, json_value, read, read_bytes,
    text_lines,
};
pub use sampler::{Sampler, SamplerConfig};
pub use sentence_piece::SentencePiece;
pub use stream::{CorpusDraws, CorpusRows, Draw, PackStream, Packing, StreamState};
pub use text_windows::TextWindows;
pub use token_masking::{NOT_MASKED, TokenMasking};
pub use tokenizer::{
    Completion, Encoded, GgufTokenIds, GgufTokenizer, Input, NO_WORD_ID, SpecialTokens, Tokenizer,
    encode_cached, gguf_tokenizer,
};
pub use tokenizer_training::{TokenizerConfig, TokenizerKind};
pub use validation_split::validation_rows;
pub use value::{Place, Row, Value, is_blank};
pub use view::{View, same_text};
pub use words::split_words;
