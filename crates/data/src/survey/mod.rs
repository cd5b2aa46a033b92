//! What is in corpora before anything is learned from them: lengths, balance of labels, repeated rows, shared vocabulary.
//!
//! Pure counting over tokenized views. What is compared of a text, and what is not, says [`Key`].
//!
//! ```
//! use polytask_data::survey::{Index, Key, shared};
//!
//! let keys = |texts: &[&str]| texts.iter().map(|text| Key::of(&[text])).collect::<Vec<_>>();
//! let training = Index::of(&keys(&["Book a table.", "Play some jazz!"]));
//! let found = shared(&keys(&["play some jazz", "rain?"]), &training);
//! assert_eq!((found.rows, found.of), (1, 2));
//! ```

mod bags;
mod balance;
mod key;
mod lengths;
mod repeats;
mod sample;
mod texts;
mod vocabulary;

pub use bags::bags;
pub use balance::Balance;
pub use key::{Key, SHORT};
pub use lengths::{Histogram, Lengths};
pub use repeats::{EXAMPLES, Index, Repeats, repeats, shared};
pub use sample::sample;
pub use texts::{row_keys, text_keys, text_of};
pub use vocabulary::Vocabulary;
