//! A survey of corpora before training: lengths, label distributions, duplicates, shared vocabulary.
//!
//! Pure counting over tokenized views. [`NormalizedText`] defines when two texts count as the same.
//!
//! ```
//! use polytask_data::survey::{Index, NormalizedText, shared};
//!
//! let texts = |texts: &[&str]| texts.iter().map(|text| NormalizedText::of(&[text])).collect::<Vec<_>>();
//! let training = Index::of(&texts(&["Book a table.", "Play some jazz!"]));
//! let found = shared(&texts(&["play some jazz", "rain?"]), &training);
//! assert_eq!((found.rows, found.of), (1, 2));
//! ```

mod bag_of_tokens;
mod duplicates;
mod label_distribution;
mod label_key;
mod lengths;
mod normalized_text;
mod sample;
mod texts;
mod vocabulary;

pub use bag_of_tokens::bag_of_tokens;
pub use duplicates::{Duplicates, EXAMPLES, Index, duplicates, shared};
pub use label_distribution::LabelDistribution;
pub use label_key::label_key;
pub use lengths::{Histogram, Lengths};
pub use normalized_text::{NormalizedText, SHORT};
pub use sample::sample;
pub use texts::{row_keys, text_keys, text_of};
pub use vocabulary::Vocabulary;
