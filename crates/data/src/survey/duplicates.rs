//! Rows whose text occurs in another row.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::NormalizedText;

/// The maximum number of examples that a count comes with.
pub const EXAMPLES: usize = 3;

/// The first row of each text of some rows.
#[derive(Debug, Clone, Default)]
pub struct Index(HashMap<NormalizedText, usize>);

impl Index {
    /// The index of rows, given by their normalized texts; `None` for a row without text.
    pub fn of(keys: &[Option<NormalizedText>]) -> Index {
        let mut first = HashMap::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            if let Some(key) = key {
                first.entry(*key).or_insert(row);
            }
        }
        Index(first)
    }

    /// The first row of a text.
    pub fn first(&self, key: &NormalizedText) -> Option<usize> {
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

/// Rows whose text occurs in another row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// How many such rows there are.
    pub rows: usize,
    /// The number of rows examined.
    pub of: usize,
    /// How many distinct texts they have.
    pub texts: usize,
    /// How many of the rows are so short that they recur by chance ([`super::SHORT`]).
    pub short: usize,
    /// The longest of them, each text once: the row, and the row that has the same text.
    pub examples: Vec<(usize, usize)>,
}

impl Duplicates {
    /// The fraction of the rows that are duplicates, 0 to 1; 0 where there are no rows.
    pub fn share(&self) -> f64 {
        self.rows as f64 / self.of.max(1) as f64
    }
}

/// Rows whose text occurs in an earlier one of the same rows.
pub fn duplicates(keys: &[Option<NormalizedText>]) -> Duplicates {
    let index = Index::of(keys);
    found(keys, |row, key| index.first(key).filter(|first| *first < row))
}

/// Rows whose text occurs in `other`.
pub fn shared(keys: &[Option<NormalizedText>], other: &Index) -> Duplicates {
    found(keys, |_, key| other.first(key))
}

/// The rows for which there is another row.
fn found(
    keys: &[Option<NormalizedText>],
    other: impl Fn(usize, &NormalizedText) -> Option<usize>,
) -> Duplicates {
    let mut duplicates = Duplicates { of: keys.len(), ..Duplicates::default() };
    let mut texts = HashSet::new();
    let mut pairs: Vec<(NormalizedText, usize, usize)> = Vec::new();
    for (row, key) in keys.iter().enumerate() {
        let Some((key, elsewhere)) = key.and_then(|key| Some((key, other(row, &key)?))) else { continue };
        duplicates.rows += 1;
        duplicates.short += usize::from(key.is_short());
        if texts.insert(key) {
            pairs.push((key, row, elsewhere));
        }
    }
    duplicates.texts = texts.len();
    pairs.sort_by_key(|(key, row, _)| (std::cmp::Reverse(key.letters()), *row));
    duplicates.examples = pairs.into_iter().take(EXAMPLES).map(|(_, row, other)| (row, other)).collect();
    duplicates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Vec<Option<NormalizedText>> {
        texts.iter().map(|text| NormalizedText::of(&[text])).collect()
    }

    #[test]
    fn duplicates_are_counted_after_the_first() {
        let rows = keys(&["lol", "a long enough text", "LOL", "", "A long, enough text!", "lol!", ""]);
        let found = duplicates(&rows);
        let expected = Duplicates { rows: 3, of: 7, texts: 2, short: 2, examples: vec![(4, 1), (2, 0)] };
        assert_eq!(found, expected);
        assert!((found.share() - 3.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn shared_rows_point_at_the_first_row() {
        let training = Index::of(&keys(&["one of them", "two", "two", ""]));
        assert_eq!((training.len(), training.is_empty()), (2, false));
        let found = shared(&keys(&["Two", "three", "two", ""]), &training);
        assert_eq!(found, Duplicates { rows: 2, of: 4, texts: 1, short: 2, examples: vec![(0, 1)] });
    }

    #[test]
    fn examples_are_the_longest_and_no_more_than_three() {
        let texts = ["a1", "b22", "c333", "d4444", "e55555"];
        let found = shared(&keys(&texts), &Index::of(&keys(&texts)));
        assert_eq!(found.examples, [(4, 4), (3, 3), (2, 2)]);
    }

    #[test]
    fn no_rows_are_no_error() {
        assert_eq!(duplicates(&[]), Duplicates::default());
        assert_eq!(duplicates(&[]).share(), 0.0);
        assert!(Index::of(&keys(&["", " "])).is_empty());
    }
}
