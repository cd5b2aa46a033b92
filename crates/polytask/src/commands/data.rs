//! `polytask data`: what is in a config's corpora before anything is learned: sizes, labels, repeated rows, how far the corpora
//! are from each other, and first of all what of it deserves a look.
//!
//! Counting is done by `data::survey`, distances by `metrics`; here stands what is compared with what, and how it is told.

mod findings;
mod labels;
mod page;
mod pairs;
mod repeated;
mod splits;
mod survey;
mod text;

use crate::assemble::assemble;
use crate::cli;
use crate::failure::Failure;
use survey::Survey;

/// Prints the report, or one JSON object, and writes the page if one is wanted.
pub fn data(args: &cli::Data) -> Result<u8, Failure> {
    let config = super::load(&args.file, &args.overrides)?;
    let device = super::open_device(config.train.device)?;
    let survey = super::with_threads(config.train.threads, || {
        let assembled = assemble(&config, &device)?;
        Ok(Survey::of(&config, &assembled, !args.no_states))
    })?;
    if let Some(file) = &args.html {
        super::train::write(file, page::page(&survey, &args.file.display().to_string()).as_bytes())?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&survey).map_err(Failure::failed)?);
        return Ok(0);
    }
    print!("{}", text::text(&survey));
    if let Some(file) = &args.html {
        println!("  the same with figures: {}", file.display());
    }
    Ok(0)
}
