//! Trains one language model on many tasks, and uses it.
//!
//! The way of a run: [`config`] reads a TOML file into checked types, [`corpora`] reads the rows, [`assemble`] makes
//! the job, the crate `train` trains it, [`observe`] shows what happens. [`commands`] has one file a command.
//!
//! Only this crate prints, reads the environment and the clock, or decides on exit codes.

pub mod allocator;
pub mod assemble;
pub mod catalogue;
pub mod cli;
pub mod commands;
pub mod config;
pub mod corpora;
pub mod demo;
pub mod failure;
mod fit;
pub mod hub;
pub mod memory;
pub mod observe;
pub mod terminal;
