//! Trains one language model on many tasks, and uses it.
//!
//! The way of a run: [`config`] reads a TOML file into checked types, [`job`] reads the rows and builds the model, the
//! crate `train` trains it, [`event_sinks`] shows what happens, [`memory`] keeps it within the memory. [`study`] has many
//! trainings held against each other. [`commands`] has one file a command.
//!
//! Only this crate prints (and only by [`terminal::output`]), reads the environment and the clock, or decides on exit codes.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod catalogue;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dashboard;
pub mod demo;
pub mod distill;
pub mod event_sinks;
pub mod failure;
pub mod history;
pub mod hub;
pub mod job;
pub mod memory;
pub mod mlflow;
pub mod run_report;
pub mod study;
pub mod survey;
pub mod terminal;
