//! Trains one language model on many tasks.
