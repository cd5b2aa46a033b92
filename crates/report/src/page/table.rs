//! Tables of text.

use super::escape::escape;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words, to the left.
    Words,
    /// Figures, to the right.
    Figures,
}

/// A table that scrolls by itself where it is too wide.
pub(super) fn render(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let class = |column: usize| match header.get(column) {
        Some((_, Align::Figures)) => " class=\"n\"",
        _ => "",
    };
    let heads = header.iter().enumerate();
    let heads: String =
        heads.map(|(i, (text, _))| format!("<th{} scope=\"col\">{}</th>", class(i), escape(text))).collect();
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate();
        let cells: String = cells.map(|(i, text)| format!("<td{}>{}</td>", class(i), escape(text))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let lines: String = rows.iter().map(line).collect();
    format!(
        "<div class=\"wide\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>\n"
    )
}
