//! The `polytask` binary: reads the command line, runs the command, and reports the outcome by its exit code:
//! 0 done, 1 failed, 2 refused (config, data, model or command line are not right), 3 some lines of `predict` could
//! not be answered, 130 interrupted with its state saved.

use clap::Parser;
use polytask::cli::{Cli, Command};
use polytask::memory::allocator::{self, CountingAllocator};
use polytask::{commands, demo};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

fn main() -> ExitCode {
    allocator::disable_purge();
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::demo(&args),
        Command::Train(args) => commands::train::train(&args),
        Command::Evaluate(args) => commands::evaluate::evaluate(&args),
        Command::Predict(args) => commands::predict::predict(&args),
        Command::Check(args) => commands::check::check(&args),
        Command::Plan(args) => commands::plan::plan(&args),
        Command::LrFind(args) => commands::lr_find::lr_find(&args),
        Command::Inspect(args) => commands::inspect::inspect(&args),
        Command::Init(args) => commands::reference::init(&args),
        Command::List { family } => commands::reference::list(family.as_deref()),
        Command::Explain { name } => commands::reference::explain(&name),
        Command::Schema => commands::reference::schema(),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            for message in &failure.messages {
                eprintln!("{}", message.trim_end());
            }
            ExitCode::from(failure.code)
        }
    }
}
