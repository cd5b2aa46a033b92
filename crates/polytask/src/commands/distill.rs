//! `polytask distill`: trains a student from the answers of teachers, which its config names in `[distill]`. It is `train` for such
//! configs; `train --resume` goes on with it.

use crate::cli;
use crate::failure::Failure;

/// Trains; exit code 130 if interrupted.
pub fn distill(args: &cli::Distill) -> Result<u8, Failure> {
    if let Some(file) = &args.file {
        let config = super::load(file, &args.overrides)?;
        if config.distill.is_none() {
            let file = file.display();
            return Err(Failure::refused([format!(
                "{file} names no teachers; add a table [distill] with `teacher = \"runs/all\"` or `teachers = {{ TASK = \"runs/a\" }}`, or \
                 train it without: polytask train {file}"
            )]));
        }
    }
    let cli::Distill { file, overrides, run, resume, dashboard } = args.clone();
    super::train::train(&cli::Train { file, overrides, run, groups: None, resume, dashboard })
}
