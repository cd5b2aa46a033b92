//! Files of the package gguf, and broken ones.

mod dequantize;
mod malformed;
mod written;

use polytask_gguf::Gguf;
use std::path::{Path, PathBuf};

/// A file of `scripts/make_gguf_fixtures.py`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn open(name: &str) -> Gguf {
    Gguf::open(&fixture(name)).unwrap()
}
