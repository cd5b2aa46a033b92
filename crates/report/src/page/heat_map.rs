//! A matrix of coloured cells, with their values written in them.

use super::escape::{escape, short};

const CELL: f64 = 62.0;
const LINE: f64 = 30.0;
/// Room for the names of the rows, and for those of the columns.
const NAMES: f64 = 142.0;
const HEAD: f64 = 26.0;
/// Letters that there is room for beside a row, and above a column.
const LETTERS: [usize; 2] = [18, 8];

/// A matrix.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeatMap {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Each row's name and cells; `None` where there is nothing to tell.
    pub rows: Vec<(String, Vec<Option<Cell>>)>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// How strong its colour is, 0 to 1; what is outside is taken for the nearest of these, what is no
    /// number for 0.
    pub strength: f64,
    /// What is written in it.
    pub text: String,
    /// What is shown where a pointer rests on it.
    pub title: String,
}

pub(super) fn render(caption: &str, map: &HeatMap) -> String {
    let (width, height) =
        (NAMES + CELL * map.columns.len() as f64, HEAD + LINE * map.rows.len() as f64 + 2.0);
    let mut out = format!(
        "<svg width=\"{width}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(caption)
    );
    for (i, name) in map.columns.iter().enumerate() {
        let x = NAMES + CELL * (i as f64 + 0.5);
        out += &format!(
            "<text class=\"middle\" x=\"{x:.1}\" y=\"16\">{}<title>{}</title></text>\n",
            escape(&short(name, LETTERS[1])),
            escape(name)
        );
    }
    for (r, (name, cells)) in map.rows.iter().enumerate() {
        let top = HEAD + LINE * r as f64;
        out += &format!(
            "<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}<title>{}</title></text>\n",
            NAMES - 6.0,
            top + 19.0,
            escape(&short(name, LETTERS[0])),
            escape(name)
        );
        for (c, cell) in cells.iter().enumerate() {
            out += &square(cell.as_ref(), NAMES + CELL * c as f64, top);
        }
    }
    out + "</svg>\n"
}

fn square(cell: Option<&Cell>, x: f64, y: f64) -> String {
    let (wide, high) = (CELL - 2.0, LINE - 2.0);
    let Some(cell) = cell else {
        return format!(
            "<rect class=\"none\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide}\" height=\"{high}\"/>\n"
        );
    };
    let strength = if cell.strength.is_nan() { 0.0 } else { cell.strength.clamp(0.0, 1.0) };
    let class = if strength > 0.7 { "middle on" } else { "middle" };
    format!(
        "<g><title>{}</title><rect class=\"none\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide}\" height=\"{high}\"/>\
         <rect class=\"heat\" fill-opacity=\"{strength:.2}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide}\" height=\"{high}\"/>\
         <text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>\n",
        escape(&cell.title),
        x + wide / 2.0,
        y + 18.5,
        escape(&cell.text)
    )
}
