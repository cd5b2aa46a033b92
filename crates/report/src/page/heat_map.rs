//! Matrices of coloured cells, with their values written in them.

use super::escape::{escape, short};
use super::field::legend;

const LINE: f64 = 30.0;
/// Letters that there is room for beside a row.
const LETTERS: usize = 18;

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

/// A matrix of values to both sides of 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SignedHeatMap {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Each row's name and cells; `None` where there is nothing to tell.
    pub rows: Vec<(String, Vec<Option<SignedCell>>)>,
    /// What values below 0 mean, and what those above 0 mean, such as `hurts` and `helps`: for the legend.
    pub ends: (String, String),
}

/// One cell of a [`SignedHeatMap`].
#[derive(Debug, Clone, PartialEq)]
pub struct SignedCell {
    /// Its value as a fraction of the greatest: -1 to 1; what is outside is taken for the nearest of these, what is no number for 0.
    pub value: f64,
    /// Whether it may be chance. It is then drawn pale, with a broken border and a quiet text.
    pub uncertain: bool,
    /// What is written in it.
    pub text: String,
    /// What is shown where a pointer rests on it.
    pub title: String,
}

/// How a cell is drawn, whatever it is of.
pub(super) struct Square<'a> {
    /// The class of its colour: `heat`, `plus` or `minus`.
    pub colour: &'static str,
    /// 0 to 1.
    pub strength: f64,
    pub uncertain: bool,
    pub text: &'a str,
    pub title: &'a str,
}

pub(super) fn render(caption: &str, map: &HeatMap) -> String {
    fn square(cell: &Cell) -> Square<'_> {
        let (text, title) = (&cell.text, &cell.title);
        Square { colour: "heat", strength: cell.strength, uncertain: false, text, title }
    }
    matrix(caption, 62.0, &map.columns, &squares(&map.rows, square))
}

pub(super) fn render_signed(caption: &str, map: &SignedHeatMap) -> String {
    fn square(cell: &SignedCell) -> Square<'_> {
        let colour = if cell.value < 0.0 { "minus" } else { "plus" };
        let (strength, uncertain) = (cell.value.abs(), cell.uncertain);
        Square { colour, strength, uncertain, text: &cell.text, title: &cell.title }
    }
    let svg = matrix(caption, 62.0, &map.columns, &squares(&map.rows, square));
    let sample =
        |class: &str| format!("<rect class=\"{class}\" x=\"1\" y=\"1\" width=\"24\" height=\"10\"/>");
    let mut entries = vec![(sample("minus"), map.ends.0.clone()), (sample("plus"), map.ends.1.clone())];
    if map.rows.iter().flat_map(|(_, cells)| cells).flatten().any(|cell| cell.uncertain) {
        entries.push((sample("none uncertain"), "may be chance".to_owned()));
    }
    svg + &legend(&entries)
}

/// What is drawn of each row.
fn squares<'a, C>(rows: &'a [(String, Vec<Option<C>>)], square: fn(&'a C) -> Square<'a>) -> Vec<Row<'a>> {
    let row = |(name, cells): &'a (String, Vec<Option<C>>)| {
        (name.as_str(), cells.iter().map(|cell| cell.as_ref().map(square)).collect())
    };
    rows.iter().map(row).collect()
}

/// A row's name and its cells.
pub(super) type Row<'a> = (&'a str, Vec<Option<Square<'a>>>);

/// A matrix whose cells are `cell` pixels wide. Where a column's name has no room above its cell, all names are slanted.
pub(super) fn matrix(caption: &str, cell: f64, columns: &[String], rows: &[Row<'_>]) -> String {
    let letters = |name: &str| short(name, LETTERS).chars().count() as f64;
    let names = 14.0 + 7.1 * rows.iter().map(|(name, _)| letters(name)).fold(2.0, f64::max);
    let room = (cell / 7.6) as usize;
    let longest = columns.iter().map(|name| short(name, LETTERS).chars().count()).max().unwrap_or(0);
    let slanted = longest > room;
    let head = if slanted { 16.0 + 4.4 * longest as f64 } else { 26.0 };
    // The last slanted name leans out over the right edge.
    let lean = if slanted { 5.6 * longest as f64 } else { 0.0 };
    let (width, height) = (names + cell * columns.len() as f64 + lean, head + LINE * rows.len() as f64 + 2.0);
    let mut out = format!(
        "<svg class=\"matrix\" width=\"{width:.0}\" style=\"min-width:{:.0}px\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         role=\"img\" aria-label=\"{}\">\n",
        // Narrower than this no value can be read: the figure scrolls.
        width * 0.78,
        escape(caption)
    );
    for (i, name) in columns.iter().enumerate() {
        let x = names + cell * (i as f64 + 0.5);
        let (class, at) = match slanted {
            true => ("", format!("transform=\"translate({:.1} {:.1}) rotate(-38)\"", x - 2.0, head - 6.0)),
            false => (" class=\"middle\"", format!("x=\"{x:.1}\" y=\"{:.1}\"", head - 10.0)),
        };
        out += &format!(
            "<text{class} {at}>{}<title>{}</title></text>\n",
            escape(&short(name, LETTERS)),
            escape(name)
        );
    }
    for (r, (name, cells)) in rows.iter().enumerate() {
        let top = head + LINE * r as f64;
        out += &format!(
            "<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}<title>{}</title></text>\n",
            names - 6.0,
            top + 19.0,
            escape(&short(name, LETTERS)),
            escape(name)
        );
        for (c, square) in cells.iter().enumerate() {
            out += &drawn(square.as_ref(), cell, names + cell * c as f64, top);
        }
    }
    out + "</svg>\n"
}

fn drawn(square: Option<&Square<'_>>, cell: f64, x: f64, y: f64) -> String {
    let (wide, high) = (cell - 2.0, LINE - 2.0);
    let area = format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide}\" height=\"{high}\"");
    let Some(square) = square else {
        return format!("<rect class=\"none\" {area}/>\n");
    };
    let strength = if square.strength.is_nan() { 0.0 } else { square.strength.clamp(0.0, 1.0) };
    let (strength, border, text) = match (square.uncertain, strength > 0.7) {
        (true, _) => (strength * 0.3, " uncertain", "middle quiet"),
        (false, true) => (strength, "", "middle on"),
        (false, false) => (strength, "", "middle"),
    };
    format!(
        "<g><title>{}</title><rect class=\"none{border}\" {area}/>\
         <rect class=\"{}\" fill-opacity=\"{strength:.2}\" {area}/>\
         <text class=\"{text}\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>\n",
        escape(square.title),
        square.colour,
        x + wide / 2.0,
        y + 18.5,
        escape(square.text)
    )
}
