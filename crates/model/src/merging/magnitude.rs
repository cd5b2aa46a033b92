//! Numbers by magnitude. Equal ones are ordered by their index, the lower first, so that nothing depends on how they are sorted.

use std::cmp::Ordering;

/// How many numbers are `share` of `n`: rounded, and at least 1 where there is one.
pub(super) fn count(share: f64, n: usize) -> usize {
    rounded(share, n).clamp(1.min(n), n)
}

/// `share n`, rounded.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Between 0 and n.
pub(super) fn rounded(share: f64, n: usize) -> usize {
    (share * n as f64).round() as usize
}

/// The indices from the largest magnitude to the smallest.
pub(super) fn descending(values: &[f64]) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..values.len()).collect();
    indices.sort_unstable_by(|a, b| compare(values, *a, *b));
    indices
}

/// The values with 0 in place of all but those that stand, by magnitude from the largest on, in `skip..skip + keep`.
pub(super) fn keep_ranks(mut values: Vec<f64>, skip: usize, keep: usize) -> Vec<f64> {
    let n = values.len();
    let mut indices: Vec<usize> = (0..n).collect();
    // Two selections in place of a sort: which numbers are kept matters, not their order.
    if skip > 0 && skip < n {
        indices.select_nth_unstable_by(skip, |a, b| compare(&values, *a, *b));
    }
    let rest = &mut indices[skip.min(n)..];
    if keep > 0 && keep < rest.len() {
        rest.select_nth_unstable_by(keep, |a, b| compare(&values, *a, *b));
    }
    let end = (skip + keep).min(n);
    for index in indices[..skip.min(n)].iter().chain(&indices[end..]) {
        values[*index] = 0.0;
    }
    values
}

/// Larger magnitudes first, of equal ones the lower index: a total order.
fn compare(values: &[f64], a: usize, b: usize) -> Ordering {
    values[b].abs().total_cmp(&values[a].abs()).then(a.cmp(&b))
}
