//! What a training step, a matrix product and a prediction cost on this machine. One JSON object a measurement, so
//! that `compare.py` can put them beside PyTorch's.

mod balance;
mod predict;
mod products;
mod sharing;
mod step;

use clap::{Parser, Subcommand};
use model::Precision;
use polytask::memory::allocator::{self, CountingAllocator};
use std::path::PathBuf;
use std::process::ExitCode;

/// As in the `polytask` binary.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Measures Polytask.
#[derive(Parser)]
struct Cli {
    /// Threads [default: as many as processors]
    #[arg(long, global = true)]
    threads: Option<usize>,
    /// Counted repeats; the median is printed
    #[arg(long, global = true, default_value_t = 5)]
    repeats: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Forward, backward and AdamW of a bare encoder with three-class heads
    Step {
        /// Sizes of the encoder and of its pack: `s1` is MiniLM-L6 on 32 rows of 64 tokens, `s2` BERT-base on 8 of 128
        #[arg(long, default_value = "s1")]
        shape: step::Shape,
        /// Other rows
        #[arg(long)]
        rows: Option<usize>,
        /// Other tokens a row
        #[arg(long)]
        length: Option<usize>,
        /// Heads
        #[arg(long, default_value_t = 1)]
        tasks: usize,
        /// Operands of the large products rounded to bf16, where the processor multiplies such numbers
        #[arg(long)]
        bf16: bool,
    },
    /// The matrix products of a shape's layers, by themselves: the ceiling of a step
    Products {
        /// As for `step`
        #[arg(long, default_value = "s1")]
        shape: step::Shape,
    },
    /// Steps of the trainer on tasks with rows of their own, by a balancing method, MiniLM-L6
    Balance {
        /// A method, as in `[balance.NAME]`
        #[arg(long, default_value = "equal")]
        method: String,
        /// As in `train.gradient_scope`
        #[arg(long, default_value = "all_shared")]
        scope: String,
        /// Tasks
        #[arg(long, default_value_t = 8)]
        tasks: usize,
        /// Rows of each in a step
        #[arg(long, default_value_t = 8)]
        rows: usize,
        /// Tokens a row
        #[arg(long, default_value_t = 32)]
        length: usize,
        /// Keep only what enters each layer, and compute the rest again in the backward pass
        #[arg(long)]
        activation_checkpointing: bool,
    },
    /// Steps of the trainer on chosen rows of the corpora of a config, with its sharing scheme
    Sharing {
        /// The config
        config: PathBuf,
        /// A key of the config, as for `polytask train`
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// How the rows lie in packs
        #[arg(long, default_value = "mixed")]
        packs: sharing::Packs,
        /// Write the rows to this file
        #[arg(long)]
        rows: Option<PathBuf>,
    },
    /// Answers of all tasks of a config, untrained, to the test rows of its first task
    Answers {
        /// The config
        config: PathBuf,
        /// A key of the config, as for `polytask train`
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// A model for each task in place of one for all
        #[arg(long)]
        separate: bool,
    },
    /// All heads of a trained model on the test rows of its corpora, tokenized beforehand
    Predict {
        /// The run's directory
        run: PathBuf,
    },
}

fn main() -> ExitCode {
    allocator::disable_purge();
    let cli = Cli::parse();
    let measured = polytask::commands::with_threads(cli.threads, || match &cli.what {
        What::Step { shape, rows, length, tasks, bf16 } => {
            let mut sizes = shape.sizes();
            sizes.rows = rows.unwrap_or(sizes.rows);
            sizes.length = length.unwrap_or(sizes.length);
            let precision = if *bf16 { Precision::Bf16 } else { Precision::F32 };
            Ok(step::measure(sizes, *tasks, precision, cli.repeats))
        }
        What::Balance { method, scope, tasks, rows, length, activation_checkpointing } => {
            let case = balance::Case {
                method: method.clone(),
                scope: scope.clone(),
                tasks: *tasks,
                rows: *rows,
                length: *length,
                activation_checkpointing: *activation_checkpointing,
            };
            balance::measure(&case, step::Shape::S1.sizes(), cli.repeats)
                .map_err(polytask::failure::Failure::failed)
        }
        What::Products { shape } => Ok(products::measure(shape.sizes(), cli.repeats)),
        What::Sharing { config, set, packs, rows } => {
            let source = sharing::Source { file: config.clone(), set: set.clone() };
            sharing::step(&source, *packs, rows.as_deref(), cli.repeats)
        }
        What::Answers { config, set, separate } => {
            let source = sharing::Source { file: config.clone(), set: set.clone() };
            sharing::predict(&source, *separate, cli.repeats)
        }
        What::Predict { run } => predict::measure(run, cli.repeats),
    });
    match measured {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            failure.messages.iter().for_each(|message| eprintln!("{message}"));
            ExitCode::from(failure.code)
        }
    }
}

/// The middle of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The largest resident size so far in MiB; 0 where the system does not tell.
fn peak_mib() -> f64 {
    polytask::memory::peak().unwrap_or(0) as f64 / f64::from(1 << 20)
}
