//! What happens, topic by topic, and the people, things and organisations of each.
//!
//! A table has `event` (clauses in the past tense), `role` (what people are), `thing` (what they talk about), `quality`
//! (what a verdict judges) and `house` (the organisations of the topic). Several words stand in more than one table:
//! court, match, bank, virus, cloud, record, trial, pitch, cell, stage, court, operation, draw, coach.

mod business;
mod culture;
mod health;
mod sport;
mod technology;
mod travel;

use super::expand::Entry;

/// The topic labels, in the order of [`TABLES`].
pub const TOPICS: [&str; 6] = ["business", "culture", "health", "sport", "technology", "travel"];

/// One table a topic.
pub const TABLES: [&[Entry]; 6] =
    [business::TABLE, culture::TABLE, health::TABLE, sport::TABLE, technology::TABLE, travel::TABLE];
