//! Metrics as pure functions: labels, numbers or spans in, numbers out; no tensors, no input or output, no state.
//!
//! Every score is a fraction in `0..=1` (correlations and kappa: down to -1), and higher is better; an error (`rmse`,
//! `mean_absolute_error`) is in the unit of the predicted values, and lower is better, as with `slot_error`, `ter` and `perplexity`. A
//! division of zero by zero counts as 0 and an empty input scores 0, so that no score is ever NaN.
//!
//! The reference for classes and numbers is scikit-learn and scipy, for spans seqeval, for answers SQuAD's script, for
//! relations SemEval's scorer and scikit-learn, for trees CoNLL 2018's script, for generated texts sacrebleu, rouge-score and
//! RNNLG's code; `tests/fixtures` has their results.
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

mod classes;
mod comparison;
mod grouping;
mod numbers;
mod score;
mod spans;
mod text;
mod trees;

pub use classes::{
    accuracy, class_f1, directed_f1, label_macro_f1, label_micro_f1, macro_f1, matthews, micro_f1,
    quadratic_kappa, sample_f1,
};
pub use comparison::{BlockMeans, Difference, Replicates, Verdict, block_means, blocks, delta_m, mean_ranks};
pub use grouping::{EXACT_TASKS, Grouping, MOST_TASKS, best_grouping, predicted_gains};
pub use numbers::{
    FEWEST_POINTS, Logistic, ProxyADistance, mean_absolute_error, pearson, proxy_a_distance, rmse, spearman,
};
pub use score::Score;
pub use spans::{
    Relation, RelationScores, Scheme, Span, SpanScores, relation_scores, span_scores, spans, split_tag,
    strict_spans,
};
pub use text::{
    Bleu, BleuOptions, BleuTokenizer, Rouge, SlotErrors, Smoothing, answer_f1, bleu, chrf, chrf_signature,
    exact_match, exact_text, lemma_accuracy, perplexity, rouge, slot_errors, ter, ter_signature,
    tokenizer_of_script,
};
pub use trees::{Arc, clas, las, uas};

/// Every metric's name and the source whose leading `//!` lines are its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("accuracy", include_str!("classes/accuracy.rs")),
    ("macro_f1", include_str!("classes/macro_f1.rs")),
    ("micro_f1", include_str!("classes/micro_f1.rs")),
    ("class_f1", include_str!("classes/class_f1.rs")),
    ("label_macro_f1", include_str!("classes/label_macro_f1.rs")),
    ("label_micro_f1", include_str!("classes/label_micro_f1.rs")),
    ("sample_f1", include_str!("classes/sample_f1.rs")),
    ("matthews", include_str!("classes/matthews.rs")),
    ("pearson", include_str!("numbers/pearson.rs")),
    ("spearman", include_str!("numbers/spearman.rs")),
    ("rmse", include_str!("numbers/rmse.rs")),
    ("quadratic_kappa", include_str!("classes/quadratic_kappa.rs")),
    ("mean_absolute_error", include_str!("numbers/mean_absolute_error.rs")),
    ("exact_match", include_str!("text/exact_match.rs")),
    ("exact_text", include_str!("text/exact_text.rs")),
    ("answer_f1", include_str!("text/answer_f1.rs")),
    ("span_f1", include_str!("spans/span_f1.rs")),
    ("bleu", include_str!("text/bleu.rs")),
    ("chrf", include_str!("text/chrf.rs")),
    ("rouge", include_str!("text/rouge.rs")),
    ("ter", include_str!("text/ter.rs")),
    ("slot_error", include_str!("text/slot_error.rs")),
    ("perplexity", include_str!("text/perplexity.rs")),
    ("directed_f1", include_str!("classes/directed_f1.rs")),
    ("relation_f1", include_str!("spans/relation_f1.rs")),
    ("las", include_str!("trees/las.rs")),
    ("uas", include_str!("trees/uas.rs")),
    ("clas", include_str!("trees/clas.rs")),
    ("lemma_accuracy", include_str!("text/lemma_accuracy.rs")),
];
