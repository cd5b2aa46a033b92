//! What people see: tables, figures, progress.

pub mod escape;
pub mod figures;
pub mod output;
pub mod progress;
pub mod table;
pub mod wrap;
