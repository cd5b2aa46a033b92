//! What is in a config's corpora before anything is learned, and what of it deserves a look. `check`, `train` and `inspect` report it.
//!
//! `data::survey` counts, `metrics` measures distances; this module says what is compared with what.

mod contradictions;
mod counts;
mod findings;
mod labels;
mod pairs;
mod repeated;
mod report;
mod splits;

pub use contradictions::Contradictions;
pub use counts::Survey;
pub use findings::{Finding, Severity, gravest, percent};
pub use labels::{LabelSurvey, SplitLabels};
pub use pairs::{Features, Pair, SAMPLE};
pub use repeated::Repeated;
pub use report::Report;
pub use splits::ViewSurvey;
