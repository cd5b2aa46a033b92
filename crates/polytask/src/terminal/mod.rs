//! What people see: tables, figures, progress.

pub mod figures;
pub mod plain;
pub mod progress;
pub mod table;
pub mod wrap;
