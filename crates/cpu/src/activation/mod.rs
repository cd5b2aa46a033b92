//! Activations, element by element, and their gradients.

pub mod geglu;
pub mod gelu;
pub mod gelu_tanh;
pub mod relu;
pub mod sigmoid_gate;
