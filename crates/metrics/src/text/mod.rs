//! Scores of texts: answers, generated texts, lemmas, and the perplexity of a language model.

mod answer;
mod answer_f1;
mod bleu;
mod chrf;
mod exact_match;
mod exact_text;
mod lemma_accuracy;
mod ngrams;
mod perplexity;
mod porter;
mod references;
mod rouge;
mod slot_error;
mod ter;
mod tokenize;

pub use answer_f1::answer_f1;
pub use bleu::{Bleu, BleuOptions, Smoothing, bleu};
pub use chrf::{chrf, chrf_signature};
pub use exact_match::exact_match;
pub use exact_text::exact_text;
pub use lemma_accuracy::lemma_accuracy;
pub use perplexity::perplexity;
pub use references::tokenizer_of_script;
pub use rouge::{Rouge, rouge};
pub use slot_error::{SlotErrors, slot_errors};
pub use ter::{ter, ter_signature};
pub use tokenize::BleuTokenizer;
