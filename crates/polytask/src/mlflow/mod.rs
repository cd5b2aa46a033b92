//! Runs in MLflow, for builds with the feature `mlflow`: parameters, tags, curves and files, by the server's REST interface.
//!
//! `contents` says what a run is there; `upload` brings it to a server by way of `client`.

#[cfg(feature = "mlflow")]
mod client;
#[cfg(feature = "mlflow")]
mod contents;
#[cfg(feature = "mlflow")]
mod keys;
#[cfg(feature = "mlflow")]
mod upload;

#[cfg(feature = "mlflow")]
pub use upload::{check, export};

#[cfg(not(feature = "mlflow"))]
use crate::{failure::Failure, run_report::RunFiles};

/// Says how to get a build that can export.
#[cfg(not(feature = "mlflow"))]
pub fn check(_: &str) -> Result<(), Failure> {
    Err(Failure::refused([
        "--mlflow: this build has no export to MLflow; build it with `cargo build --release --features mlflow`",
    ]))
}

/// As [`check`].
#[cfg(not(feature = "mlflow"))]
pub fn export(_: &[RunFiles], url: &str, _: &str) -> Result<Vec<String>, Failure> {
    check(url).map(|()| Vec::new())
}

#[cfg(all(test, feature = "mlflow"))]
mod tests;
