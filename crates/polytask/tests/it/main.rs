//! One program of all tests from outside: each would link the whole engine by itself.

mod affinity;
mod bench;
mod broken_inputs;
mod closed_output;
mod dataset_embeddings;
mod decoders;
mod devices;
mod distill;
mod export;
mod factorize;
mod field;
mod formats;
mod further;
mod inspect;
mod lr_adaptation;
mod lr_find;
#[cfg(target_os = "linux")]
mod memory;
mod merge;
mod plan;
mod program;
mod prune;
mod quantize;
mod relations;
mod report;
mod run_folder;
mod sequences;
mod shared_head;
mod sharing;
mod studies;
mod watch;
mod windows;
mod writing;
