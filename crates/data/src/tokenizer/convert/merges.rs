//! The merges of a BPE that has none in its file, from its vocabulary.

use std::collections::HashMap;

/// Every split of a token into two others is a merge; `rank` orders them, the least first (`generate_merges` in transformers'
/// tokenization_utils_base.py, whose order among equals is kept: the longer first part first).
pub(super) fn generate<'a>(
    tokens: impl Iterator<Item = (&'a str, f64)>,
    ids: &HashMap<String, u32>,
) -> Vec<[&'a str; 2]> {
    let mut merges: Vec<(f64, usize, usize, [&str; 2])> = Vec::new();
    for (token, rank) in tokens {
        let mut splits: Vec<(u32, u32, usize, [&str; 2])> = Vec::new();
        for (count, (at, _)) in token.char_indices().enumerate().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(first), Some(second)) = (ids.get(left), ids.get(right)) {
                splits.push((*first, *second, count, [left, right]));
            }
        }
        splits.sort_by_key(|(first, second, ..)| (*first, *second));
        let length = token.chars().count();
        merges.extend(splits.into_iter().map(|(_, _, count, parts)| (rank, count, length - count, parts)));
    }
    merges.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)));
    merges.into_iter().map(|(.., parts)| parts).collect()
}
