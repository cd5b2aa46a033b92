//! Columns side by side over an axis.

use super::escape::escape;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 120.0;
/// Room below the columns for the axis.
const AXIS: f64 = 34.0;
/// Room at the right for the last label.
const MARGIN: f64 = 22.0;
/// The most labels on the axis.
const LABELS: usize = 6;

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What stands below it.
    pub label: String,
    /// How high it is, in any unit; below 0 and what is no number count as 0.
    pub value: f64,
    /// What is shown where a pointer rests on it.
    pub title: String,
}

pub(super) fn render(caption: &str, axis: &str, columns: &[Column]) -> String {
    let height = |value: f64| if value > 0.0 && value.is_finite() { value } else { 0.0 };
    let most = columns.iter().map(|column| height(column.value)).fold(0.0, f64::max);
    let each = WIDTH / columns.len().max(1) as f64;
    let every = columns.len().div_ceil(LABELS).max(1);
    let mut out = format!(
        "<svg width=\"{0}\" viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{2}\">\n",
        WIDTH + MARGIN,
        HEIGHT + AXIS,
        escape(caption)
    );
    for (i, column) in columns.iter().enumerate() {
        let tall = if most > 0.0 { height(column.value) / most * (HEIGHT - 4.0) } else { 0.0 };
        // What is there at all shows.
        let tall = if height(column.value) > 0.0 { tall.max(1.0) } else { 0.0 };
        let (x, wide) = (i as f64 * each, (each - 1.0).max(0.5));
        out += &format!(
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\"><title>{}</title></rect>\n",
            HEIGHT - tall,
            escape(&column.title)
        );
        if i % every == 0 {
            out +=
                &format!("<text x=\"{x:.1}\" y=\"{:.1}\">{}</text>\n", HEIGHT + 14.0, escape(&column.label));
        }
    }
    out += &format!("<path class=\"axis\" d=\"M0 {HEIGHT}H{WIDTH}\"/>\n");
    out += &format!(
        "<text class=\"quiet end\" x=\"{WIDTH}\" y=\"{:.1}\">{}</text>\n</svg>\n",
        HEIGHT + AXIS - 6.0,
        escape(axis)
    );
    out
}
