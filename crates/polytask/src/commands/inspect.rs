//! `polytask inspect`: what is in a config's corpora before anything is learned: sizes, labels, repeated rows, how far the corpora
//! are from each other, and first of all what of it deserves a look.
//!
//! `crate::survey` counts and compares; this module shows it.

mod page;
mod text;

use crate::cli;
use crate::failure::Failure;
use crate::job::assemble::assemble;
use crate::survey::Report;
use crate::terminal::output;

/// Prints the report, or one JSON object, and writes the page if one is wanted.
pub fn inspect(args: &cli::Inspect) -> Result<u8, Failure> {
    let config = super::load(&args.file, &args.overrides)?;
    let device = super::open_device(config.train.device)?;
    super::check_writable(args.html.as_deref())?;
    let report = super::with_threads(config.train.threads, || {
        let assembled = assemble(&config, &device)?;
        Ok(Report::of(&config, &assembled, !args.no_states))
    })?;
    if let Some(file) = &args.html {
        super::train::write(file, page::page(&report, &args.file.display().to_string()).as_bytes())?;
    }
    if args.json {
        output::line(serde_json::to_string_pretty(&report).map_err(Failure::failed)?);
        return Ok(0);
    }
    output::text(text::text(&report));
    if let Some(file) = &args.html {
        output::line(format_args!("  the same with figures: {}", file.display()));
    }
    Ok(0)
}
