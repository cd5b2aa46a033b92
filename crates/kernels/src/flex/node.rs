//! How a fused operation becomes a node of the autodiff graph, and the way from tensors to slices and back.

use super::gradient_sums;
use burn::backend::{
    Autodiff, Backend, Flex, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};
use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;
use std::fmt::{Debug, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

/// A fused operation of `N` tensors. A value of it is what the forward pass saved for the backward.
pub(super) trait FusedOp<const N: usize>: Send + Sync + Sized + 'static {
    /// What the operation needs besides tensors.
    type Settings;

    /// The result, from contiguous f32 tensors. `requires_grad` says which inputs will want a gradient: if any does, the saved
    /// values come along, but only those that these gradients need.
    fn forward(
        settings: Self::Settings,
        inputs: [FlexTensor; N],
        requires_grad: [bool; N],
    ) -> (FlexTensor, Option<Self>);

    /// The inputs' gradients from that of the result, `d`, which may be written over.
    fn backward(&self, d: FlexTensor, requires_grad: [bool; N]) -> [Option<FlexTensor>; N];

    /// Whether the operation's gradient is a part of that of its only input, which [`FusedOp::add_to_gradient`] adds to it in place.
    const ADDS_TO_GRADIENT: bool = false;

    /// The gradient that other operations gave the only input, with that of this one added.
    fn add_to_gradient(&self, total: FlexTensor, _d: &FlexTensor) -> FlexTensor {
        total
    }

    /// The same operation out of the engine's own ones, for other element types.
    fn reference<B: Backend>(settings: Self::Settings, inputs: [FloatTensor<B>; N]) -> FloatTensor<B>;
}

/// Goes back through a block, if it saved anything and has a gradient to go back with.
pub(super) fn backward_if<K: FusedOp<N>, const N: usize>(
    block: Option<&K>,
    d: Option<FlexTensor>,
    requires_grad: [bool; N],
) -> [Option<FlexTensor>; N] {
    match (block, d) {
        (Some(block), Some(d)) => block.backward(d, requires_grad),
        _ => [const { None }; N],
    }
}

/// Runs a block and keeps nothing.
pub(super) fn forward_inference<K: FusedOp<N>, const N: usize>(
    settings: K::Settings,
    inputs: [FlexTensor; N],
) -> FlexTensor {
    if inputs.iter().any(|x| x.dtype() != DType::F32) {
        return K::reference::<Flex>(settings, inputs);
    }
    crate::check_memory();
    K::forward(settings, inputs.map(contiguous), [false; N]).0
}

/// Runs a block and records it, if one of its inputs is tracked.
pub(super) fn forward_autograd<C: CheckpointStrategy, K: FusedOp<N>, const N: usize>(
    settings: K::Settings,
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
) -> FloatTensor<Autodiff<Flex, C>> {
    if inputs.iter().any(|x| x.primitive().dtype() != DType::F32) {
        return K::reference::<Autodiff<Flex, C>>(settings, inputs);
    }
    crate::check_memory();
    let requires_grad = inputs.each_ref().map(|x| x.is_tracked());
    let nodes = inputs.each_ref().map(|x| x.node());
    let (y, saved) = K::forward(settings, inputs.map(|x| contiguous(x.into_primitive())), requires_grad);
    match (Node::<K, N>(PhantomData).prepare::<C>(nodes).compute_bound().stateful(), saved) {
        (OpsKind::Tracked(node), Some(saved)) => node.finish(Saved(Arc::new(saved)), y),
        (OpsKind::UnTracked(node), _) => node.finish(y),
        (OpsKind::Tracked(_), None) => unreachable!("a block saves when an input is tracked"),
    }
}

/// The step of the graph that belongs to a block.
struct Node<K, const N: usize>(PhantomData<fn() -> K>);

/// What a block saved, shared because the graph wants its states to be `Clone`.
struct Saved<K>(Arc<K>);

impl<K: FusedOp<N>, const N: usize> Backward<Flex, N> for Node<K, N> {
    type State = Saved<K>;

    fn backward(self, ops: Ops<Saved<K>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let requires_grad = ops.parents.each_ref().map(Option::is_some);
        let d = contiguous(gradients.consume::<Flex>(&ops.node));
        // A leaf keeps its gradient with the engine, which alone can add to that.
        let adds = |parent, is_leaf: bool| !is_leaf && gradient_sums::has_gradient(parent);
        if let (true, [Some(parent)]) = (K::ADDS_TO_GRADIENT, &ops.parents[..]) {
            let sum = match adds(parent.id, parent.parents.is_empty()) {
                true => Some(ops.state.0.add_to_gradient(gradients.consume::<Flex>(parent), &d)),
                false => ops.state.0.backward(d, requires_grad).into_iter().next().flatten(),
            };
            if let Some(sum) = sum {
                gradients.register::<Flex>(parent.id, sum);
            }
            return;
        }
        for (parent, gradient) in ops.parents.iter().zip(ops.state.0.backward(d, requires_grad)) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                let sum = match adds(parent.id, parent.parents.is_empty()) {
                    true => gradient_sums::add(gradients.consume::<Flex>(parent), gradient),
                    false => gradient,
                };
                gradients.register::<Flex>(parent.id, sum);
            }
        }
    }
}

impl<K> Clone for Saved<K> {
    fn clone(&self) -> Self {
        Saved(self.0.clone())
    }
}

impl<K> Debug for Saved<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Saved({})", std::any::type_name::<K>())
    }
}

impl<K, const N: usize> Debug for Node<K, N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", std::any::type_name::<K>())
    }
}

/// Row-major without gaps; copies only a view that is not.
pub(super) fn contiguous(x: FlexTensor) -> FlexTensor {
    if x.is_contiguous() { x } else { x.to_contiguous() }
}

/// The numbers of a contiguous f32 tensor.
pub(super) fn as_f32_slice(x: &FlexTensor) -> &[f32] {
    x.as_slice().expect("blocks are given contiguous f32 tensors")
}

/// Size of a dimension.
pub(super) fn dim(x: &FlexTensor, i: usize) -> usize {
    x.layout().shape()[i]
}

/// A buffer as a tensor, not copied.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A buffer as a tensor of the shape of `of`.
pub(super) fn like(values: Vec<f32>, of: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, of.shape()))
}

/// A tensor whose storage is exactly its numbers, in order. Copies only a view of something else; writing to it
/// copies if somebody else holds it too.
pub(super) fn whole(x: FlexTensor) -> FlexTensor {
    let layout = x.layout();
    let size = layout.num_elements() * size_of::<f32>();
    if layout.is_contiguous() && layout.start_offset() == 0 && x.bytes().len() == size {
        x
    } else {
        x.to_contiguous()
    }
}
