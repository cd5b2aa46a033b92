//! A sample of rows with distinct texts.

use super::{Index, NormalizedText};
use crate::random;

/// At most `most` rows, each text once, in an order that the seed and the name of what is drawn decide. Rows without text are
/// left out.
pub fn sample(keys: &[Option<NormalizedText>], most: usize, seed: u64, name: &str) -> Vec<usize> {
    let index = Index::of(keys);
    let first = |(row, key): (usize, &Option<NormalizedText>)| {
        (index.first(key.as_ref()?) == Some(row)).then_some(row)
    };
    let mut rows: Vec<usize> = keys.iter().enumerate().filter_map(first).collect();
    random::shuffle(&mut random::stream(seed, name, 0), &mut rows);
    rows.truncate(most);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_once_and_always_the_same_rows() {
        let texts = (0..40).map(|i| if i % 4 == 0 { String::new() } else { format!("text {}", i / 2) });
        let keys: Vec<Option<NormalizedText>> = texts.map(|text| NormalizedText::of(&[text])).collect();
        let all = sample(&keys, 100, 17, "a");
        assert_eq!(all.len(), Index::of(&keys).len());
        let some = sample(&keys, 5, 17, "a");
        assert_eq!((some.len(), &some[..]), (5, &all[..5]));
        assert_ne!(sample(&keys, 5, 17, "b"), some);
        assert!(sample(&[], 5, 17, "a").is_empty() && sample(&[None], 5, 17, "a").is_empty());
    }
}
