//! One program of all tests from outside: each would link the whole engine by itself.

mod conformance;
mod gradients;
mod peers;
mod torch;
