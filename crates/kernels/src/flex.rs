//! The CPU.
use crate::ops::PackOps;
use burn::backend::{Autodiff, Flex, autodiff::checkpoint::strategy::CheckpointStrategy};

impl PackOps for Flex {}
impl<C: CheckpointStrategy> PackOps for Autodiff<Flex, C> {}
