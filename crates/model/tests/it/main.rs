//! One program of all tests from outside: each would link the whole engine by itself.

mod adapters;
mod dataset_embeddings;
mod decoder;
mod fixture;
mod freeze;
mod gates;
mod gradients;
mod hostile;
#[cfg(feature = "hub")]
mod hub;
mod llama;
mod low_rank;
mod narrowing;
mod onnx_graphs;

mod parity;
mod pruning;
mod round_trip;
mod sharing;
