//! Distillation: a student that learns from the answers of teachers, models that were trained before.
//!
//! [`config`] is the table `[distill]`; [`teachers`] opens teachers, one after the other, and holds their outputs against those of the
//! student; [`answers`] gives the heads of a job what they learn from; [`report`] holds the student against its teachers.

pub mod answers;
pub mod config;
pub mod report;
pub mod teachers;

pub use config::DistillConfig;
