//! Activations, element by element, and their gradients.

pub mod gelu;
pub mod gelu_tanh;
pub mod glu;
pub mod relu;
pub mod sigmoid_gate;
