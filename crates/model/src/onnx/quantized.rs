//! Products of bytes, as onnxruntime's dynamic quantization has them.
//!
//! ```text
//! W[o, i] ~ w[o, i] s[o],  w = round(W / s), s[o] = max |W[o]| / 127      once, when the file is written
//! x[n, i] ~ (x8[n, i] - z) a                                             DynamicQuantizeLinear, over the whole value
//! y[n, o] = (sum_i (x8[n, i] - z) w[o, i]) a s[o]                        MatMulInteger in 32 bits
//! ```
//! With a scale for each token `a[n] = max |x[n]| / 127` and z = 128, by operators of their own.

use super::{Attribute, Element, OnnxGraph, Value, transposed};
use crate::parameters::MatrixId;
use std::collections::HashMap;

/// What is there already.
#[derive(Default)]
pub(super) struct Made {
    /// Quantized states, their scale and their zero.
    states: HashMap<Value, [Value; 3]>,
    /// Quantized matrices and their scales.
    matrices: HashMap<usize, [Value; 2]>,
}

/// The largest byte.
const LARGEST: f32 = 127.0;

/// A matrix `[rows, columns]` as bytes, with a scale for each row.
#[allow(clippy::cast_possible_truncation)] // Rounded numbers of at most 127.
pub(super) fn quantize_rows(values: &[f32], columns: usize) -> (Vec<i8>, Vec<f32>) {
    let mut bytes = Vec::with_capacity(values.len());
    let mut scales = Vec::new();
    for row in values.chunks(columns.max(1)) {
        let largest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let scale = if largest > 0.0 { largest / LARGEST } else { 1.0 };
        bytes.extend(row.iter().map(|value| (value / scale).round().clamp(-LARGEST, LARGEST) as i8));
        scales.push(scale);
    }
    (bytes, scales)
}

fn as_bytes(values: Vec<i8>) -> Vec<u8> {
    values.into_iter().map(i8::cast_unsigned).collect()
}

impl OnnxGraph {
    /// Rows of a table of bytes.
    pub(super) fn quantized_embed(&mut self, table: MatrixId, ids: &Value) -> Value {
        let [bytes, scales] = self.quantized(table, false);
        let gather = [("axis", Attribute::Int(0))];
        let bytes = self.node("Gather", &[&bytes, ids], &gather);
        let scales = self.node("Gather", &[&scales, ids], &gather);
        let numbers = self.node("Cast", &[&bytes], &[("to", Attribute::Int(Element::F32.number().into()))]);
        self.multiply(&numbers, &scales)
    }

    /// `x W^T`
    pub(super) fn quantized_product(&mut self, x: &Value, weight: MatrixId) -> Value {
        let quantize = |g: &mut Self| g.graph.node_with("DynamicQuantizeLinear", &[x], &[]);
        let [bytes, scale, zero] = self.quantized_states(x, quantize);
        let [w, scales] = self.quantized(weight, true);
        let sum = self.integer_product([&bytes, &w, &zero]);
        // In this order onnxruntime makes one operator of it, which knows one scale for all states.
        let scale = self.multiply(&scale, &scales);
        self.multiply(&sum, &scale)
    }

    /// `x W^T`, with a scale for each row of `x`.
    pub(super) fn quantized_product_per_token(&mut self, x: &Value, weight: MatrixId) -> Value {
        let [bytes, scale, zero] = self.quantized_states(x, |g| g.quantize_tokens(x));
        let [w, scales] = self.quantized(weight, true);
        let sum = self.integer_product([&bytes, &w, &zero]);
        let y = self.multiply(&sum, &scales);
        self.multiply(&y, &scale)
    }

    /// States as bytes, their scale and their zero, made once.
    fn quantized_states(&mut self, x: &Value, make: impl FnOnce(&mut Self) -> [Value; 3]) -> [Value; 3] {
        if let Some(known) = self.quantized.states.get(x) {
            return known.clone();
        }
        let made = make(self);
        self.quantized.states.insert(x.clone(), made.clone());
        made
    }

    fn quantize_tokens(&mut self, x: &Value) -> [Value; 3] {
        let zero =
            self.once("zero of bytes", |g| g.graph.weight("zero_of_bytes", Element::U8, &[], vec![128]));
        let size = self.node("Abs", &[x], &[]);
        let last = [("axes", Attribute::Ints(vec![-1])), ("keepdims", Attribute::Int(1))];
        let largest = self.node("ReduceMax", &[&size], &last);
        let scale = self.scale(&largest, 1.0 / LARGEST);
        let (least, shift) = (self.graph.number(f32::MIN_POSITIVE), self.graph.number(128.0));
        let scale = self.node("Max", &[&scale, &least], &[]);
        let steps = self.node("Div", &[x, &scale], &[]);
        let steps = self.node("Round", &[&steps], &[]);
        let steps = self.add(&steps, &shift);
        let bytes = self.node("Cast", &[&steps], &[("to", Attribute::Int(Element::U8.number().into()))]);
        [bytes, scale, zero]
    }

    /// Sums of products of bytes, as f32.
    fn integer_product(&mut self, [x, w, zero]: [&Value; 3]) -> Value {
        let sum = self.node("MatMulInteger", &[x, w, zero], &[]);
        self.node("Cast", &[&sum], &[("to", Attribute::Int(Element::F32.number().into()))])
    }

    /// A matrix as bytes and its scales: a linear layer's `[in, out]` and `[out]`, or a table's `[rows, columns]` and `[rows, 1]`.
    fn quantized(&mut self, matrix: MatrixId, linear: bool) -> [Value; 2] {
        if let Some(known) = self.quantized.matrices.get(&matrix.index()) {
            return known.clone();
        }
        let (name, shape, values) = self.values(matrix.index());
        let [rows, columns] = [shape[0], shape[1]];
        let (bytes, scales) = quantize_rows(&values, columns);
        let (bytes, shape, of_scales) = match linear {
            true => (transposed(&bytes, columns), [columns, rows], vec![rows]),
            false => (bytes, [rows, columns], vec![rows, 1]),
        };
        let made = [
            self.graph.weight(&format!("{name}.int8"), Element::I8, &shape, as_bytes(bytes)),
            self.graph.f32_weight(&format!("{name}.scale"), &of_scales, &scales),
        ];
        self.quantized.matrices.insert(matrix.index(), made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_scales_of_their_own_and_errors_of_half_a_step() {
        let values = [0.5, -1.0, 0.25, 200.0, 0.0, -3.0, 0.0, 0.0, 0.0];
        let (bytes, scales) = quantize_rows(&values, 3);
        assert_eq!(scales, [1.0 / 127.0, 200.0 / 127.0, 1.0]);
        assert_eq!(bytes, [64, -127, 32, 127, 0, -2, 0, 0, 0]);
        for (at, (value, byte)) in values.iter().zip(bytes).enumerate() {
            let scale = scales[at / 3];
            assert!((value - f32::from(byte) * scale).abs() <= scale * 0.5001);
        }
    }
}
