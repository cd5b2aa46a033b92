//! One run: where it stands, a line for each task, and charts.

use super::super::app::{App, Page, View};
use super::super::charts::{self, charts};
use super::super::figures::{COLUMNS, fraction, run_lines, task_cells};
use super::super::live_run::{LiveRun, RunStanding};
use super::table::{TableLines, cut};
use super::{BOLD, DIM, WARNING, chart, line};
use crate::terminal::escape::one_line;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Frame;
use ratatui_core::text::{Line, Span};

/// A chart of fewer lines says nothing.
const LEAST_CHART: u16 = 6;
/// Columns of a chart, at the least.
const CHART_WIDTH: u16 = 36;
/// Screens of fewer lines show no messages and no more than one problem.
const TALL: u16 = 20;

/// Draws the run of an app.
pub fn draw(app: &mut App, frame: &mut Frame<'_>, area: Rect) {
    let Page::Run(run) = app.page() else { return };
    let mut y = head(run, frame, area);
    let (found, first) = (charts(run.history(), app.view()), app.scroll);
    let messages = message_lines(app, area);
    let bottom = area.height.saturating_sub(messages.len() as u16);
    for (nth, message) in messages.iter().enumerate() {
        line(frame, area, bottom + nth as u16, Line::styled(message.clone(), DIM));
    }
    let cells = task_cells(run.history());
    let has_charts = bottom.saturating_sub(y) >= 2 + 1 + LEAST_CHART;
    let most = match has_charts {
        // At least a line for a task, and as a rule no more than a third of the screen.
        true => (area.height / 3).min(bottom - y - 2 - LEAST_CHART).max(1),
        false => bottom.saturating_sub(y + 1),
    };
    let shown = cells.len().min(most.into());
    let first_task = first.min(cells.len() - shown);
    y = tasks(&cells, first_task, shown, frame, area, y);
    let mut furthest = cells.len() - shown;
    if has_charts {
        let hidden = match cells.len() > shown {
            true => format!(" tasks {}–{} of {} ", first_task + 1, first_task + shown, cells.len()),
            false => String::new(),
        };
        let tabs = tabs(app.view(), &hidden, area.width);
        line(frame, area, y, tabs);
        let rest = Rect { y: area.y + y + 1, height: bottom - y - 1, ..area };
        furthest = furthest.max(chart_grid(&found, first, run, app.view(), frame, rest));
    }
    app.scroll = first.min(furthest);
}

/// The lines above the tables; gives the next line.
fn head(run: &LiveRun, frame: &mut Frame<'_>, area: Rect) -> u16 {
    let style = match run.standing() {
        RunStanding::Training | RunStanding::Finished(_) => Style::new().fg(Color::Green),
        RunStanding::Silent(..) => WARNING,
        RunStanding::NotBegun(_) | RunStanding::Interrupted => Style::new(),
    };
    let name = cut(run.name(), usize::from(area.width) / 2);
    let title =
        Line::from(vec![Span::styled(name, BOLD), Span::raw("  "), Span::styled(run.describe(), style)]);
    line(frame, area, 0, title);
    let mut y = 1;
    if run.history().started.is_some() && area.height >= 8 {
        line(frame, area, y, progress_bar(fraction(run.history()), area.width));
        y += 1;
    }
    let most = if area.height >= TALL { 4 } else { 2 };
    for text in run_lines(run, area.width.into()).into_iter().take(most) {
        line(frame, area, y, Line::raw(text));
        y += 1;
    }
    let most = if area.height >= TALL { 3 } else { 1 };
    for problem in run.problems().into_iter().take(most) {
        line(frame, area, y, Line::styled(problem, WARNING));
        y += 1;
    }
    y.min(area.height)
}

fn progress_bar(fraction: f64, width: u16) -> Line<'static> {
    let width = usize::from(width);
    let percent = format!(" {:.0} %", 100.0 * fraction);
    let bar = width.saturating_sub(percent.len());
    let done = ((bar as f64 * fraction).round() as usize).min(bar);
    Line::from(vec![
        Span::styled("━".repeat(done), Style::new().fg(Color::Cyan)),
        Span::styled("─".repeat(bar - done), DIM),
        Span::raw(percent),
    ])
}

/// The lines of tasks; gives the next line.
fn tasks(
    cells: &[[String; COLUMNS.len()]],
    first: usize,
    shown: usize,
    frame: &mut Frame<'_>,
    area: Rect,
    mut y: u16,
) -> u16 {
    if cells.is_empty() {
        return y;
    }
    let table = TableLines::new(&COLUMNS, cells, area.width.into());
    line(frame, area, y, Line::styled(table.header(), DIM));
    y += 1;
    for task in first..first + shown {
        line(frame, area, y, Line::styled(table.row(task), Style::new().fg(charts::color(task))));
        y += 1;
    }
    y.min(area.height)
}

/// The views, and which tasks are shown where these are not all.
fn tabs(shown: View, hidden: &str, width: u16) -> Line<'static> {
    let mut spans = Vec::new();
    for view in View::ALL {
        let style = if view == shown { Style::new().add_modifier(Modifier::REVERSED) } else { DIM };
        spans.push(Span::styled(format!(" {} ", view.name()), style));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let used = used + Span::raw(hidden).width();
    spans.push(Span::styled("─".repeat(usize::from(width).saturating_sub(used)), DIM));
    spans.push(Span::styled(hidden.to_owned(), DIM));
    Line::from(spans)
}

/// As many charts as have space, from `first` on; gives the greatest `first` that shows the last one.
fn chart_grid(
    found: &[charts::ChartData],
    first: usize,
    run: &LiveRun,
    view: View,
    frame: &mut Frame<'_>,
    area: Rect,
) -> usize {
    if found.is_empty() {
        line(frame, area, 0, Line::styled(nothing_yet(run, view), DIM));
        return 0;
    }
    let lanes = (area.width / CHART_WIDTH).clamp(1, 4).min(found.len() as u16);
    let wanted = (found.len() as u16).div_ceil(lanes);
    let rows = (area.height / (LEAST_CHART + 2)).clamp(1, wanted);
    let shown = usize::from(lanes * rows);
    let first = first.min(found.len().saturating_sub(shown));
    for (nth, data) in found.iter().skip(first).take(shown).enumerate() {
        let (lane, row) = (nth as u16 % lanes, nth as u16 / lanes);
        let (left, right) = (area.width * lane / lanes, area.width * (lane + 1) / lanes);
        let (top, bottom) = (area.height * row / rows, area.height * (row + 1) / rows);
        let gap = if lane + 1 < lanes { 2 } else { 0 };
        let part =
            Rect { x: area.x + left, y: area.y + top, width: right - left - gap, height: bottom - top };
        let more = match found.len() > shown {
            true => format!(" ({} of {})", first + nth + 1, found.len()),
            false => String::new(),
        };
        chart::draw(data, &more, frame, part);
    }
    found.len().saturating_sub(shown)
}

fn nothing_yet(run: &LiveRun, view: View) -> &'static str {
    match view {
        _ if run.history().last.step == 0 => "no step yet",
        View::Scores => "no evaluation on validation rows yet",
        View::Losses | View::Balance | View::Compute => "nothing yet",
    }
}

fn message_lines(app: &App, area: Rect) -> Vec<String> {
    let shown = if area.height >= TALL { app.messages() } else { &[] };
    shown.iter().map(|message| cut(one_line(message.trim()).as_ref(), area.width.into())).collect()
}
