//! One program of all tests from outside: each would link the whole engine by itself.

mod activation_checkpointing;
mod affinity;
mod dataset_embeddings;
mod devices;
mod export;
mod frozen;
mod further;
mod golden;
mod gradients;
mod head_lr;
mod job;
mod lr_range_test;
mod mean_pooled_states;
mod memory_limit;
mod merge;
mod nonfinite_steps;
mod plateau;
mod resume;
mod schedule_free;
mod schedules;
mod schemes;
mod seq2seq;
mod sharing;
mod task_usage;
mod threads;
mod token_masking;
