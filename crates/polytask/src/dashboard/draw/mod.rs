//! Draws an [`App`] on as many columns and lines as there are.

mod chart;
mod run;
mod table;

use super::app::{App, Page};
use super::run_list;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Frame;
use ratatui_core::text::Line;
use table::TableLines;

/// What is in the background.
const DIM: Style = Style::new().fg(Color::DarkGray);
/// Titles.
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// What is not as it should be.
const WARNING: Style = Style::new().fg(Color::Yellow);

/// Draws everything.
pub fn draw(app: &mut App, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.height < 2 || area.width < 8 {
        return;
    }
    let footer = app.footer();
    let body = Rect { height: area.height - 1, ..area };
    line(frame, area, area.height - 1, Line::styled(footer, DIM));
    match app.page() {
        Page::List(..) => list(app, frame, body),
        Page::Run(_) => run::draw(app, frame, body),
    }
}

/// Draws one line at `y` from the top of an area, as far as it fits.
fn line(frame: &mut Frame<'_>, area: Rect, y: u16, line: Line<'_>) {
    if y < area.height {
        frame.buffer_mut().set_line(area.x, area.y + y, &line, area.width);
    }
}

fn list(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let Page::List(list, selected, is_read) = app.page() else { return };
    line(frame, area, 0, Line::styled(list.describe(), BOLD));
    let mut y = 1;
    if let Some(error) = list.error() {
        line(frame, area, y, Line::styled(error.to_owned(), WARNING));
        y += 1;
    } else if !is_read {
        line(frame, area, y, Line::styled("reading …", DIM));
        y += 1;
    }
    let rows: Vec<_> = list.entries().iter().map(|entry| entry.cells.clone()).collect();
    let table = TableLines::new(&run_list::COLUMNS, &rows, area.width.into());
    line(frame, area, y, Line::styled(table.header(), DIM));
    y += 1;
    let visible = usize::from(area.height.saturating_sub(y));
    let first = (selected + 1).saturating_sub(visible);
    for (row, entry) in list.entries().iter().enumerate().skip(first).take(visible) {
        let style = match entry.standing {
            _ if row == *selected => Style::new().add_modifier(Modifier::REVERSED),
            Some(standing) if standing.is_open() => Style::new(),
            _ => DIM,
        };
        line(frame, area, y, Line::styled(table.row(row), style));
        y += 1;
    }
}
