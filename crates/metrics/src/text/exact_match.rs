//! Fraction of questions whose answer exactly equals one of the gold answers.
//!
//! Formula: a question counts 1 if its answer has the same words as one of its gold answers, else 0; the mean over
//! questions. Case, ASCII punctuation and the articles a, an and the are ignored. A question without an answer in the
//! text has the empty gold answer, which only the empty answer equals.
//!
//! When to use: extractive question answering, beside `answer_f1`, which gives partial credit.
//!
//! Reference: SQuAD's evaluation script (Rajpurkar et al. 2016, 2018).

use super::answer::{best, words};

/// The fraction of exact answers; 0 when there are no questions. `gold` holds all answers that count as right, none where the
/// text has no answer.
///
/// # Panics
/// When the two differ in length.
pub fn exact_match(gold: &[Vec<String>], predicted: &[String]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a question");
    if gold.is_empty() {
        return 0.0;
    }
    let exact = gold.iter().zip(predicted).map(|(gold, predicted)| {
        let predicted = words(predicted);
        best(gold, |gold| f64::from(u8::from(words(gold) == predicted)))
    });
    exact.sum::<f64>() / gold.len() as f64
}
