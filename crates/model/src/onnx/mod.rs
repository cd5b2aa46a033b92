//! A trunk and heads as an ONNX graph, over rows that are padded to one length.
//!
//! ```text
//! input_ids, attention_mask (, token_type_ids)   int64 [batch, length]; the mask is 1 for tokens and 0 for padding
//! states                                          f32 [batch, length, hidden]
//! ```
//!
//! [`crate::Trunk::onnx`] makes the graph, a backbone adds its layers ([`crate::Backbone::onnx`]), and a head its outputs. What several of them need
//! is here: weights, linear layers, norms, attention, pooling. Padding may stand on either side where positions are relative (rotary
//! ones); else on the right.

mod attention;
mod layers;
mod pooling;
mod quantized;

pub(crate) use attention::OnnxAttention;
pub use onnx::{Attribute, Dim, Element, TooLarge, Value};

use crate::parameters::{MatrixId, Parameters, VectorId};
use onnx::Graph;
use std::collections::HashMap;

/// The numbers of a graph's large products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnnxPrecision {
    /// 32-bit floating point.
    #[default]
    F32,
    /// In the trunk: weights as signed bytes with a scale for each output, and states as unsigned bytes with a scale that is found
    /// when the graph runs, as onnxruntime's dynamic quantization has it: one for the whole batch, so that answers depend on what else
    /// is in it. Embeddings as bytes with a scale for each row. Heads stay f32.
    Int8,
    /// The same with a scale for each token: nearer to f32, the same answer in every batch, and slower, since onnxruntime has no one
    /// operator for it.
    Int8PerToken,
}

/// How a parameter stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// As it is: `[out, in]`, `[rows, columns]`, `[n]`.
    Plain,
    /// A linear layer's, as products take it: `[in, out]`.
    Transposed,
}

/// A graph that is made: see the module.
pub struct OnnxGraph {
    graph: Graph,
    weights: Parameters,
    precision: OnnxPrecision,
    /// The vector that is added to what enters the first layer: that of the rows' corpus.
    dataset: Option<Vec<f32>>,
    /// Parameters that the file has already.
    made: HashMap<(usize, Form), Value>,
    quantized: quantized::Made,
    /// What is computed once: masks, positions.
    once: HashMap<String, Value>,
}

impl OnnxGraph {
    /// A graph with the two inputs that every network has. `weights` are the parameters that its handles mean.
    pub(crate) fn new(weights: Parameters, precision: OnnxPrecision, dataset: Option<Vec<f32>>) -> Self {
        let mut graph = OnnxGraph {
            graph: Graph::new("polytask"),
            weights,
            precision,
            dataset,
            made: HashMap::new(),
            quantized: quantized::Made::default(),
            once: HashMap::new(),
        };
        graph.ids();
        graph.token_input("attention_mask");
        graph
    }

    /// The token ids, int64 `[batch, length]`.
    pub fn ids(&mut self) -> Value {
        self.token_input("input_ids")
    }

    /// An input with a whole number for each token, int64 `[batch, length]`.
    pub fn token_input(&mut self, name: &'static str) -> Value {
        self.once(name, |g| g.graph.input(name, Element::I64, &[Dim::Any("batch"), Dim::Any("length")]))
    }

    /// Gives a value out as f32. False where another input or output has the name.
    #[must_use]
    pub fn output(&mut self, name: &str, value: &Value, shape: &[Dim]) -> bool {
        if self.graph.has_name(name) {
            return false;
        }
        self.graph.output(name, value, Element::F32, shape);
        true
    }

    /// Adds an operator with one result.
    pub fn node(&mut self, op: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        self.graph.node(op, inputs, attributes)
    }

    /// A list of whole numbers: a shape, axes.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        self.graph.integers(values)
    }

    /// A whole number.
    pub(crate) fn i64(&mut self, value: i64) -> Value {
        self.graph.i64_constant(&[], &[value])
    }

    /// Numbers that are made of weights, under a new name.
    pub(crate) fn weight(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        self.graph.f32_weight(name, shape, values)
    }

    /// What `make` gives, computed once under a name.
    pub(crate) fn once(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if let Some(known) = self.once.get(name) {
            return known.clone();
        }
        let value = make(self);
        self.once.insert(name.to_owned(), value.clone());
        value
    }

    /// The weights with which it computes.
    pub fn weights(&self) -> &Parameters {
        &self.weights
    }

    /// A vector.
    pub fn vector(&mut self, id: VectorId) -> Value {
        self.parameter(id.index(), Form::Plain)
    }

    /// A matrix, as it is in [`Parameters`].
    pub fn matrix(&mut self, id: MatrixId) -> Value {
        self.parameter(id.index(), Form::Plain)
    }

    fn parameter(&mut self, index: usize, form: Form) -> Value {
        if let Some(known) = self.made.get(&(index, form)) {
            return known.clone();
        }
        let (name, shape, values) = self.values(index);
        let value = match (form, &shape[..]) {
            (Form::Transposed, &[rows, columns]) => {
                let name = format!("{name}.transposed");
                self.graph.f32_weight(&name, &[columns, rows], &transposed(&values, columns))
            }
            _ => self.graph.f32_weight(&name, &shape, &values),
        };
        self.made.insert((index, form), value.clone());
        value
    }

    /// The name, the shape and the numbers of a parameter.
    fn values(&self, index: usize) -> (String, Vec<usize>, Vec<f32>) {
        let parameter = self.weights.parameter(index);
        (parameter.name.to_string(), parameter.shape().to_vec(), self.weights.data(index))
    }

    /// The file.
    ///
    /// # Errors
    /// [`TooLarge`] beyond 2 GiB.
    pub fn into_bytes(self) -> Result<Vec<u8>, TooLarge> {
        self.graph.into_bytes("polytask", env!("CARGO_PKG_VERSION"))
    }
}

/// The columns of a matrix as rows.
fn transposed<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows() {
        assert_eq!(transposed(&[1, 2, 3, 4, 5, 6], 3), [1, 4, 2, 5, 3, 6]);
        assert_eq!(transposed(&[1, 2], 1), [1, 2]);
    }
}
