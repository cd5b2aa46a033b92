//! Adds up the gradients that several operations have for one tensor, in place. The engine would do it by an operation of its own
//! that makes a new tensor on one thread.

use super::node::{as_f32_slice, contiguous, whole};
use burn::backend::autodiff::NodeId;
use burn::tensor::{Gradients, Tensor};
use burn_flex::FlexTensor;
use std::cell::RefCell;
use std::collections::HashSet;

thread_local! {
    /// The nodes to which fused operations have given a gradient in this thread's backward pass; `None` outside of one. The engine's
    /// own list does not say what it holds.
    static WITH_GRADIENT: RefCell<Option<HashSet<NodeId>>> = const { RefCell::new(None) };
}

/// Ends a pass, also one that panics.
struct Pass;

impl Drop for Pass {
    fn drop(&mut self) {
        WITH_GRADIENT.set(None);
    }
}

/// The backward pass of a scalar.
pub(crate) fn backward(scalar: &Tensor<1>) -> Gradients {
    WITH_GRADIENT.set(Some(HashSet::new()));
    let _pass = Pass;
    scalar.backward()
}

/// Whether a fused operation has given this node a gradient before in this pass; from now on one has.
pub(super) fn has_gradient(node: NodeId) -> bool {
    WITH_GRADIENT.with_borrow_mut(|nodes| nodes.as_mut().is_some_and(|nodes| !nodes.insert(node)))
}

/// The sum of two tensors, in the place of one that nobody else holds.
pub(super) fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let (total, part) = if a.is_unique() || !b.is_unique() { (a, b) } else { (b, a) };
    let mut total = whole(total);
    cpu::level1::add(total.storage_mut(), as_f32_slice(&contiguous(part)));
    total
}
