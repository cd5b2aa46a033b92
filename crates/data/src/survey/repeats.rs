//! Rows whose text stands somewhere else, too.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::Key;

/// The most examples that a count comes with.
pub const EXAMPLES: usize = 3;

/// Where each text of some rows stands first.
#[derive(Debug, Clone, Default)]
pub struct Index(HashMap<Key, usize>);

impl Index {
    /// The texts of rows, by their keys.
    pub fn of(keys: &[Option<Key>]) -> Index {
        let mut first = HashMap::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            if let Some(key) = key {
                first.entry(*key).or_insert(row);
            }
        }
        Index(first)
    }

    /// The first row of a text.
    pub fn first(&self, key: &Key) -> Option<usize> {
        self.0.get(key).copied()
    }

    /// How many different texts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How many rows have a text that stands somewhere else, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repeats {
    /// How many.
    pub rows: usize,
    /// Of how many rows.
    pub of: usize,
    /// How many different texts they have.
    pub texts: usize,
    /// How many of the rows are so short that they recur by chance ([`super::SHORT`]).
    pub short: usize,
    /// The longest of them, each text once: the row, and the row elsewhere.
    pub examples: Vec<(usize, usize)>,
}

impl Repeats {
    /// The share of the rows, 0 to 1; 0 where there are no rows.
    pub fn share(&self) -> f64 {
        self.rows as f64 / self.of.max(1) as f64
    }
}

/// Rows whose text stood before among the same rows.
pub fn repeats(keys: &[Option<Key>]) -> Repeats {
    let index = Index::of(keys);
    found(keys, |row, key| index.first(key).filter(|first| *first < row))
}

/// Rows whose text stands in `other`.
pub fn shared(keys: &[Option<Key>], other: &Index) -> Repeats {
    found(keys, |_, key| other.first(key))
}

/// The rows for which there is another row.
fn found(keys: &[Option<Key>], other: impl Fn(usize, &Key) -> Option<usize>) -> Repeats {
    let mut repeats = Repeats { of: keys.len(), ..Repeats::default() };
    let mut texts = HashSet::new();
    let mut pairs: Vec<(Key, usize, usize)> = Vec::new();
    for (row, key) in keys.iter().enumerate() {
        let Some((key, elsewhere)) = key.and_then(|key| Some((key, other(row, &key)?))) else { continue };
        repeats.rows += 1;
        repeats.short += usize::from(key.is_short());
        if texts.insert(key) {
            pairs.push((key, row, elsewhere));
        }
    }
    repeats.texts = texts.len();
    pairs.sort_by_key(|(key, row, _)| (std::cmp::Reverse(key.letters()), *row));
    repeats.examples = pairs.into_iter().take(EXAMPLES).map(|(_, row, other)| (row, other)).collect();
    repeats
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Vec<Option<Key>> {
        texts.iter().map(|text| Key::of(&[text])).collect()
    }

    #[test]
    fn repeats_inside_are_counted_after_the_first() {
        let rows = keys(&["lol", "a long enough text", "LOL", "", "A long, enough text!", "lol!", ""]);
        let found = repeats(&rows);
        let expected = Repeats { rows: 3, of: 7, texts: 2, short: 2, examples: vec![(4, 1), (2, 0)] };
        assert_eq!(found, expected);
        assert!((found.share() - 3.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn shared_rows_point_at_the_first_place() {
        let training = Index::of(&keys(&["one of them", "two", "two", ""]));
        assert_eq!((training.len(), training.is_empty()), (2, false));
        let found = shared(&keys(&["Two", "three", "two", ""]), &training);
        assert_eq!(found, Repeats { rows: 2, of: 4, texts: 1, short: 2, examples: vec![(0, 1)] });
    }

    #[test]
    fn examples_are_the_longest_and_no_more_than_three() {
        let texts = ["a1", "b22", "c333", "d4444", "e55555"];
        let found = shared(&keys(&texts), &Index::of(&keys(&texts)));
        assert_eq!(found.examples, [(4, 4), (3, 3), (2, 2)]);
    }

    #[test]
    fn no_rows_are_no_fault() {
        assert_eq!(repeats(&[]), Repeats::default());
        assert_eq!(repeats(&[]).share(), 0.0);
        assert!(Index::of(&keys(&["", " "])).is_empty());
    }
}
