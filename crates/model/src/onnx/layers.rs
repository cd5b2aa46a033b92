//! Embeddings, linear layers, norms and feed-forward blocks.

use super::{Attribute, Form, OnnxGraph, OnnxPrecision, Value};
use crate::parameters::{MatrixId, VectorId};
use crate::trunk::{Activation, FeedForwardId, LinearId};
use kernels::Glu;

impl OnnxGraph {
    /// Rows of a table: `ids` of any shape, the result with one more dimension.
    pub(crate) fn embed(&mut self, table: MatrixId, ids: &Value) -> Value {
        match self.precision {
            OnnxPrecision::F32 => {
                let table = self.matrix(table);
                self.node("Gather", &[&table, ids], &[("axis", Attribute::Int(0))])
            }
            OnnxPrecision::Int8 | OnnxPrecision::Int8PerToken => self.quantized_embed(table, ids),
        }
    }

    /// Adds the vector of the rows' corpus, where corpora have any.
    pub(crate) fn add_dataset(&mut self, x: Value) -> Value {
        let Some(vector) = self.dataset.clone() else { return x };
        let vector = self.graph.f32_constant(&[vector.len()], &vector);
        self.add(&x, &vector)
    }

    /// The sum of two values, of one shape or of shapes of which one is repeated.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], &[])
    }

    /// The product, number by number.
    pub(crate) fn multiply(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], &[])
    }

    /// Times a number.
    pub(crate) fn scale(&mut self, x: &Value, factor: f32) -> Value {
        let factor = self.graph.number(factor);
        self.multiply(x, &factor)
    }

    /// Times a number, and another added.
    pub fn scaled(&mut self, x: &Value, [factor, offset]: [f32; 2]) -> Value {
        let (y, offset) = (self.scale(x, factor), self.graph.number(offset));
        self.add(&y, &offset)
    }

    /// A linear layer of the trunk: `[.., in]` to `[.., out]`.
    pub(crate) fn linear(&mut self, x: &Value, w: LinearId) -> Value {
        let y = match self.precision {
            OnnxPrecision::F32 => self.product(x, w.weight),
            OnnxPrecision::Int8 => self.quantized_product(x, w.weight),
            OnnxPrecision::Int8PerToken => self.quantized_product_per_token(x, w.weight),
        };
        match w.bias {
            Some(bias) => {
                let bias = self.vector(bias);
                self.add(&y, &bias)
            }
            None => y,
        }
    }

    /// A linear layer of a head, always in f32: `[.., in]` to `[.., out]`.
    pub fn head_linear(&mut self, x: &Value, weight: MatrixId, bias: VectorId) -> Value {
        let y = self.product(x, weight);
        let bias = self.vector(bias);
        self.add(&y, &bias)
    }

    /// `x W^T`
    pub fn product(&mut self, x: &Value, weight: MatrixId) -> Value {
        // A table that the file has already, as that of the embeddings, does not stand there twice.
        let w = match self.made.get(&(weight.index(), Form::Plain)) {
            Some(plain) => {
                let plain = plain.clone();
                self.node("Transpose", &[&plain], &[("perm", Attribute::Ints(vec![1, 0]))])
            }
            None => self.parameter(weight.index(), Form::Transposed),
        };
        self.node("MatMul", &[x, &w], &[])
    }

    /// Layer norm over the last dimension.
    pub fn layer_norm(&mut self, x: &Value, gamma: VectorId, beta: Option<VectorId>, eps: f32) -> Value {
        let gamma = self.vector(gamma);
        let beta = beta.map(|beta| self.vector(beta));
        let inputs: Vec<&Value> = [x, &gamma].into_iter().chain(&beta).collect();
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(eps))];
        self.node("LayerNormalization", &inputs, &attributes)
    }

    /// RMS norm over the last dimension, with a number added to every weight.
    pub(crate) fn rms_norm(&mut self, x: &Value, gamma: VectorId, offset: f32, eps: f32) -> Value {
        let mut weight = self.vector(gamma);
        if offset != 0.0 {
            let offset = self.graph.number(offset);
            weight = self.add(&weight, &offset);
        }
        let squares = self.multiply(x, x);
        let mean = self.node("ReduceMean", &[&squares], &[("axes", Attribute::Ints(vec![-1]))]);
        let eps = self.graph.number(eps);
        let mean = self.add(&mean, &eps);
        let root = self.node("Sqrt", &[&mean], &[]);
        let y = self.node("Div", &[x, &root], &[]);
        self.multiply(&y, &weight)
    }

    /// A feed-forward block.
    pub(crate) fn feed_forward(&mut self, x: &Value, block: &FeedForwardId) -> Value {
        let inner = self.linear(x, block.ffn_in);
        let gate = block.gate.map(|gate| self.linear(x, gate));
        let active = match (block.activation, gate) {
            (Activation::Gelu, _) => self.gelu(&inner),
            (Activation::GeluTanh, _) => self.gelu_tanh(&inner),
            (Activation::Relu, _) => self.node("Relu", &[&inner], &[]),
            (Activation::GluOfHalves(activation), _) => {
                let [a, b] = self.halves(&inner, block.ffn_out);
                self.glu(&a, &b, activation)
            }
            (Activation::Glu(activation), Some(gate)) => self.glu(&inner, &gate, activation),
            (Activation::GluOfGate(activation), Some(gate)) => self.glu(&gate, &inner, activation),
            (Activation::Glu(_) | Activation::GluOfGate(_), None) => unreachable!("a gated block has a gate"),
        };
        self.linear(&active, block.ffn_out)
    }

    /// The columns in two halves, each as wide as what the next layer reads.
    fn halves(&mut self, x: &Value, next: LinearId) -> [Value; 2] {
        let width = self.weights.shape(next.weight.index())[1];
        self.split(x, [width, width])
    }

    /// The last dimension in parts of these sizes.
    pub(crate) fn split<const N: usize>(&mut self, x: &Value, sizes: [usize; N]) -> [Value; N] {
        let sizes = self.graph.integers(&sizes.map(|size| size as i64));
        self.graph.node_with("Split", &[x, &sizes], &[("axis", Attribute::Int(-1))])
    }

    fn glu(&mut self, a: &Value, b: &Value, activation: Glu) -> Value {
        let a = match activation {
            Glu::Gelu => self.gelu(a),
            Glu::GeluTanh => self.gelu_tanh(a),
            Glu::Silu => {
                let sigmoid = self.node("Sigmoid", &[a], &[]);
                self.multiply(a, &sigmoid)
            }
        };
        self.multiply(&a, b)
    }

    /// The exact GELU, in the form that onnxruntime makes one operator of.
    pub fn gelu(&mut self, x: &Value) -> Value {
        let (root, one) = (self.graph.number(std::f32::consts::SQRT_2), self.graph.number(1.0));
        let z = self.node("Div", &[x, &root], &[]);
        let erf = self.node("Erf", &[&z], &[]);
        let sum = self.add(&erf, &one);
        let product = self.multiply(x, &sum);
        self.scale(&product, 0.5)
    }

    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`
    fn gelu_tanh(&mut self, x: &Value) -> Value {
        let square = self.multiply(x, x);
        let cube = self.multiply(&square, x);
        let cube = self.scale(&cube, 0.044_715);
        let z = self.add(x, &cube);
        let z = self.scale(&z, (2.0 / std::f32::consts::PI).sqrt());
        let tanh = self.node("Tanh", &[&z], &[]);
        let one = self.graph.number(1.0);
        let sum = self.add(&tanh, &one);
        let product = self.multiply(x, &sum);
        self.scale(&product, 0.5)
    }
}
