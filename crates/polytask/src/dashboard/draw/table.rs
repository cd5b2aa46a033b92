//! Lines of a table on a narrow screen: columns that matter less are left out first, then the first column is cut.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The least that is left of the first column.
const LEAST: usize = 6;

/// A table whose columns are chosen for a width.
pub struct TableLines<'a> {
    header: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
    widths: Vec<usize>,
}

impl<'a> TableLines<'a> {
    /// Of `columns`, each with how soon it is left out, those that fit into `width`. Columns without a cell are left out in any case.
    pub fn new<const N: usize>(
        columns: &'a [(&str, u8); N],
        rows: &'a [[String; N]],
        width: usize,
    ) -> TableLines<'a> {
        let of_column = |c: usize| rows.iter().map(|row| row[c].width()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..N).map(|c| of_column(c).max(columns[c].0.width())).collect();
        let mut kept: Vec<usize> = (0..N).filter(|c| *c == 0 || of_column(*c) > 0).collect();
        let total =
            |kept: &[usize], first: usize| first + kept.iter().skip(1).map(|c| widths[*c] + 2).sum::<usize>();
        // A first column that could be cut costs no other column.
        let first = widths[0].min(width / 3).max(LEAST);
        while kept.len() > 1 && total(&kept, first) > width {
            let least = kept.iter().copied().max_by_key(|c| columns[*c].1).expect("there are columns");
            kept.retain(|c| *c != least);
        }
        let rest = total(&kept, 0);
        let first = widths[0].min(width.saturating_sub(rest));
        TableLines {
            header: kept.iter().map(|c| columns[*c].0).collect(),
            rows: rows.iter().map(|row| kept.iter().map(|c| row[*c].as_str()).collect()).collect(),
            widths: kept.iter().enumerate().map(|(at, c)| if at == 0 { first } else { widths[*c] }).collect(),
        }
    }

    /// The names of the columns.
    pub fn header(&self) -> String {
        self.line(&self.header)
    }

    /// A row.
    pub fn row(&self, row: usize) -> String {
        self.line(&self.rows[row])
    }

    /// Columns of numbers stand right, with their names.
    fn line(&self, cells: &[&str]) -> String {
        let padded = |(column, cell): (usize, &&str)| {
            let cell = cut(cell, self.widths[column]);
            let space = " ".repeat(self.widths[column].saturating_sub(cell.width()));
            let mut filled = self.rows.iter().map(|row| row[column]).filter(|cell| !cell.is_empty());
            let is_number = column > 0
                && filled.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)));
            if is_number { format!("{space}{cell}") } else { format!("{cell}{space}") }
        };
        cells.iter().enumerate().map(padded).collect::<Vec<_>>().join("  ")
    }
}

/// A text of at most `to` columns; what is cut is marked.
pub fn cut(text: &str, to: usize) -> String {
    if text.width() <= to {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut width = 0;
    for sign in text.chars() {
        width += sign.width().unwrap_or(0);
        if width + 1 > to {
            break;
        }
        out.push(sign);
    }
    if to > 0 { out + "…" } else { out }
}
