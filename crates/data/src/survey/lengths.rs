//! How long rows are, and what of them the model never sees.

use serde::Serialize;

use crate::Encoded;
use crate::cast::whole_part;

/// The most bars of a histogram.
const BARS: usize = 32;

/// Lengths of the rows of a view, in tokens with special ones, as they would be without a limit. A text in windows has the tokens of
/// all windows, those that two windows share twice.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// Rows.
    pub rows: usize,
    /// Tokens that the model sees: those that the limit leaves.
    pub tokens: usize,
    /// The shortest row; 0 where there is none, as below.
    pub least: usize,
    /// The median, of an even number of rows the upper one.
    pub median: usize,
    /// Of a hundred rows 95 are no longer.
    pub most_of_95: usize,
    /// The longest row.
    pub most: usize,
    /// Rows that the limit shortens.
    pub cut_rows: usize,
    /// Tokens that it takes.
    pub cut_tokens: usize,
    /// Tokens that the vocabulary does not know, of `tokens`.
    pub unknown: usize,
    /// How many rows have which length.
    pub histogram: Histogram,
}

/// Counts of rows by length.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// How many lengths each bar is wide; bar `i` begins at `i * width`.
    pub width: usize,
    /// Rows in each bar, no more than 32; the last one also has all that are longer.
    pub counts: Vec<usize>,
    /// Whether the last bar has rows that are longer than it is wide.
    pub open: bool,
}

impl Lengths {
    /// Of the rows of a view.
    pub fn of(encoded: &Encoded) -> Lengths {
        let mut lengths: Vec<usize> =
            (0..encoded.rows()).map(|row| encoded.length(row) + encoded.truncated[row] as usize).collect();
        lengths.sort_unstable();
        let at = |share: f64| match lengths.len() {
            0 => 0,
            rows => lengths[whole_part(((rows - 1) as f64 * share).round())],
        };
        Lengths {
            rows: lengths.len(),
            tokens: encoded.ids.len(),
            least: at(0.0),
            median: at(0.5),
            most_of_95: at(0.95),
            most: at(1.0),
            cut_rows: encoded.truncated.iter().filter(|tokens| **tokens > 0).count(),
            cut_tokens: encoded.truncated.iter().map(|tokens| *tokens as usize).sum(),
            unknown: encoded.unknown,
            histogram: Histogram::of(&lengths, at(0.99)),
        }
    }

    /// The share of rows that the limit shortens, 0 to 1.
    pub fn share_cut(&self) -> f64 {
        self.cut_rows as f64 / self.rows.max(1) as f64
    }

    /// The share of tokens that the vocabulary does not know, 0 to 1.
    pub fn share_unknown(&self) -> f64 {
        self.unknown as f64 / self.tokens.max(1) as f64
    }
}

impl Histogram {
    /// Of lengths in rising order. The bars reach `until`, so that a few very long rows do not press all others together.
    fn of(lengths: &[usize], until: usize) -> Histogram {
        let Some(most) = lengths.last() else { return Histogram::default() };
        let width = (until + 1).div_ceil(BARS).max(1);
        let mut counts = vec![0; until / width + 1];
        let last = counts.len() - 1;
        lengths.iter().for_each(|length| counts[(length / width).min(last)] += 1);
        Histogram { width, open: *most >= (last + 1) * width, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(lengths: &[usize], truncated: &[u32]) -> Encoded {
        let offsets = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        let offsets: Vec<usize> = std::iter::once(0).chain(offsets).collect();
        let tokens = lengths.iter().sum();
        let truncated = truncated.to_vec();
        Encoded { ids: vec![1; tokens], offsets, truncated, unknown: 2, ..Encoded::default() }
    }

    #[test]
    fn what_was_cut_counts_as_length() {
        let found = Lengths::of(&encoded(&[4, 2, 10, 10], &[0, 0, 5, 0]));
        let shown = [found.rows, found.tokens, found.least, found.median, found.most_of_95, found.most];
        assert_eq!(shown, [4, 26, 2, 10, 15, 15]);
        assert_eq!((found.cut_rows, found.cut_tokens, found.share_cut()), (1, 5, 0.25));
        assert!((found.share_unknown() - 2.0 / 26.0).abs() < 1e-12);
        assert_eq!(found.histogram.counts.iter().sum::<usize>(), 4);
    }

    #[test]
    fn few_long_rows_do_not_press_the_bars_together() {
        let mut lengths = vec![5; 500];
        lengths.extend([6; 499]);
        lengths.push(100_000);
        let found = Lengths::of(&encoded(&lengths, &vec![0; 1000])).histogram;
        assert_eq!((found.width, found.counts), (1, vec![0, 0, 0, 0, 0, 500, 500]));
        assert!(found.open);
        let wide = Lengths::of(&encoded(&(1..=640).collect::<Vec<_>>(), &vec![0; 640])).histogram;
        assert!(wide.counts.len() <= 32 && wide.counts.iter().sum::<usize>() == 640, "{wide:?}");
    }

    #[test]
    fn no_row_and_one_row() {
        let none = Lengths::of(&Encoded { offsets: vec![0], ..Encoded::default() });
        assert_eq!(none, Lengths::default());
        assert_eq!((none.share_cut(), none.share_unknown()), (0.0, 0.0));
        let one = Lengths::of(&encoded(&[3], &[0]));
        assert_eq!([one.least, one.median, one.most_of_95, one.most], [3; 4]);
    }
}
