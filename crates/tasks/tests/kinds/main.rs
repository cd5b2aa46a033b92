//! Tasks from config to scores: against PyTorch's numbers, and against rows as users write them.

mod classification;
mod config;
mod entities_relations;
mod fixture;
mod lemmas;
mod masked_language_model;
mod multi_label;
mod multiple_choice;
mod ordinal;
mod parsing;
mod regression;
mod relation;
mod span;
mod tagging;
