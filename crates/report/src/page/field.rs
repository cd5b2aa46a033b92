//! What line charts and areas have in common: the field that they are drawn in, its axes, colours and the legend.

use super::escape::{escape, short};
use crate::axis::Axis;

/// The image, and the field within it.
pub(super) const WIDTH: f64 = 384.0;
pub(super) const HEIGHT: f64 = 242.0;
pub(super) const LEFT: f64 = 46.0;
pub(super) const TOP: f64 = 28.0;
pub(super) const FIELD: (f64, f64) = (WIDTH - LEFT - 12.0, HEIGHT - TOP - 38.0);
/// Letters of a name in a legend.
const LETTERS: usize = 34;
/// Colours (`--c0` and so on in `style.css`) and ways to break a line.
const COLOURS: usize = 8;
const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

/// Where a share of the field lies in the image, from its left and from its bottom.
pub(super) fn place(x: f64, y: f64) -> (f64, f64) {
    (LEFT + x * FIELD.0, TOP + (1.0 - y) * FIELD.1)
}

/// The class that gives a line its colour: `s0` and so on.
pub(super) fn stroke(colour: usize) -> String {
    format!("s{}", colour % COLOURS)
}

/// The class that gives an area its colour; paler where all colours are in use.
pub(super) fn fill(colour: usize) -> String {
    format!("f{}{}", colour % COLOURS, if colour / COLOURS % 2 == 1 { " faint" } else { "" })
}

/// How the `i`-th line is broken, so that no two of the first 32 have both the same colour and the same dashes.
pub(super) fn dash_of(i: usize) -> usize {
    i + i / COLOURS
}

/// The attribute that breaks a line.
pub(super) fn dashes(dash: usize) -> String {
    match DASHES[dash % DASHES.len()] {
        "" => String::new(),
        dashes => format!(" stroke-dasharray=\"{dashes}\""),
    }
}

/// Grid lines, what is written at them, and the titles of the axes.
pub(super) fn axes(x: (&str, &Axis), y: (&str, &Axis)) -> String {
    let (right, bottom) = (LEFT + FIELD.0, TOP + FIELD.1);
    let mut out = String::new();
    let x_ticks: Vec<(f64, String)> = x.1.ticks().into_iter().map(compact).collect();
    // Long numbers need more room than there is between many ticks.
    let longest = x_ticks.iter().map(|(_, written)| written.len()).max().unwrap_or(1);
    let every = (x_ticks.len() * (longest * 7 + 10)).div_ceil(FIELD.0 as usize).max(1);
    for (i, (value, written)) in x_ticks.iter().enumerate() {
        let at = LEFT + x.1.position(*value).unwrap_or(0.0) * FIELD.0;
        out += &format!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
        if i % every == 0 {
            out +=
                &format!("<text class=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{written}</text>", bottom + 14.0);
        }
    }
    for (value, written) in y.1.ticks().into_iter().map(compact) {
        let at = bottom - y.1.position(value).unwrap_or(0.0) * FIELD.1;
        out += &format!(
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{written}</text>",
            LEFT - 5.0,
            at + 4.0
        );
    }
    out += &format!(
        "\n<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n\
         <text class=\"quiet end\" x=\"{right}\" y=\"{:.1}\">{}</text>\n\
         <text class=\"quiet\" x=\"4\" y=\"11\">{}</text>\n",
        bottom + 31.0,
        escape(&short(x.0, 44)),
        escape(&short(y.0, 50)),
    );
    out
}

/// A tick of more than five digits in thousands or millions, one of many decimals by a power of ten.
fn compact((value, written): (f64, String)) -> (f64, String) {
    let size = value.abs();
    let written = match size {
        _ if written.contains('e') => written,
        _ if value == 0.0 => "0".into(),
        // Of steps of the axis, which have one or two digits, nothing is lost.
        _ if size < 1.0 && written.trim_start_matches('-').len() > 6 => {
            let written: f64 = written.parse().unwrap_or(value);
            format!("{written:e}")
        }
        _ if size >= 1e6 => format!("{} M", value / 1e6),
        _ if size >= 1e5 => format!("{} k", value / 1e3),
        _ => written,
    };
    (value, written)
}

/// Names beside samples of what they name; a list below the image, that wraps.
pub(super) fn legend(entries: &[(String, String)]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let entry = |(sample, name): &(String, String)| {
        format!(
            "<li title=\"{}\"><svg width=\"26\" height=\"12\" viewBox=\"0 0 26 12\" aria-hidden=\"true\">{sample}</svg>{}</li>\n",
            escape(name),
            escape(&short(name, LETTERS))
        )
    };
    let entries: String = entries.iter().map(entry).collect();
    format!("<ul class=\"legend\">\n{entries}</ul>\n")
}

/// A value as people read it: about four significant digits, whole numbers whole.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e9 {
        return format!("{value}");
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_differ() {
        let styles: std::collections::BTreeSet<String> =
            (0..32).map(|i| stroke(i) + &dashes(dash_of(i))).collect();
        assert_eq!(styles.len(), 32);
    }

    #[test]
    fn great_ticks_are_short() {
        let written =
            [0.25, 20_000.0, 120_000.0, 2_500_000.0].map(|value| compact((value, format!("{value}"))).1);
        assert_eq!(written, ["0.25", "20000", "120 k", "2.5 M"]);
        let small = [0.0, 0.00005, -0.00015, 0.0015].map(|value| compact((value, format!("{value:.5}"))).1);
        assert_eq!(small, ["0", "5e-5", "-1.5e-4", "1.5e-3"]);
    }

    #[test]
    fn numbers_have_four_digits() {
        let written = [3.0, 0.123456, 12.3456, 1234.5678, 0.00002, -0.5, 2.5e7, 20000.0].map(number);
        assert_eq!(written, ["3", "0.1235", "12.35", "1235", "2.000e-5", "-0.5000", "25000000", "20000"]);
    }
}
