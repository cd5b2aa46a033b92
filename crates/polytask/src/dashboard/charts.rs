//! Which curves each view of a run has.

use super::app::View;
use super::figures::{number, scores};
use crate::history::{CurveKind, History, Point, RunningMean};
use crate::terminal::escape::one_line;
use ratatui_core::style::Color;

/// Colours of tasks, in their order, again from the first where there are more.
const COLORS: [Color; 8] = [
    Color::Cyan,
    Color::Yellow,
    Color::Green,
    Color::Magenta,
    Color::Blue,
    Color::Red,
    Color::LightCyan,
    Color::LightMagenta,
];

/// The most lines in one chart.
const LINES: usize = 8;

/// A chart: curves over steps.
pub struct ChartData {
    /// Above it.
    pub title: String,
    /// Its lines, none of them empty.
    pub series: Vec<Series>,
    /// What its values cannot be beyond, so that no axis is.
    pub limits: [f64; 2],
}

/// Of losses, weights, norms and rates.
const NOT_NEGATIVE: [f64; 2] = [0.0, f64::INFINITY];
/// Of scores in points; some metrics may be negative.
const POINTS: [f64; 2] = [f64::NEG_INFINITY, 100.0];
/// Of shares.
const PERCENT: [f64; 2] = [0.0, 100.0];
/// Of cosines.
const COSINE: [f64; 2] = [-1.0, 1.0];

/// A line of a chart.
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its colour.
    pub color: Color,
    /// Steps and values.
    pub points: Vec<(f64, f64)>,
}

/// The colour of a task by its place.
pub fn color(task: usize) -> Color {
    COLORS[task % COLORS.len()]
}

/// The charts of a view. Charts without a point are left out.
pub fn charts(history: &History, view: View) -> Vec<ChartData> {
    let mut charts = match view {
        View::Losses => losses(history),
        View::Scores => score_charts(history),
        View::Balance => balance(history),
        View::Compute => compute(history),
    };
    for chart in &mut charts {
        chart.series.retain(|series| !series.points.is_empty());
    }
    charts.retain(|chart| !chart.series.is_empty());
    charts
}

fn losses(history: &History) -> Vec<ChartData> {
    let validation = CurveKind::Evaluation("validation".into());
    let of_task = |(place, task): (usize, &String)| {
        let training = history.curves.get(&CurveKind::Training, "loss", task);
        let held_out = history.curves.get(&validation, "loss", task);
        ChartData {
            title: format!("{}: loss", one_line(task)),
            series: vec![
                Series::new("training", color(place), smooth(training)),
                Series::new("validation", Color::White, plain(held_out, 1.0)),
            ],
            limits: NOT_NEGATIVE,
        }
    };
    history.tasks().iter().enumerate().map(of_task).collect()
}

fn score_charts(history: &History) -> Vec<ChartData> {
    let of_task = |(place, task): (usize, &String)| {
        let (metric, points) = scores(history, task)?;
        Some(ChartData {
            title: format!("{}: {}", one_line(task), one_line(metric)),
            series: vec![Series::new("validation", color(place), plain(points, 100.0))],
            limits: POINTS,
        })
    };
    let mean = history.curves.get(&CurveKind::Evaluation("validation".into()), "mean", "");
    let mean = ChartData {
        title: "weighted mean".into(),
        series: vec![Series::new("validation", Color::White, plain(mean, 100.0))],
        limits: POINTS,
    };
    let charts: Vec<ChartData> = history.tasks().iter().enumerate().filter_map(of_task).collect();
    let mean = (charts.len() > 1).then_some(mean);
    mean.into_iter().chain(charts).collect()
}

fn balance(history: &History) -> Vec<ChartData> {
    let curves = &history.curves;
    let mut charts = vec![
        by_task(history, "weight", |task| smooth(curves.get(&CurveKind::Balance, "weight", task))),
        by_task(history, "gradient norm", |task| smooth(curves.get(&CurveKind::Gradient, "norm", task))),
    ];
    let conflicts = curves.get(&CurveKind::Gradient, "conflicts", "");
    charts.push(ChartData {
        title: "pairs of tasks in conflict, %".into(),
        series: vec![Series::new("pairs", Color::Red, scaled(smooth(conflicts), 100.0))],
        limits: PERCENT,
    });
    let mut cosines: Vec<Series> = Vec::new();
    for task in history.tasks() {
        for metric in curves.metrics(&CurveKind::Gradient, task) {
            if let Some(other) = metric.strip_prefix("cosine with ") {
                let name = format!("{} {}", one_line(task), one_line(other));
                let points = smooth(curves.get(&CurveKind::Gradient, metric, task));
                cosines.push(Series { name, color: color(cosines.len()), points });
            }
        }
    }
    for (nth, some) in chunks(cosines).into_iter().enumerate() {
        let more = if nth == 0 { "" } else { ", more" };
        let title = format!("cosine of gradients{more}");
        charts.push(ChartData { title, series: some, limits: COSINE });
    }
    charts
}

fn compute(history: &History) -> Vec<ChartData> {
    let curves = &history.curves;
    let share = |task: &str| plain(curves.get(&CurveKind::Usage, "compute_share", task), 100.0);
    let of_all = |title: &str, kind: CurveKind, metric: &str, is_smooth: bool| {
        let points = curves.get(&kind, metric, "");
        let points = if is_smooth { smooth(points) } else { plain(points, 1.0) };
        let now = points.last().map(|point| number(point.1)).unwrap_or_default();
        let title = format!("{title}: {now}");
        ChartData { title, series: vec![Series::new(metric, Color::White, points)], limits: NOT_NEGATIVE }
    };
    vec![
        by_task(history, "share of computation so far, %", share),
        of_all("learning rate", CurveKind::LearningRate, "rate", false),
        by_task(history, "factor of the head's learning rate", |task| {
            plain(curves.get(&CurveKind::LearningRate, "head_factor", task), 1.0)
        }),
        of_all("tokens/s", CurveKind::Speed, "tokens_per_second", true),
    ]
}

/// A line for each task, of as many tasks as a chart can show; a title says of how many.
fn by_task(history: &History, title: &str, points: impl Fn(&str) -> Vec<(f64, f64)>) -> ChartData {
    let all: Vec<Series> = history
        .tasks()
        .iter()
        .enumerate()
        .map(|(place, task)| Series::new(task, color(place), points(task)))
        .filter(|series| !series.points.is_empty())
        .collect();
    let title = match all.len() {
        many if many > LINES => format!("{title} (the first {LINES} of {many} tasks)"),
        _ => title.to_owned(),
    };
    ChartData { title, series: all.into_iter().take(LINES).collect(), limits: NOT_NEGATIVE }
}

fn chunks(mut series: Vec<Series>) -> Vec<Vec<Series>> {
    let mut out = Vec::new();
    while !series.is_empty() {
        let rest = series.split_off(series.len().min(LINES));
        out.push(std::mem::replace(&mut series, rest));
    }
    out
}

impl Series {
    fn new(name: &str, color: Color, points: Vec<(f64, f64)>) -> Series {
        Series { name: one_line(name).into_owned(), color, points }
    }
}

fn plain(points: &[Point], times: f64) -> Vec<(f64, f64)> {
    points.iter().map(|point| (point.step as f64, times * point.value)).collect()
}

fn scaled(points: Vec<(f64, f64)>, times: f64) -> Vec<(f64, f64)> {
    points.into_iter().map(|(step, value)| (step, times * value)).collect()
}

/// The running mean along a curve.
fn smooth(points: &[Point]) -> Vec<(f64, f64)> {
    let mut mean = RunningMean::default();
    let at = |point: &Point| {
        mean.add(point.value);
        (point.step as f64, mean.value())
    };
    points.iter().map(at).collect()
}
