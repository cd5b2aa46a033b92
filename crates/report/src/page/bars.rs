//! Bars below each other.

use super::escape::{escape, short};

const WIDTH: f64 = 360.0;
const LINE: f64 = 20.0;
/// Where the bars begin, and the room behind the longest for its value.
const LABEL: f64 = 142.0;
const VALUE: f64 = 60.0;
/// Letters that there is room for.
const LETTERS: usize = 18;

/// A bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What stands before it.
    pub label: String,
    /// How long it is, in any unit; below 0 and what is no number count as 0.
    pub value: f64,
    /// What stands behind it.
    pub text: String,
}

impl Bar {
    /// A bar of a label, its length and the text behind it.
    pub fn new(label: impl Into<String>, value: f64, text: impl Into<String>) -> Bar {
        Bar { label: label.into(), value, text: text.into() }
    }
}

pub(super) fn render(caption: &str, bars: &[Bar]) -> String {
    let length = |value: f64| if value > 0.0 && value.is_finite() { value } else { 0.0 };
    let most = bars.iter().map(|bar| length(bar.value)).fold(0.0, f64::max);
    let height = LINE * bars.len() as f64 + 2.0;
    let mut out = format!(
        "<svg width=\"{WIDTH}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(caption)
    );
    for (i, bar) in bars.iter().enumerate() {
        let long = if most > 0.0 { length(bar.value) / most * (WIDTH - LABEL - VALUE) } else { 0.0 };
        let long = if length(bar.value) > 0.0 { long.max(1.0) } else { 0.0 };
        let (top, text) = (i as f64 * LINE, i as f64 * LINE + 14.0);
        out += &format!(
            "<g><title>{label}: {value}</title><text class=\"end\" x=\"{:.1}\" y=\"{text:.1}\">{shown}</text>\
             <rect class=\"bar\" x=\"{LABEL}\" y=\"{:.1}\" width=\"{long:.1}\" height=\"{:.1}\"/>\
             <text class=\"quiet\" x=\"{:.1}\" y=\"{text:.1}\">{value}</text></g>\n",
            LABEL - 6.0,
            top + 3.0,
            LINE - 5.0,
            LABEL + long + 5.0,
            label = escape(&bar.label),
            shown = escape(&short(&bar.label, LETTERS)),
            value = escape(&bar.text),
        );
    }
    out + "</svg>\n"
}
