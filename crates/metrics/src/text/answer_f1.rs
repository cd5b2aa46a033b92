//! Token-level F1 of answers against the gold answers.
//!
//! Formula: for one gold answer `2 shared / (predicted + gold)` in words, each shared as often as both have it; of
//! several gold answers the best counts; the mean over questions. Words are those of `exact_match`. Where one side has
//! no words (a question without an answer in the text), the value is 1 if the other has none either, else 0.
//!
//! When to use: extractive question answering.
//!
//! Reference: SQuAD's evaluation script (Rajpurkar et al. 2016, 2018).

use std::collections::HashMap;

use super::answer::{best, words};

/// Mean F1 of the answers' words; 0 when there are no questions. `gold` holds all answers that count as right, none where
/// the text has no answer.
///
/// # Panics
/// When the two differ in length.
pub fn answer_f1(gold: &[Vec<String>], predicted: &[String]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a question");
    if gold.is_empty() {
        return 0.0;
    }
    let f1 = gold.iter().zip(predicted).map(|(gold, predicted)| {
        let predicted = words(predicted);
        best(gold, |gold| f1(&words(gold), &predicted))
    });
    f1.sum::<f64>() / gold.len() as f64
}

fn f1(gold: &[String], predicted: &[String]) -> f64 {
    if gold.is_empty() || predicted.is_empty() {
        return f64::from(u8::from(gold == predicted));
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    gold.iter().for_each(|word| *left.entry(word).or_default() += 1);
    let shared = predicted.iter().filter(|word| match left.get_mut(word.as_str()) {
        Some(n) if *n > 0 => {
            *n -= 1;
            true
        }
        _ => false,
    });
    (2 * shared.count()) as f64 / (gold.len() + predicted.len()) as f64
}
