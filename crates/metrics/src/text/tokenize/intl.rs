//! mteval's international tokenizer, version 14.

use std::sync::LazyLock;

use regex::Regex;

/// Punctuation behind what is no number, punctuation before what is no number, symbols; each with what takes its place.
static RULES: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
    [(r"(?s)(\P{N})(\p{P})", "$1 $2 "), (r"(?s)(\p{P})(\P{N})", " $1 $2"), (r"(\p{S})", " $1 ")]
        .map(|(rule, by)| (Regex::new(rule).expect("a valid expression"), by))
});

/// The text with spaces between its words.
pub(super) fn tokenize(text: &str) -> String {
    RULES.iter().fold(text.to_owned(), |text, (rule, by)| rule.replace_all(&text, *by).into_owned())
}
