//! Words and n-grams, as the metrics of generated text count them.

use std::collections::HashMap;
use std::hash::Hash;

/// What Python takes for a space: Unicode's white space and the four separators of ASCII.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of a text, as Python's `split()` finds them.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// How often each run of `n` neighbours occurs.
pub(crate) fn counts<T: Eq + Hash>(items: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    items.windows(n).for_each(|run| *counts.entry(run).or_default() += 1);
    counts
}

/// How many n-grams two texts share, each as often as both have it.
pub(crate) fn shared<T: Eq + Hash>(a: &HashMap<&[T], usize>, b: &HashMap<&[T], usize>) -> usize {
    a.iter().map(|(run, n)| (*n).min(b.get(run).copied().unwrap_or(0))).sum()
}

/// The references of a row; a row without any has the empty text.
pub(crate) fn or_empty<'a>(references: &'a [&'a str]) -> &'a [&'a str] {
    if references.is_empty() { &[""] } else { references }
}
