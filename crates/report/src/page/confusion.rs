//! What was answered for what is true.

use super::heat_map::{Row, Square, matrix};
use super::table::{self, Align};

/// Labels that a matrix has room for.
const MOST: usize = 15;
/// Pairs that the table of more labels lists.
const PAIRS: usize = 20;

/// How often each label was answered for each true one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confusion {
    /// The labels, in their order.
    pub labels: Vec<String>,
    /// Index of the true label, index of the answer, how often. A pair may occur more than once: its counts add up. Pairs that are
    /// not named occur never; indices without a label are left out.
    pub counts: Vec<(usize, usize, u64)>,
}

impl Confusion {
    /// Labels by labels: `[true][answer]`, one after the other.
    fn dense(&self) -> Vec<u64> {
        let n = self.labels.len();
        let mut dense = vec![0; n * n];
        for (gold, answer, count) in &self.counts {
            if *gold < n && *answer < n {
                dense[gold * n + answer] += count;
            }
        }
        dense
    }
}

/// What is drawn: a figure, or a table where there are too many labels.
pub(super) enum Rendered {
    Figure(String),
    Table(String),
}

pub(super) fn render(caption: &str, confusion: &Confusion) -> Rendered {
    let n = confusion.labels.len();
    let dense = confusion.dense();
    let row = |gold: usize| dense.get(gold * n..(gold + 1) * n).unwrap_or_default();
    let sum = |gold: usize| row(gold).iter().sum::<u64>();
    let share = |count: u64, gold: usize| if sum(gold) == 0 { 0.0 } else { count as f64 / sum(gold) as f64 };
    if n > MOST {
        let mut pairs: Vec<(u64, usize, usize)> = (0..n)
            .flat_map(|gold| row(gold).iter().enumerate().map(move |(answer, count)| (*count, gold, answer)))
            .filter(|(count, gold, answer)| *count > 0 && gold != answer)
            .collect();
        pairs.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let lines: Vec<Vec<String>> = pairs
            .iter()
            .take(PAIRS)
            .map(|(count, gold, answer)| {
                let share = format!("{:.1} %", 100.0 * share(*count, *gold));
                vec![
                    confusion.labels[*gold].clone(),
                    confusion.labels[*answer].clone(),
                    count.to_string(),
                    share,
                ]
            })
            .collect();
        let (words, figures) = (Align::Words, Align::Figures);
        let header =
            [("gold", words), ("predicted", words), ("times", figures), ("of the gold label", figures)];
        return Rendered::Table(table::render(&header, &lines));
    }
    let texts: Vec<(String, String)> = (0..n * n)
        .map(|i| {
            let (gold, answer, count) = (i / n, i % n, dense[i]);
            let text = match count {
                0 => "·".to_owned(),
                100_000.. => format!("{} k", count / 1000),
                _ => count.to_string(),
            };
            let title = format!(
                "gold {}, predicted {}: {count}, {:.1} % of {}",
                confusion.labels[gold],
                confusion.labels[answer],
                100.0 * share(count, gold),
                sum(gold)
            );
            (text, title)
        })
        .collect();
    let rows: Vec<Row<'_>> = (0..n)
        .map(|gold| {
            let cells = (0..n).map(|answer| {
                let (text, title) = &texts[gold * n + answer];
                let colour = if gold == answer { "plus" } else { "minus" };
                let strength = share(dense[gold * n + answer], gold);
                Some(Square { colour, strength, uncertain: false, text, title })
            });
            (confusion.labels[gold].as_str(), cells.collect())
        })
        .collect();
    Rendered::Figure(matrix(caption, 46.0, &confusion.labels, &rows))
}
