//! One program of all tests from outside: each would link the whole engine by itself.

mod conformance;
mod exact;
mod gradients;
mod peers;
mod torch;
