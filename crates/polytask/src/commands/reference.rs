//! `polytask init`, `list`, `explain` and `schema`: what can be said in a config.

use crate::cli;
use crate::failure::Failure;
use crate::terminal::output;
use crate::{catalogue, config};
use std::path::Path;

/// Writes the starter config; never over a file that is there.
pub fn init(args: &cli::Init) -> Result<u8, Failure> {
    let path: &Path = &args.file;
    if path.exists() {
        return Err(Failure::refused([format!("{} exists already; give another name", path.display())]));
    }
    super::train::write(path, config::starter().as_bytes())?;
    output::line(format_args!(
        "wrote {}: fill in your files, then polytask check {}",
        path.display(),
        path.display()
    ));
    Ok(0)
}

/// Lists the members of one family or of all.
pub fn list(family: Option<&str>) -> Result<u8, Failure> {
    output::text(catalogue::list(family).map_err(|e| Failure::refused([e]))?);
    Ok(0)
}

/// Explains one member.
pub fn explain(name: &str) -> Result<u8, Failure> {
    output::text(catalogue::explain(name).map_err(|e| Failure::refused([e]))?);
    Ok(0)
}

/// Prints the JSON Schema of the config.
pub fn schema() -> Result<u8, Failure> {
    output::line(config::json_schema());
    Ok(0)
}
