//! Estimates with their confidence intervals, one below the other.

use super::escape::{escape, short};
use super::field::number;
use crate::axis::{Axis, Scale};

const WIDTH: f64 = 460.0;
const LINE: f64 = 21.0;
/// Where the field begins and how wide it is; what stands right of it is text.
const LEFT: f64 = 132.0;
const FIELD: f64 = 190.0;
const LETTERS: usize = 17;

/// Estimates on a common axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intervals {
    /// What is estimated, and its unit.
    pub axis: String,
    /// What it is called when a thing helps, hurts, and when neither can be said: the words stand beside each estimate.
    pub words: [String; 3],
    /// The estimates in their order; those that follow each other in one group stand below its name.
    pub items: Vec<Interval>,
}

/// One estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// What it is of.
    pub label: String,
    /// The name of its group; empty where there are none.
    pub group: String,
    /// The estimate.
    pub value: f64,
    /// Its interval; `None` where there is none, for example of one measurement alone.
    pub interval: Option<(f64, f64)>,
    /// What it says.
    pub effect: Effect,
    /// What is shown where a pointer rests on it.
    pub title: String,
}

/// What an estimate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Surely for the better.
    Helps,
    /// Surely for the worse.
    Hurts,
    /// Neither can be said.
    Unclear,
}

pub(super) fn render(caption: &str, intervals: &Intervals) -> String {
    let ends = |item: &Interval| {
        let (low, high) = item.interval.unwrap_or((item.value, item.value));
        [low, item.value, high]
    };
    let axis = Axis::over(Scale::Linear, intervals.items.iter().flat_map(ends).chain([0.0])).rounded();
    let at = |value: f64| axis.position(value).map(|share| LEFT + share.clamp(0.0, 1.0) * FIELD);
    let headings =
        intervals.items.iter().enumerate().filter(|(i, item)| begins_group(&intervals.items, *i, item));
    let lines = intervals.items.len() + headings.count();
    let height = LINE * lines as f64 + 40.0;
    let bottom = LINE * lines as f64 + 4.0;
    let mut out = format!(
        "<svg width=\"{WIDTH}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(caption)
    );
    for (i, (value, written)) in axis.ticks().iter().enumerate() {
        if let Some(x) = at(*value) {
            out += &format!("<path class=\"grid\" d=\"M{x:.1} 0V{bottom}\"/>");
            if i % 2 == 0 || axis.ticks().len() < 5 {
                out += &format!(
                    "<text class=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{written}</text>",
                    bottom + 14.0
                );
            }
        }
    }
    if let Some(zero) = at(0.0) {
        out += &format!("\n<path class=\"zero\" d=\"M{zero:.1} 0V{bottom}\"/>\n");
    }
    let mut top = 0.0;
    for (i, item) in intervals.items.iter().enumerate() {
        if begins_group(&intervals.items, i, item) {
            out += &format!(
                "<text class=\"strong\" x=\"0\" y=\"{:.1}\">{}</text>\n",
                top + 15.0,
                escape(&short(&item.group, 60))
            );
            top += LINE;
        }
        out += &line(intervals, item, top, at);
        top += LINE;
    }
    out += &format!(
        "<text class=\"quiet middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
        LEFT + FIELD / 2.0,
        bottom + 31.0,
        escape(&short(&intervals.axis, 60))
    );
    out + "</svg>\n"
}

fn begins_group(items: &[Interval], i: usize, item: &Interval) -> bool {
    let before =
        i.checked_sub(1).and_then(|before| items.get(before)).map_or("", |before| before.group.as_str());
    !item.group.is_empty() && item.group != before
}

fn line(intervals: &Intervals, item: &Interval, top: f64, at: impl Fn(f64) -> Option<f64>) -> String {
    let middle = top + LINE / 2.0;
    let (class, sign, word) = match item.effect {
        Effect::Helps => ("plus", "▲", &intervals.words[0]),
        Effect::Hurts => ("minus", "▼", &intervals.words[1]),
        Effect::Unclear => ("unclear", "○", &intervals.words[2]),
    };
    let mut out = format!(
        "<g><title>{}</title><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        escape(&item.title),
        LEFT - 8.0,
        middle + 4.0,
        escape(&short(&item.label, LETTERS))
    );
    if let Some((low, high)) = item.interval.and_then(|(low, high)| Some((at(low)?, at(high)?))) {
        out += &format!(
            "<path class=\"interval {class}\" d=\"M{low:.1} {middle}H{high:.1}M{low:.1} {0}v8M{high:.1} {0}v8\"/>",
            middle - 4.0
        );
    }
    if let Some(x) = at(item.value) {
        out += &format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{middle}\" r=\"4\"/>");
    }
    let value = if item.value.is_finite() {
        format!("{}{}", if item.value > 0.0 { "+" } else { "" }, number(item.value))
    } else {
        "–".into()
    };
    out += &format!(
        "<text x=\"{:.1}\" y=\"{:.1}\">{value} <tspan class=\"{class}\">{sign}</tspan> {}</text></g>\n",
        LEFT + FIELD + 10.0,
        middle + 4.0,
        escape(&short(word, 12))
    );
    out
}
