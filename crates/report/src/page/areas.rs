//! Shares that add up to the whole, stacked over an axis.

use super::escape::{escape, short};
use super::field::{FIELD, HEIGHT, WIDTH, axes, fill, legend, place};
use crate::axis::{Axis, Scale};

/// Places along the axis that are drawn at most.
const PLACES: usize = 400;
/// A layer that is so high at the right end, in pixels, has its name in it.
const NAMED: f64 = 15.0;

/// Shares over an axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Areas {
    /// What lies along it, such as `step`.
    pub x: String,
    /// Where along it the shares are known, rising.
    pub at: Vec<f64>,
    /// The layers from the bottom up: each one's name and its amount at each place, in any unit. What is no number, and what is
    /// below 0, counts as 0. Amounts are drawn as shares of their sum.
    pub layers: Vec<(String, Vec<f64>)>,
}

pub(super) fn render(caption: &str, areas: &Areas) -> String {
    let amount = |layer: &(String, Vec<f64>), i: usize| {
        layer.1.get(i).copied().filter(|v| v.is_finite() && *v > 0.0).unwrap_or(0.0)
    };
    let sum = |i: usize| areas.layers.iter().map(|layer| amount(layer, i)).sum::<f64>();
    let every = areas.at.len().div_ceil(PLACES).max(1);
    let last = areas.at.len().saturating_sub(1);
    // Where nothing is, there are no shares.
    let drawn: Vec<usize> = (0..areas.at.len())
        .filter(|i| (i % every == 0 || *i == last) && areas.at[*i].is_finite() && sum(*i) > 0.0)
        .collect();
    let x = Axis::over(Scale::Linear, drawn.iter().map(|i| areas.at[*i]));
    let y = Axis::over(Scale::Linear, [0.0, 100.0].into_iter());
    let names: Vec<&str> = areas.layers.iter().map(|(name, _)| name.as_str()).collect();
    let mut out = format!(
        "<svg width=\"{WIDTH}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escape(&format!("{caption}: shares of {} by {}", names.join(", "), areas.x))
    );
    let mut base = vec![0.0; drawn.len()];
    let (mut entries, mut labels) = (Vec::new(), String::new());
    for (index, layer) in areas.layers.iter().enumerate() {
        let name = &layer.0;
        let top: Vec<f64> =
            drawn.iter().zip(&base).map(|(i, base)| base + amount(layer, *i) / sum(*i)).collect();
        out += &area(name, index, &drawn, areas, [&base, &top], &x);
        if let (Some(low), Some(high)) = (base.last(), top.last())
            && (high - low) * FIELD.1 >= NAMED
        {
            let (right, middle) = place(1.0, (low + high) / 2.0);
            labels += &format!(
                "<text class=\"end onarea\" x=\"{:.1}\" y=\"{:.1}\">{} {:.0} %</text>\n",
                right - 5.0,
                middle + 4.0,
                escape(&short(name, 24)),
                100.0 * (high - low)
            );
        }
        let sample = format!("<rect class=\"{}\" width=\"26\" height=\"12\"/>", fill(index));
        entries.push((sample, name.clone()));
        base = top;
    }
    out += &axes((&areas.x, &x), ("share, %", &y));
    out += &labels;
    out + "</svg>\n" + &legend(&entries)
}

/// One layer, from its lower edge to its upper one.
fn area(name: &str, layer: usize, drawn: &[usize], areas: &Areas, edges: [&[f64]; 2], x: &Axis) -> String {
    let at = |i: &usize, y: f64| {
        let (px, py) = place(x.position(areas.at[*i]).unwrap_or(0.0), y);
        format!("{px:.1},{py:.1}")
    };
    let points: Vec<String> = match drawn {
        [] => return String::new(),
        // One place alone fills the field.
        [_] => {
            let (low, high) = (edges[0][0], edges[1][0]);
            let corner = |x: f64, y: f64| {
                let (px, py) = place(x, y);
                format!("{px:.1},{py:.1}")
            };
            vec![corner(0.0, low), corner(1.0, low), corner(1.0, high), corner(0.0, high)]
        }
        _ => {
            let lower = drawn.iter().zip(edges[0]).map(|(i, y)| at(i, *y));
            let upper = drawn.iter().zip(edges[1]).rev().map(|(i, y)| at(i, *y));
            lower.chain(upper).collect()
        }
    };
    let share = |edge: fn(&[f64]) -> Option<&f64>| {
        edge(edges[1]).zip(edge(edges[0])).map_or(0.0, |(high, low)| 100.0 * (high - low))
    };
    format!(
        "<polygon class=\"area {}\" points=\"{}\"><title>{}: {:.1} % at first, {:.1} % at last</title></polygon>\n",
        fill(layer),
        points.join(" "),
        escape(name),
        share(<[f64]>::first),
        share(<[f64]>::last),
    )
}
