//! One chart of curves over steps, in braille.

use super::super::charts::{ChartData, Series};
use super::super::figures::number;
use super::table::cut;
use super::{BOLD, DIM, line};
use crate::terminal::figures::count;
use ratatui_core::layout::{Constraint, Rect};
use ratatui_core::style::Style;
use ratatui_core::symbols::Marker;
use ratatui_core::terminal::Frame;
use ratatui_core::text::Line;
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType, LegendPosition};

/// Beyond it, sums of two are no numbers.
const GREATEST: f64 = 1e300;

/// Draws a chart with its title; `more` is added to it.
pub fn draw(data: &ChartData, more: &str, frame: &mut Frame<'_>, area: Rect) {
    let width = usize::from(area.width);
    let title = cut(&data.title, width.saturating_sub(more.len() + 1)) + more;
    line(frame, area, 0, Line::styled(title, BOLD));
    let plot = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let thin: Vec<Vec<(f64, f64)>> = data.series.iter().map(|series| thinned(series, 4 * width)).collect();
    let (x, y) = (bounds(&thin, |point| point.0), padded(bounds(&thin, |point| point.1), data.limits));
    let datasets = data.series.iter().zip(&thin).map(|(series, points)| {
        // A single point is no line.
        let graph = if points.len() > 1 { GraphType::Line } else { GraphType::Scatter };
        Dataset::default()
            .name(Line::raw(cut(&series.name, 16)))
            .marker(Marker::Braille)
            .graph_type(graph)
            .style(Style::new().fg(series.color))
            .data(points)
    });
    let steps = [x[0], x[1]].map(|step| Line::raw(count(step.max(0.0) as usize)));
    let values = [y[0], (y[0] + y[1]) / 2.0, y[1]].map(|value| Line::raw(tick(value, y[1] - y[0])));
    let values = if plot.height >= 7 { values.to_vec() } else { vec![values[0].clone(), values[2].clone()] };
    let legend = (data.series.len() > 1).then_some(LegendPosition::TopRight);
    let chart = Chart::new(datasets.collect())
        .x_axis(Axis::default().bounds(widened(x)).labels(steps).style(DIM))
        .y_axis(Axis::default().bounds(y).labels(values).style(DIM))
        .legend_position(legend)
        .hidden_legend_constraints((Constraint::Ratio(1, 2), Constraint::Ratio(2, 3)));
    frame.render_widget(chart, plot);
}

/// At most about `most` points of a curve: of as many neighbours the lowest and the highest, so that no peak is lost; and the last.
fn thinned(series: &Series, most: usize) -> Vec<(f64, f64)> {
    let finite = series.points.iter().map(|(x, y)| (*x, y.clamp(-GREATEST, GREATEST)));
    let points: Vec<(f64, f64)> = finite.collect();
    if points.len() <= most.max(2) {
        return points;
    }
    let mut out = Vec::with_capacity(most + 2);
    for some in points.chunks(points.len().div_ceil(most.max(2) / 2)) {
        let least = (0..some.len()).min_by(|a, b| some[*a].1.total_cmp(&some[*b].1)).unwrap_or(0);
        let most = (0..some.len()).max_by(|a, b| some[*a].1.total_cmp(&some[*b].1)).unwrap_or(0);
        out.push(some[least.min(most)]);
        if least != most {
            out.push(some[least.max(most)]);
        }
    }
    out.extend(points.last());
    out
}

fn bounds(series: &[Vec<(f64, f64)>], of: impl Fn(&(f64, f64)) -> f64) -> [f64; 2] {
    let values = || series.iter().flatten().map(&of);
    [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)]
}

/// Bounds that lie apart, also those of a constant.
fn widened([low, high]: [f64; 2]) -> [f64; 2] {
    if high > low { [low, high] } else { [low - 0.5, high + 0.5] }
}

/// Bounds of values, with a little space, but not beyond `limits`.
fn padded([low, high]: [f64; 2], limits: [f64; 2]) -> [f64; 2] {
    let space = match high - low {
        range if range > 0.0 => 0.03 * range,
        _ if low == 0.0 => 0.5,
        _ => 0.05 * low.abs(),
    };
    [(low - space).max(limits[0].min(low)), (high + space).min(limits[1].max(high))]
}

/// A value at an axis, with as many digits as tell it from its neighbours.
fn tick(value: f64, range: f64) -> String {
    let digits = (1.5 - range.log10()).ceil();
    match value.abs() {
        size if (1e-4..1e6).contains(&size) && (0.0..=5.0).contains(&digits) => {
            format!("{value:.0$}", digits as usize)
        }
        size if (1e-4..1e6).contains(&size) && digits < 0.0 => format!("{value:.0}"),
        size if size < 1e-9 * range => "0".into(),
        _ => number(value),
    }
}
