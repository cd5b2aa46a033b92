//! ONNX, the exchange format of networks: a graph of operators and its weights, as the bytes of one file.
//!
//! A [`Graph`] gets inputs, weights, nodes and outputs, each as a named [`Value`]; [`Graph::into_bytes`] writes it. The messages in
//! [`proto`] are the part of onnx.proto that such files need: <https://github.com/onnx/onnx/blob/v1.12.0/onnx/onnx.proto>. Operators
//! are those of set 17, which onnxruntime runs since 1.12.
//!
//! This crate knows no model: what a graph computes is said elsewhere. It does not check graphs; `scripts/check_onnx.py` does, with
//! onnx's own checker.

#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

mod graph;
pub mod proto;

pub use graph::{Attribute, Dim, Element, Graph, TooLarge, Value};
