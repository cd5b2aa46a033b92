//! A share of the training rows, cut off for validation.

use std::collections::HashMap;
use std::hash::Hash;

use crate::cast::whole_part;
use crate::random;

/// Which of `rows` rows are cut off for validation, in rising order: about `share` of them, at least one and not all. Rows of equal
/// keys stay together, so that no text is on both sides; a row without a key is alone. The same seed gives the same rows.
pub fn validation_rows<K: Hash + Eq>(keys: &[Option<K>], share: f64, seed: u64) -> Vec<usize> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<&K, usize> = HashMap::new();
    for (row, key) in keys.iter().enumerate() {
        let group = match key {
            Some(key) => *known.entry(key).or_insert(groups.len()),
            None => groups.len(),
        };
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(row);
    }
    let mut order: Vec<usize> = (0..groups.len()).collect();
    random::shuffle(&mut random::stream(seed, "validation split", 0), &mut order);
    let wanted = whole_part((share * keys.len() as f64).round().max(1.0));
    let mut cut = Vec::new();
    // One group is left to train on.
    for group in order.iter().skip(1) {
        if cut.len() >= wanted {
            break;
        }
        cut.extend(&groups[*group]);
    }
    cut.sort_unstable();
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_cut_and_equal_texts_stay_together() {
        let keys: Vec<Option<usize>> = (0..1000).map(|row| (row % 7 > 0).then_some(row % 400)).collect();
        let cut = validation_rows(&keys, 0.1, 3);
        assert!((100..=103).contains(&cut.len()), "{}", cut.len());
        assert!(cut.windows(2).all(|pair| pair[0] < pair[1]));
        let is_cut = |row: usize| cut.binary_search(&row).is_ok();
        for (a, key) in keys.iter().enumerate().filter(|(_, key)| key.is_some()) {
            assert!((0..1000).filter(|b| keys[*b] == *key).all(|b| is_cut(a) == is_cut(b)));
        }
        assert_eq!(cut, validation_rows(&keys, 0.1, 3));
        assert_ne!(cut, validation_rows(&keys, 0.1, 4));
    }

    #[test]
    fn something_is_left_on_both_sides() {
        assert_eq!(validation_rows(&[Some(1), Some(2)], 0.999, 1).len(), 1);
        assert_eq!(validation_rows(&[Some(1), Some(2)], 0.001, 1).len(), 1);
        assert!(validation_rows(&[Some(1), Some(1)], 0.5, 1).is_empty());
    }
}
