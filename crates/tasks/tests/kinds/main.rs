//! Tasks from config to scores: against PyTorch's numbers, and against rows as users write them.

mod classification;
mod config;
mod dependency_parsing;
mod distillation;
mod entities_relations;
mod extractive_qa;
mod fixture;
mod hidden_states;
mod lemmatization;
mod masked_language_model;
mod multi_label;
mod multiple_choice;
mod ordinal_regression;
mod regression;
mod relation_classification;
mod row_comparison;
mod tagging;
