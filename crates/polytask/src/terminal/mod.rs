//! What people see: tables, figures, progress.

pub mod escape;
pub mod figures;
pub mod output;
pub mod progress;
pub mod table;
pub mod wrap;

/// The columns of the terminal that standard output is; `None` where it is none.
pub fn width() -> Option<usize> {
    let terminal = console::Term::stdout();
    terminal.is_term().then(|| terminal.size_checked()).flatten().map(|(_, columns)| columns.into())
}
