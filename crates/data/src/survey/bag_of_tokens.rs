//! Rows as bags of their tokens, for comparing rows without a model.

use std::cmp::Reverse;

use crate::Encoded;

/// Some rows of each of several encodings as points `[encodings][rows][features]`: the square roots of the relative frequencies
/// of the row's tokens, over the `most` tokens with the highest document frequency in the given rows, the smallest ids first
/// among equals. Tokens in `special` are left out. (Distances between such points are Hellinger distances between the rows'
/// distributions.)
pub fn bag_of_tokens(rows: &[(&Encoded, &[usize])], most: usize, special: &[u32]) -> Vec<Vec<Vec<f32>>> {
    let ids = rows.iter().flat_map(|(encoded, _)| &encoded.ids);
    let mut seen = vec![0usize; ids.max().map_or(0, |id| *id as usize + 1)];
    let distinct = |encoded: &Encoded, row: usize| {
        let mut ids = encoded.ids[encoded.row(row)].to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    for (encoded, rows) in rows {
        let ids = rows.iter().flat_map(|row| distinct(encoded, *row));
        ids.for_each(|id| seen[id as usize] += 1);
    }
    special.iter().for_each(|id| seen.get_mut(*id as usize).into_iter().for_each(|count| *count = 0));
    let mut kept: Vec<usize> = (0..seen.len()).filter(|id| seen[*id] > 0).collect();
    kept.sort_by_key(|id| (Reverse(seen[*id]), *id));
    kept.truncate(most);
    let mut feature = vec![None; seen.len()];
    kept.iter().enumerate().for_each(|(at, id)| feature[*id] = Some(at));
    let point = |encoded: &Encoded, row: usize| {
        let mut counts = vec![0f32; kept.len()];
        encoded.ids[encoded.row(row)]
            .iter()
            .filter_map(|id| feature[*id as usize])
            .for_each(|at| counts[at] += 1.0);
        let total = counts.iter().sum::<f32>().max(1.0);
        counts.iter().map(|count| (count / total).sqrt()).collect()
    };
    rows.iter().map(|(encoded, rows)| rows.iter().map(|row| point(encoded, *row)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_frequencies_over_the_most_frequent_tokens() {
        let of = |rows: &[&[u32]]| {
            let mut encoded = Encoded { offsets: vec![0], ..Encoded::default() };
            for row in rows {
                encoded.ids.extend_from_slice(row);
                encoded.offsets.push(encoded.ids.len());
                encoded.truncated.push(0);
            }
            encoded
        };
        let (a, b) = (of(&[&[0, 5, 5, 5, 7], &[0, 3]]), of(&[&[0, 5, 8]]));
        let found = bag_of_tokens(&[(&a, &[0, 1]), (&b, &[0])], 3, &[0]);
        // 5 stands in two rows, 3 and 7 in one each; 8 is the fourth.
        let root = |x: f32| x.sqrt();
        assert_eq!(found[0], [vec![root(0.75), 0.0, root(0.25)], vec![0.0, 1.0, 0.0]]);
        assert_eq!(found[1], [vec![1.0, 0.0, 0.0]]);
        assert_eq!(bag_of_tokens(&[(&of(&[]), &[])], 3, &[0]), [Vec::<Vec<f32>>::new()]);
    }
}
