//! Activations, element by element, and their gradients.

pub mod gelu;
pub mod glu;
pub mod relu;
pub mod sigmoid_gate;
