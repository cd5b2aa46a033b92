//! Metrics as pure functions: labels or spans in, numbers out; no tensors, no input or output, no state.
//!
//! Every score is a fraction in `0..=1` (Matthews correlation: `-1..=1`). A division of zero by zero counts as 0 and an
//! empty input scores 0, so that no score is ever NaN.
//!
//! The reference for classes is scikit-learn, for spans seqeval; `tests/fixtures` holds their answers.
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
mod class_f1;
mod label_macro_f1;
mod label_micro_f1;
mod macro_f1;
mod matthews;
mod micro_f1;
mod sample_f1;
mod score;
mod span_f1;
mod spans;

pub use accuracy::accuracy;
pub use class_f1::class_f1;
pub use label_macro_f1::label_macro_f1;
pub use label_micro_f1::label_micro_f1;
pub use macro_f1::macro_f1;
pub use matthews::matthews;
pub use micro_f1::micro_f1;
pub use sample_f1::sample_f1;
pub use score::Score;
pub use span_f1::{SpanScores, span_scores};
pub use spans::{Scheme, Span, spans, split_tag};

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
    ("span_f1", include_str!("span_f1.rs")),
];
