//! The `polytask` binary: reads the command line, runs the command, and reports the outcome by its exit code:
//! 0 done, 1 failed, 2 refused (config, data, model or command line are not right), 3 some lines of `predict` could
//! not be answered, 130 interrupted with its state saved.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use polytask::cli::{Cli, Command};
use polytask::failure::Failure;
use polytask::memory::allocator::{self, CountingAllocator};
use polytask::terminal::output;
use polytask::{commands, demo, study};
use std::io::ErrorKind;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

fn main() -> ExitCode {
    allocator::disable_purge();
    let command = Cli::parse().command;
    // The result of these lies in files: nobody has to read along.
    let writes_files = matches!(
        command,
        Command::Demo(_)
            | Command::Train(_)
            | Command::Distill(_)
            | Command::Report(_)
            | Command::Init(_)
            | Command::Trial(_)
            | Command::Compare(_)
            | Command::Affinity(_)
            | Command::Sweep(_)
            | Command::Merge(_)
            | Command::Prune(_)
            | Command::Factorize(_)
            | Command::Quantize(_)
            | Command::Export(_)
    );
    let done = match command {
        Command::Demo(args) => demo::demo(&args),
        Command::Train(args) => commands::train::train(&args),
        Command::Distill(args) => commands::distill::distill(&args),
        Command::Watch(args) => commands::watch::watch(&args),
        Command::Report(args) => commands::report::report(&args),
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
        Command::Affinity(args) => commands::affinity::affinity(&args),
        Command::Compare(args) => commands::compare::compare(&args),
        Command::Sweep(args) => commands::sweep::sweep(&args),
        Command::Export(args) => commands::export::export(&args),
        Command::Prune(args) => commands::prune::prune(&args),
        Command::Factorize(args) => commands::factorize::factorize(&args),
        Command::Quantize(args) => commands::quantize::quantize(&args),
        Command::Merge(args) => commands::merge::merge(&args),
        Command::Trial(args) => study::execute::trial(&args),
    };
    let done = done.and_then(|code| match output::failure() {
        // A reader that has gone has seen enough.
        Some(error) if error.kind() == ErrorKind::BrokenPipe => Ok(code),
        Some(error) if writes_files => {
            output::error(format_args!("warning: not all that was to be read here was written: {error}"));
            Ok(code)
        }
        Some(error) => Err(Failure::failed(format!("writing standard output: {error}"))),
        None => Ok(code),
    });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            for message in &failure.messages {
                output::error(message.trim_end());
            }
            ExitCode::from(failure.code)
        }
    }
}
