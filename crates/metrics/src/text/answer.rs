//! Answers in words, compared as SQuAD's evaluation script compares them.

use std::sync::LazyLock;

use regex::Regex;

use super::ngrams::split;

/// What Python's `\w` takes for a word: letters and digits of all scripts, and the underscore, but no combining marks.
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("a valid expression"));

/// An answer's words: in lower case, without ASCII punctuation and without the articles a, an and the.
pub(crate) fn words(answer: &str) -> Vec<String> {
    let lower = answer.to_lowercase();
    let plain: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    // The script takes articles out of the text at the boundaries of words, then splits it at spaces.
    let plain = WORD.replace_all(&plain, |word: &regex::Captures<'_>| match &word[0] {
        "a" | "an" | "the" => " ".to_owned(),
        word => word.to_owned(),
    });
    split(&plain).map(str::to_owned).collect()
}

/// The best value over the gold answers of a question; a question without any has the empty answer.
pub(crate) fn best(gold: &[String], value: impl Fn(&str) -> f64) -> f64 {
    match gold {
        [] => value(""),
        gold => gold.iter().map(|gold| value(gold)).fold(0.0, f64::max),
    }
}
