//! Metrics as pure functions: labels, numbers or spans in, numbers out; no tensors, no input or output, no state.
//!
//! Every score is a fraction in `0..=1` (correlations and kappa: down to -1), and higher is better; an error (`rmse`,
//! `mean_absolute_error`) is in the unit of what is predicted, and lower is better, as with `slot_error` and `perplexity`. A division of zero by zero counts as 0
//! and an empty input scores 0, so that no score is ever NaN.
//!
//! The reference for classes and numbers is scikit-learn and scipy, for spans seqeval, for answers
//! SQuAD's script, for relations SemEval's scorer and scikit-learn, for trees CoNLL 2018's script, for generated texts sacrebleu,
//! rouge-score and RNNLG's code; `tests/fixtures` holds their answers.
//!
//! ```
//! use polytask_metrics::{accuracy, span_scores, spans};
//!
//! assert_eq!(accuracy(&[0, 1, 2, 2], &[0, 1, 2, 0]), 0.75);
//!
//! let gold = vec![spans(&["B-PER", "I-PER", "O", "B-LOC"])];
//! let predicted = vec![spans(&["B-PER", "I-PER", "O", "O"])];
//! let scores = span_scores(&gold, &predicted);
//! assert_eq!((scores.precision, scores.recall), (1.0, 0.5));
//! ```

mod accuracy;
mod answer;
mod answer_f1;
mod arc;
mod bleu;
mod chrf;
mod clas;
mod class_f1;
mod directed_f1;
mod exact_match;
mod exact_text;
mod label_macro_f1;
mod label_micro_f1;
mod las;
mod lemma_accuracy;
mod logistic;
mod macro_f1;
mod matthews;
mod mean_absolute_error;
mod micro_f1;
mod ngrams;
mod pearson;
mod perplexity;
mod proxy_a_distance;
mod quadratic_kappa;
mod relation_f1;
mod rmse;
mod rouge;
mod sample_f1;
mod score;
mod slot_error;
mod span_f1;
mod spans;
mod spearman;
mod uas;

pub use accuracy::accuracy;
pub use answer_f1::answer_f1;
pub use arc::Arc;
pub use bleu::{Bleu, bleu};
pub use chrf::chrf;
pub use clas::clas;
pub use class_f1::class_f1;
pub use directed_f1::directed_f1;
pub use exact_match::exact_match;
pub use exact_text::exact_text;
pub use label_macro_f1::label_macro_f1;
pub use label_micro_f1::label_micro_f1;
pub use las::las;
pub use lemma_accuracy::lemma_accuracy;
pub use logistic::Logistic;
pub use macro_f1::macro_f1;
pub use matthews::matthews;
pub use mean_absolute_error::mean_absolute_error;
pub use micro_f1::micro_f1;
pub use pearson::pearson;
pub use perplexity::perplexity;
pub use proxy_a_distance::{FEWEST_POINTS, ProxyADistance, proxy_a_distance};
pub use quadratic_kappa::quadratic_kappa;
pub use relation_f1::{Relation, RelationScores, relation_scores};
pub use rmse::rmse;
pub use rouge::{Rouge, rouge};
pub use sample_f1::sample_f1;
pub use score::Score;
pub use slot_error::{SlotErrors, slot_errors};
pub use span_f1::{SpanScores, span_scores};
pub use spans::{Scheme, Span, spans, split_tag};
pub use spearman::spearman;
pub use uas::uas;

/// Every metric's name and the source whose leading `//!` lines are its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("accuracy", include_str!("accuracy.rs")),
    ("macro_f1", include_str!("macro_f1.rs")),
    ("micro_f1", include_str!("micro_f1.rs")),
    ("class_f1", include_str!("class_f1.rs")),
    ("label_macro_f1", include_str!("label_macro_f1.rs")),
    ("label_micro_f1", include_str!("label_micro_f1.rs")),
    ("sample_f1", include_str!("sample_f1.rs")),
    ("matthews", include_str!("matthews.rs")),
    ("pearson", include_str!("pearson.rs")),
    ("spearman", include_str!("spearman.rs")),
    ("rmse", include_str!("rmse.rs")),
    ("quadratic_kappa", include_str!("quadratic_kappa.rs")),
    ("mean_absolute_error", include_str!("mean_absolute_error.rs")),
    ("exact_match", include_str!("exact_match.rs")),
    ("exact_text", include_str!("exact_text.rs")),
    ("answer_f1", include_str!("answer_f1.rs")),
    ("span_f1", include_str!("span_f1.rs")),
    ("bleu", include_str!("bleu.rs")),
    ("chrf", include_str!("chrf.rs")),
    ("rouge", include_str!("rouge.rs")),
    ("slot_error", include_str!("slot_error.rs")),
    ("perplexity", include_str!("perplexity.rs")),
    ("directed_f1", include_str!("directed_f1.rs")),
    ("relation_f1", include_str!("relation_f1.rs")),
    ("las", include_str!("las.rs")),
    ("uas", include_str!("uas.rs")),
    ("clas", include_str!("clas.rs")),
    ("lemma_accuracy", include_str!("lemma_accuracy.rs")),
];
