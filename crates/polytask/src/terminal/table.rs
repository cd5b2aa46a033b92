//! Plain text tables: columns as wide as their widest cell, numbers to the right.

use super::escape::one_line;

/// A table that is filled row by row and printed once.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    rules: Vec<usize>,
}

impl Table {
    /// A table whose first row is `header`, underlined.
    pub fn new(header: &[&str]) -> Table {
        let mut table = Table::default();
        table.row(header.iter().map(|cell| cell.to_string()));
        table.rules.push(1);
        table
    }

    /// Appends a row. Rows may be shorter than the header. What would command a terminal is escaped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) -> &mut Table {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell).into_owned()).collect());
        self
    }

    /// Draws a line under the rows so far.
    pub fn rule(&mut self) -> &mut Table {
        self.rules.push(self.rows.len());
        self
    }

    /// The table, each line indented by two spaces and ended by a line break. In a terminal wide cells are cut, so that a line of the
    /// table is a line there.
    pub fn render(&self) -> String {
        self.render_within(super::width())
    }

    fn render_within(&self, most: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns)
            .map(|c| self.rows.iter().filter_map(|row| row.get(c)).map(|cell| width(cell)).max().unwrap_or(0))
            .collect();
        if let Some(most) = most {
            shrink(&mut widths, most.saturating_sub(2 * columns));
        }
        let line = "─".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1));
        let mut out = String::new();
        for (r, row) in self.rows.iter().enumerate() {
            if self.rules.contains(&r) {
                out.push_str(&format!("  {line}\n"));
            }
            let cells: Vec<String> =
                row.iter().enumerate().map(|(c, cell)| self.pad(c, cell, widths[c])).collect();
            out.push_str(format!("  {}", cells.join("  ")).trim_end());
            out.push('\n');
        }
        out
    }

    /// A column of figures is set to the right, with its header; a column of words to the left.
    fn pad(&self, column: usize, cell: &str, to: usize) -> String {
        let cell = &cut(cell, to);
        let space = " ".repeat(to - width(cell));
        let figures =
            self.rows.iter().skip(1).filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty());
        let right = figures.clone().next().is_some()
            && figures
                .clone()
                .all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || "+-−–<>".contains(c)));
        if right { format!("{space}{cell}") } else { format!("{cell}{space}") }
    }
}

/// Columns that a text takes on a terminal: wide for Chinese, Japanese and Korean, none for combining marks.
/// Makes the widest columns narrower until all together have `most` columns of the terminal, but none narrower than can be read.
fn shrink(widths: &mut [usize], most: usize) {
    const LEAST: usize = 16;
    while widths.iter().sum::<usize>() > most {
        let Some(widest) = widths.iter_mut().max().filter(|width| **width > LEAST) else { return };
        *widest -= 1;
    }
}

/// A cell of at most `to` columns; what is cut is marked.
fn cut(cell: &str, to: usize) -> String {
    if width(cell) <= to {
        return cell.to_owned();
    }
    let mut out = String::new();
    for sign in cell.chars() {
        if width(&out) + width(sign.encode_utf8(&mut [0; 4])) >= to {
            break;
        }
        out.push(sign);
    }
    out + "…"
}

fn width(text: &str) -> usize {
    text.chars()
        .map(|c| match c as u32 {
            0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
            0xff00..=0xff60 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_right_and_words_left() {
        let mut table = Table::new(&["task", "score"]);
        table.row(["intent".into(), "98.9".into()]).row(["名前".into(), "7.1".into()]);
        assert_eq!(table.render(), "  task    score\n  ─────────────\n  intent   98.9\n  名前      7.1\n");
    }

    #[test]
    fn wide_cells_are_cut_to_the_terminal() {
        let mut table = Table::new(&["task", "labels"]);
        table.row(["a".into(), "东京 and many other labels that nobody wants to read in a line".into()]);
        let cut = table.render_within(Some(40));
        assert!(cut.lines().all(|line| width(line) <= 40), "{cut}");
        assert!(cut.contains("东京 and many") && cut.contains('…'), "{cut}");
        assert!(!table.render_within(None).contains('…'));
        // Nothing is narrower than can be read.
        assert!(table.render_within(Some(5)).contains("东京 and many"));
    }
}
