//! Texts that stand in more than one place: inside a split, in two splits of a corpus, in two corpora.

use super::splits::Side;
use data::Split;
use data::survey::{Duplicates, Index, duplicates, shared, text_of};
use serde::Serialize;

/// How much of a text an example shows, in characters.
const EXCERPT: usize = 90;

/// Rows of one place that stand in another, too, or twice in the same.
#[derive(Debug, Serialize)]
pub struct Repeated {
    /// The rows that are counted.
    pub rows_of: Place,
    /// Where their texts stand, too.
    pub found_in: Place,
    /// How many.
    pub rows: usize,
    /// Of how many.
    pub of: usize,
    /// How many different texts.
    pub texts: usize,
    /// How many of the rows are so short that they recur by chance.
    pub short: usize,
    /// The longest of them.
    pub examples: Vec<Example>,
}

/// A split of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The name of the view.
    pub corpus: String,
    /// The split.
    pub split: Split,
}

/// A text and where it stands.
#[derive(Debug, Serialize)]
pub struct Example {
    /// File and line of the row.
    pub row: String,
    /// File and line of the row elsewhere.
    pub elsewhere: String,
    /// How the text begins.
    pub text: String,
}

impl Repeated {
    /// The fraction of the rows, 0 to 1.
    pub fn fraction(&self) -> f64 {
        self.rows as f64 / self.of.max(1) as f64
    }

    /// The fraction of the rows that are repeated and no short texts, 0 to 1.
    pub fn long_text_fraction(&self) -> f64 {
        (self.rows - self.short) as f64 / self.of.max(1) as f64
    }

    /// Whether rows that are held out stand where the model learns.
    pub fn leaks(&self) -> bool {
        self.rows_of.split != Split::Train && self.found_in.split == Split::Train
    }
}

/// Repeated rows of all sides: inside each split; held-out rows in any training split and test rows in the validation split of
/// their corpus; training rows that two corpora share. Two ways to read one corpus are not compared with each other.
pub fn find(sides: &[Side<'_>]) -> Vec<Repeated> {
    use Split::{Test, Train, Validation};
    let mut found = Vec::new();
    for side in sides {
        for (split, keys) in &side.rows {
            found.push(described((side, *split), (side, *split), duplicates(keys)));
        }
    }
    for (b, other) in sides.iter().enumerate() {
        for (split, keys) in &other.texts {
            let index = Index::of(keys);
            for (a, side) in sides.iter().enumerate() {
                let apart = side.corpus() != other.corpus();
                let from: &[Split] = match split {
                    Train if apart && a < b => &[Test, Validation, Train],
                    Train if apart || a == b => &[Test, Validation],
                    Validation if a == b => &[Test],
                    _ => &[],
                };
                for from in from {
                    if let Some(keys) = side.texts.get(from) {
                        found.push(described((side, *from), (other, *split), shared(keys, &index)));
                    }
                }
            }
        }
    }
    found.retain(|repeated| repeated.rows > 0);
    found
}

fn described(rows_of: (&Side<'_>, Split), found_in: (&Side<'_>, Split), found: Duplicates) -> Repeated {
    let place = |(side, split): (&Side<'_>, Split)| Place { corpus: side.name.clone(), split };
    let stands = |(side, split): (&Side<'_>, Split), row: usize| {
        side.views.get(&split).and_then(|view| view.rows.get(row)).map(|row| row.place.to_string())
    };
    let example = |(row, elsewhere): &(usize, usize)| Example {
        row: stands(rows_of, *row).unwrap_or_default(),
        elsewhere: stands(found_in, *elsewhere).unwrap_or_default(),
        text: excerpt(&rows_of.0.views.get(&rows_of.1).map(|view| text_of(view, *row)).unwrap_or_default()),
    };
    Repeated {
        examples: found.examples.iter().map(example).collect(),
        rows_of: place(rows_of),
        found_in: place(found_in),
        rows: found.rows,
        of: found.of,
        texts: found.texts,
        short: found.short,
    }
}

fn excerpt(text: &str) -> String {
    let cut: String = text.chars().take(EXCERPT).collect();
    if cut.len() < text.len() { cut + "…" } else { cut }
}
