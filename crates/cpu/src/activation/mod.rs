//! Activations, element by element, and their gradients.

pub mod geglu;
pub mod gelu;
pub mod relu;
pub mod sigmoid_gate;
