//! Linear layers and feed-forward blocks: the handles that a network keeps of their weights, and the weights in hand.

use crate::parameters::{MatrixId, VectorId};
use burn::tensor::Tensor;
use kernels::{Glu, Precision};

/// The weights of a linear layer.
#[derive(Debug, Clone, Copy)]
pub struct LinearId {
    /// `[out, in]`
    pub weight: MatrixId,
    /// `[out]`; `None` for a layer without.
    pub bias: Option<VectorId>,
}

/// The activation between the two linear layers of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The exact GELU.
    Gelu,
    /// The tanh approximation of the GELU.
    GeluTanh,
    /// The activation of what `ffn_in` gives, times what the gate gives (T5).
    Glu(Glu),
    /// The activation of what the gate gives, times what `ffn_in` gives (Llama).
    GluOfGate(Glu),
    /// The activation of the first half of what `ffn_in` gives, times the second: the gate is in the same weight (ModernBERT).
    GluOfHalves(Glu),
    /// ReLU.
    Relu,
}

impl Activation {
    /// What is inside a block `[n, ffn]`, of what the maps into it give.
    pub(super) fn apply(self, inner: Tensor<2>, gate: Option<Tensor<2>>) -> Tensor<2> {
        match (self, gate) {
            (Activation::Gelu, _) => kernels::gelu(inner),
            (Activation::GeluTanh, _) => kernels::gelu_tanh(inner),
            (Activation::Relu, _) => kernels::relu(inner),
            (Activation::GluOfHalves(activation), _) => {
                let [a, b] = halves(inner);
                kernels::glu(a, b, activation)
            }
            (Activation::Glu(activation), Some(gate)) => kernels::glu(inner, gate, activation),
            (Activation::GluOfGate(activation), Some(gate)) => kernels::glu(gate, inner, activation),
            (Activation::Glu(_) | Activation::GluOfGate(_), None) => unreachable!("a gated block has a gate"),
        }
    }
}

/// The columns of a matrix in two.
fn halves(x: Tensor<2>) -> [Tensor<2>; 2] {
    let width = x.dims()[1];
    [0..width / 2, width / 2..width].map(|columns| kernels::take_columns(x.clone(), columns))
}

/// The weights of a feed-forward block.
#[derive(Debug, Clone, Copy)]
pub struct FeedForwardId {
    /// `[ffn, hidden]`; `[2 ffn, hidden]` for [`Activation::GluOfHalves`].
    pub ffn_in: LinearId,
    /// `[ffn, hidden]`, for [`Activation::Glu`] and [`Activation::GluOfGate`].
    pub gate: Option<LinearId>,
    /// `[hidden, ffn]`
    pub ffn_out: LinearId,
    /// Between them.
    pub activation: Activation,
}

/// The weights of a linear layer in hand: `[out, in]` and `[out]`.
type Linear = (Tensor<2>, Tensor<1>);

/// The weights of a feed-forward block in hand, whoever's they are.
pub struct FeedForwardWeights {
    ffn_in: Linear,
    gate: Option<Linear>,
    ffn_out: Linear,
    activation: Activation,
}

impl FeedForwardWeights {
    /// Those that the functions give for the handles of a block.
    pub fn of(
        block: &FeedForwardId,
        matrix: impl Fn(MatrixId) -> Tensor<2>,
        vector: impl Fn(VectorId) -> Tensor<1>,
    ) -> Self {
        let linear = |id: LinearId| {
            let weight = matrix(id.weight);
            let zeros = || Tensor::zeros([weight.dims()[0]], &weight.device());
            let bias = id.bias.map_or_else(zeros, &vector);
            (weight, bias)
        };
        FeedForwardWeights {
            ffn_in: linear(block.ffn_in),
            gate: block.gate.map(linear),
            ffn_out: linear(block.ffn_out),
            activation: block.activation,
        }
    }

    /// The block: `x` `[n, in]`, result `[n, hidden]`, without dropout inside.
    pub fn run(self, x: Tensor<2>, precision: Precision) -> Tensor<2> {
        if self.activation == Activation::Gelu {
            let ((w1, b1), (w2, b2)) = (self.ffn_in, self.ffn_out);
            return kernels::ffn(x, w1, b1, w2, b2, precision);
        }
        let inner = self.inner(x, precision, |inner| inner, |gate| gate);
        self.outer(inner, precision)
    }

    /// What is inside the block, `[n, intermediate]`. `of_in` and `of_gate` may change what the maps into it give.
    pub fn inner(
        &self,
        x: Tensor<2>,
        precision: Precision,
        of_in: impl FnOnce(Tensor<2>) -> Tensor<2>,
        of_gate: impl FnOnce(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let linear = |(w, b): &Linear| kernels::linear(x.clone(), w.clone(), b.clone(), precision);
        let inner = linear(&self.ffn_in);
        if let Activation::GluOfHalves(activation) = self.activation {
            let [a, b] = halves(inner);
            return kernels::glu(of_in(a), of_gate(b), activation);
        }
        let inner = of_in(inner);
        self.activation.apply(inner, self.gate.as_ref().map(|gate| of_gate(linear(gate))))
    }

    /// The output `[n, hidden]` of what is inside.
    pub fn outer(&self, inner: Tensor<2>, precision: Precision) -> Tensor<2> {
        let (w, b) = self.ffn_out.clone();
        kernels::linear(inner, w, b, precision)
    }
}
