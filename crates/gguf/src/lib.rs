//! GGUF, the file format of llama.cpp: metadata and tensors, with their numbers as f32. [`Gguf`] reads, [`Writer`] writes.
//!
//! Versions 2 and 3 are read, little endian; 3 is written. The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. What is read is
//! treated as hostile: every count and length is held against the bytes that follow before memory is reserved, tensors must lie within
//! the file without sharing a byte, and are read one at a time.
//!
//! This crate knows no model: what a key or a tensor means is said elsewhere.

#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

mod dequantize;
mod error;
mod file;
mod header;
mod of_model;
mod quantize;
mod tensor_type;
mod value;
mod writer;

pub use error::GgufError;
pub use file::Gguf;
pub use header::TensorInfo;
pub use of_model::of_model;
pub use tensor_type::TensorType;
pub use value::{Array, Value};
pub use writer::Writer;
