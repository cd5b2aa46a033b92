//! One program of all tests from outside: each would link the whole engine by itself.

mod answers;
mod arcs;
mod classes;
mod comparison;
mod distances;
mod generation;
mod grouping;
mod numbers;
mod relations;
mod sets;
mod spans;
mod text_cases;
mod text_options;
