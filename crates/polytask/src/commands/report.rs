//! `polytask report`: the page of a run, or of several beside each other, and their curves as CSV or in MLflow.

use super::train::write;
use crate::cli;
use crate::failure::Failure;
use crate::mlflow;
use crate::run_report::{CSV_HEADER, RunFiles, comparison_page, csv_lines, page_path, run_page};
use crate::terminal::output;
use std::path::{Path, PathBuf};

/// Writes the page, and the curves where they are wanted.
pub fn report(args: &cli::Report) -> Result<u8, Failure> {
    super::check_writable(args.html.as_deref())?;
    if let Some(url) = &args.mlflow {
        mlflow::check(url)?;
    }
    let runs = RunFiles::read_all(&args.runs)?;
    for problem in runs.iter().flat_map(|run| &run.problems) {
        output::error(format_args!("warning: {problem}"));
    }
    let (file, page) = match runs.as_slice() {
        [one] => (args.html.clone().unwrap_or_else(|| page_path(&one.run)), run_page(one)),
        several => {
            (args.html.clone().unwrap_or_else(|| PathBuf::from("report.html")), comparison_page(several))
        }
    };
    write(&file, page.as_bytes())?;
    output::line(format_args!("  {}", file.display()));
    if let Some(to) = &args.csv {
        for file in curves(&runs, to)? {
            output::line(format_args!("  {}", file.display()));
        }
    }
    if let Some(url) = &args.mlflow {
        for line in mlflow::export(&runs, url, &args.experiment)? {
            output::line(format_args!("  {line}"));
        }
    }
    Ok(0)
}

/// Writes the curves: into one file if its name ends in `.csv`, else into a folder, a file for each run.
fn curves(runs: &[RunFiles], to: &Path) -> Result<Vec<PathBuf>, Failure> {
    if to.extension().is_some_and(|extension| extension == "csv") {
        let lines: String = runs.iter().map(csv_lines).collect();
        write(to, format!("{CSV_HEADER}{lines}").as_bytes())?;
        return Ok(vec![to.to_path_buf()]);
    }
    std::fs::create_dir_all(to).map_err(|e| Failure::io("making", to, e))?;
    let of_run = |run: &RunFiles| {
        let file = to.join(format!("{}.csv", run.name.replace(['/', '\\'], "-")));
        write(&file, format!("{CSV_HEADER}{}", csv_lines(run)).as_bytes())?;
        Ok(file)
    };
    runs.iter().map(of_run).collect()
}
