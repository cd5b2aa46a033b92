//! Readers, tokenized cache, samplers and packs.
//!
//! The way of a row: [`read()`] parses the files of a split into [`Row`]s; a [`View`] tokenizes one field of them
//! (through the cache of [`encode_cached`]); a [`Stream`] draws rows from several corpora by the shares of a
//! [`Sampler`]; a [`Pack`] lays one step's rows end to end.
//!
//! Invariants: no tensors, no models, no printing, no environment, no clock. Everything random comes from a seed and a
//! stream name ([`random`]). What leaves [`read()`] is checked: behind it no row is malformed.
//!
//! ```
//! use polytask_data::{Input, Pack, Tokenizer, TokenizerConfig};
//!
//! let tokenizer = Tokenizer::train(&["one text", "another text"], &TokenizerConfig::default())?;
//! let encoded = tokenizer.encode(&[Input::Text("one text"), Input::Text("text")], 128)?;
//! let pack = Pack::of_encoded(&encoded, 0);
//! assert_eq!((pack.len(), pack.offsets[1]), (2, encoded.length(0)));
//! # Ok::<(), polytask_data::DataError>(())
//! ```

mod cache;
mod corpus;
mod error;
mod hiding;
mod marked;
mod order;
mod pack;
mod quotas;
pub mod random;
mod read;
pub mod sampler;
mod stream;
pub mod survey;
mod tokenizer;
mod train;
mod value;
mod view;
mod words;

pub use cache::encode_cached;
pub use corpus::{CorpusConfig, Format, Paths, Split};
pub use error::{DataError, Faults};
pub use hiding::{Hiding, SHOWN};
pub use marked::{MarkedText, Part, span};
pub use order::{Difficulty, Order, OrderConfig, Rising};
pub use pack::{Pack, RowRef};
pub use quotas::CorpusDraws;
pub use read::{content_hash, files, read};
pub use sampler::{Sampler, Sampling};
pub use stream::{CorpusRows, Draw, Packing, Stream, StreamState};
pub use tokenizer::{Encoded, Input, NO_WORD, Specials, Tokenizer};
pub use train::{TokenizerConfig, TokenizerKind};
pub use value::{Place, Row, Value};
pub use view::{InputField, View, same_text};
pub use words::split_words;
