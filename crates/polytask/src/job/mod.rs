//! From a config to a job: its corpora are read and tokenized, its model is built, and the two are put together, in the
//! directory of a run.

pub mod assemble;
pub mod corpora;
pub mod measured;
pub mod out_of_domain;
pub mod result_dir;
pub mod run_lock;
pub mod run_process;
mod saved_heads;
pub mod scoring;
pub mod token_cache;
