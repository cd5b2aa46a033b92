//! Heads as parts of an ONNX graph.

use model::onnx::{Dim, Value};
use serde_json::json;

/// What a head adds to a graph.
pub struct OnnxHead {
    /// Its output, of [`OnnxHead::shape`].
    pub output: Value,
    /// The output's shape.
    pub shape: Vec<Dim>,
    /// How an answer is made of the output, for whoever runs the graph: `activation` and what else a kind needs.
    pub decoding: serde_json::Value,
}

impl OnnxHead {
    /// A row of numbers for each row of the batch: `[batch, width]`.
    pub(crate) fn of_rows(output: Value, width: usize, activation: &str) -> Self {
        let shape = vec![Dim::Any("batch"), Dim::Size(width)];
        OnnxHead { output, shape, decoding: json!({ "activation": activation }) }
    }

    /// A row of numbers for each token: `[batch, length, width]`.
    pub(crate) fn of_tokens(output: Value, width: usize, activation: &str) -> Self {
        let shape = vec![Dim::Any("batch"), Dim::Any("length"), Dim::Size(width)];
        OnnxHead { output, shape, decoding: json!({ "activation": activation }) }
    }

    /// The same with one more thing to know.
    pub(crate) fn with(mut self, key: &str, value: serde_json::Value) -> Self {
        self.decoding[key] = value;
        self
    }
}

/// The numbers of a graph's output for the words of a row: those of each word's first token.
pub(crate) const FIRST_TOKENS: &str = "first_token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_else_is_to_be_known_stands_beside_the_activation() {
        let output = Value::none();
        let head = OnnxHead::of_tokens(output, 3, "softmax").with("word", json!(FIRST_TOKENS));
        assert_eq!(head.shape, [Dim::Any("batch"), Dim::Any("length"), Dim::Size(3)]);
        assert_eq!(head.decoding, json!({ "activation": "softmax", "word": "first_token" }));
    }
}
