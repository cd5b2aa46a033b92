//! What Polytask shows outside the terminal: TensorBoard event files, plots as SVG images, and pages of tables and figures
//! ([`page`]).
//!
//! ```
//! use polytask_report::EventFile;
//!
//! let folder = std::env::temp_dir().join("polytask-report-example");
//! # std::fs::create_dir_all(&folder)?;
//! let mut events = EventFile::create(&folder, 1_700_000_000.0, "first")?;
//! events.scalar("loss/intent", 1, 1_700_000_001.5, 0.75)?;
//! events.flush()?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! No clock is read here: the wall time of every event is an argument.

mod axis;
mod events;
mod line_plot;
mod message;
pub mod page;
mod record;

pub use axis::Scale;
pub use events::EventFile;
pub use line_plot::LinePlot;
