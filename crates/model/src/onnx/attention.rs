//! Attention over padded rows.

use super::{Attribute, Element, OnnxGraph, Value};
use std::fmt::Write;

/// Added to the scores of tokens that are not seen. Whatever the scores are, its exponential is 0.
const UNSEEN: f32 = -1e30;

/// How queries see keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnnxAttention {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values; they divide `heads`.
    pub kv_heads: usize,
    /// Columns of a head.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Whether a token sees none after it.
    pub causal: bool,
    /// How far away what a token sees may be.
    pub window: Option<usize>,
}

impl OnnxGraph {
    fn cast(&mut self, x: &Value, to: Element) -> Value {
        self.node("Cast", &[x], &[("to", Attribute::Int(to.number().into()))])
    }

    /// The numbers 0 to length, int64 `[length]`.
    pub(crate) fn positions(&mut self) -> Value {
        self.once("positions", |g| {
            let ids = g.ids();
            let shape = g.node("Shape", &[&ids], &[]);
            let [zero, one] = [0, 1].map(|number| g.graph.i64_constant(&[], &[number]));
            let length = g.node("Gather", &[&shape, &one], &[("axis", Attribute::Int(0))]);
            g.node("Range", &[&zero, &length, &one], &[])
        })
    }

    /// The mask as numbers, f32 `[batch, length]`.
    pub(crate) fn mask(&mut self) -> Value {
        self.once("mask", |g| {
            let mask = g.token_input("attention_mask");
            g.cast(&mask, Element::F32)
        })
    }

    /// The place of each key less that of each query, int64 `[length, length]`, a row a query.
    pub(crate) fn distances(&mut self) -> Value {
        self.once("distances", |g| {
            let positions = g.positions();
            let [first, second] = [0, 1].map(|axis| {
                let axes = g.graph.integers(&[axis]);
                g.node("Unsqueeze", &[&positions, &axes], &[])
            });
            g.node("Sub", &[&first, &second], &[])
        })
    }

    /// What is added to scores: nothing for tokens that are seen, f32, to be repeated to `[batch, heads, length, length]`.
    fn unseen(&mut self, causal: bool, window: Option<usize>) -> Value {
        let mut name = format!("unseen {causal}");
        let _ = window.map(|window| write!(name, " {window}"));
        self.once(&name, |g| {
            let mask = g.mask();
            let axes = g.graph.integers(&[1, 2]);
            let mask = g.node("Unsqueeze", &[&mask, &axes], &[]);
            let one = g.graph.number(1.0);
            let padding = g.node("Sub", &[&one, &mask], &[]);
            let mut unseen = padding;
            if causal {
                let (distances, zero) = (g.distances(), g.graph.i64_constant(&[], &[0]));
                let after = g.node("Greater", &[&distances, &zero], &[]);
                let after = g.cast(&after, Element::F32);
                unseen = g.add(&unseen, &after);
            }
            if let Some(window) = window {
                let distances = g.distances();
                let away = g.node("Abs", &[&distances], &[]);
                let most = g.graph.i64_constant(&[], &[window as i64]);
                let far = g.node("Greater", &[&away, &most], &[]);
                let far = g.cast(&far, Element::F32);
                unseen = g.add(&unseen, &far);
            }
            g.scale(&unseen, UNSEEN)
        })
    }

    /// `[batch, length, heads head_dim]` as `[batch, heads, length, head_dim]`.
    pub(crate) fn by_head(&mut self, x: &Value, heads: usize, head_dim: usize) -> Value {
        let shape = self.graph.integers(&[0, 0, heads as i64, head_dim as i64]);
        let x = self.node("Reshape", &[x, &shape], &[]);
        self.node("Transpose", &[&x], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))])
    }

    /// Each head of keys or values as often as queries read it.
    fn repeated(&mut self, x: Value, s: &OnnxAttention) -> Value {
        let times = s.heads / s.kv_heads;
        if times == 1 {
            return x;
        }
        let axes = self.graph.integers(&[2]);
        let x = self.node("Unsqueeze", &[&x, &axes], &[]);
        let shape = self.graph.integers(&[1, 1, times as i64, 1, 1]);
        let x = self.node("Expand", &[&x, &shape], &[]);
        let shape = self.graph.integers(&[0, s.heads as i64, -1, s.head_dim as i64]);
        self.node("Reshape", &[&x, &shape], &[])
    }

    /// The attention `[batch, length, heads head_dim]` of queries, keys and values `[batch, heads, length, head_dim]`; `bias` is
    /// added to the scores.
    pub(crate) fn attention(
        &mut self,
        [q, k, v]: [Value; 3],
        bias: Option<&Value>,
        s: &OnnxAttention,
    ) -> Value {
        let [k, v] = [k, v].map(|x| self.repeated(x, s));
        let k = self.node("Transpose", &[&k], &[("perm", Attribute::Ints(vec![0, 1, 3, 2]))]);
        let scores = self.node("MatMul", &[&q, &k], &[]);
        let mut scores = self.scale(&scores, s.scale);
        if let Some(bias) = bias {
            scores = self.add(&scores, bias);
        }
        let unseen = self.unseen(s.causal, s.window);
        let scores = self.add(&scores, &unseen);
        let weights = self.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let context = self.node("MatMul", &[&weights, &v], &[]);
        let context = self.node("Transpose", &[&context], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))]);
        let shape = self.graph.integers(&[0, 0, (s.heads * s.head_dim) as i64]);
        self.node("Reshape", &[&context, &shape], &[])
    }

    /// Rotates pairs of columns `i` and `i + head_dim / 2` of `[batch, heads, length, head_dim]` by the tokens' places times a
    /// frequency; cosines and sines are multiplied by `factor`. `sort` names the frequencies.
    pub(crate) fn rotary(&mut self, x: &Value, sort: &str, frequencies: &[f32], factor: f32) -> Value {
        let [cos, sin] = ["Cos", "Sin"].map(|op| {
            self.once(&format!("{op} {sort}"), |g| {
                let angles = g.angles(sort, frequencies);
                let y = g.node(op, &[&angles], &[]);
                if factor == 1.0 { y } else { g.scale(&y, factor) }
            })
        });
        let half = frequencies.len();
        let [a, b] = self.split(x, [half, half]);
        let mut part = |op: &str, [x, y]: [&Value; 2]| {
            let (x, y) = (self.multiply(x, &cos), self.multiply(y, &sin));
            self.node(op, &[&x, &y], &[])
        };
        let (first, second) = (part("Sub", [&a, &b]), part("Add", [&b, &a]));
        self.node("Concat", &[&first, &second], &[("axis", Attribute::Int(-1))])
    }

    /// The angles `[length, frequencies]` of the tokens' places.
    fn angles(&mut self, sort: &str, frequencies: &[f32]) -> Value {
        self.once(&format!("angles {sort}"), |g| {
            let positions = g.positions();
            let positions = g.cast(&positions, Element::F32);
            let axes = g.graph.integers(&[1]);
            let positions = g.node("Unsqueeze", &[&positions, &axes], &[]);
            let frequencies = g.graph.f32_constant(&[frequencies.len()], frequencies);
            g.multiply(&positions, &frequencies)
        })
    }
}
