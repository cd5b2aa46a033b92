//! CUDA and wgpu, which the engine has as one backend: every operation keeps the body that `reference.rs` gives it.

use crate::flex::PackOps;
use burn::backend::{Autodiff, Cube, autodiff::checkpoint::strategy::CheckpointStrategy};

impl PackOps for Cube {}
impl<C: CheckpointStrategy> PackOps for Autodiff<Cube, C> {}
