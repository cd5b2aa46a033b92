//! One program of all tests from outside: each would link the whole engine by itself.

mod allotment;
mod decode;
mod pack;
mod read;
mod read_properties;
mod sentence_piece;
mod stream;
mod tokenizer;
