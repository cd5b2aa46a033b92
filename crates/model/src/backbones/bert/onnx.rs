//! The network as an ONNX graph.

use super::architecture::DISTANCES;
use super::{Bert, Layer, Norm};
use crate::onnx::{Attribute, Element, OnnxAttention, OnnxGraph, Value};
use crate::parameters::MatrixId;

/// Adds the network and returns its states.
pub(super) fn states(bert: &Bert, graph: &mut OnnxGraph) -> Value {
    let bias = bert.distances.map(|table| bias(bert, graph, table));
    let mut x = embeddings(bert, graph);
    for layer in &bert.layers {
        x = self::layer(bert, graph, layer, &x, bias.as_ref());
    }
    x
}

fn embeddings(bert: &Bert, graph: &mut OnnxGraph) -> Value {
    let ids = graph.ids();
    let words = graph.embed(bert.word, &ids);
    let positions = positions(bert, graph, &ids);
    let positions = graph.embed(bert.position, &positions);
    let mut x = graph.add(&words, &positions);
    if let Some(types) = bert.types {
        // Of a single type every token has its vector.
        let segments = match bert.settings.sizes.types {
            1 => graph.integers(&[0]),
            _ => graph.token_input("token_type_ids"),
        };
        let types = graph.embed(types, &segments);
        x = graph.add(&x, &types);
    }
    match bert.projection {
        None => {
            let x = graph.add_dataset(x);
            norm(bert, graph, &x, bert.norm)
        }
        Some(projection) => {
            let x = norm(bert, graph, &x, bert.norm);
            let x = graph.linear(&x, projection);
            graph.add_dataset(x)
        }
    }
}

/// Rows of the position table: `[length]`, or `[batch, length]` where padding ids do not count.
fn positions(bert: &Bert, graph: &mut OnnxGraph, ids: &Value) -> Value {
    let Some(padding) = bert.settings.padding_before_positions() else { return graph.positions() };
    let padding = graph.integers(&[padding.into()]);
    let is_padding = graph.node("Equal", &[ids, &padding], &[]);
    let counts = graph.node("Not", &[&is_padding], &[]);
    let counts = graph.node("Cast", &[&counts], &[("to", Attribute::Int(Element::I64.number().into()))]);
    let axis = graph.i64(1);
    let sums = graph.node("CumSum", &[&counts, &axis], &[]);
    let sums = graph.multiply(&sums, &counts);
    graph.add(&sums, &padding)
}

/// The bias of attention scores by distance, `[1, heads, length, length]`.
fn bias(bert: &Bert, graph: &mut OnnxGraph, table: MatrixId) -> Value {
    let reach = bert.settings.max_length().saturating_sub(1);
    let by_distance = DISTANCES.bias(graph.weights(), table, reach);
    let [rows, heads] = by_distance.dims();
    let values = by_distance.into_data().try_into_vec().unwrap_or_default();
    let by_distance = graph.weight("bias_by_distance", &[rows, heads], &values);
    let (distances, reach) = (graph.distances(), graph.integers(&[reach as i64]));
    let index = graph.add(&distances, &reach);
    let bias = graph.node("Gather", &[&by_distance, &index], &[("axis", Attribute::Int(0))]);
    let bias = graph.node("Transpose", &[&bias], &[("perm", Attribute::Ints(vec![2, 0, 1]))]);
    let axes = graph.integers(&[0]);
    graph.node("Unsqueeze", &[&bias, &axes], &[])
}

fn norm(bert: &Bert, graph: &mut OnnxGraph, x: &Value, norm: Norm) -> Value {
    graph.layer_norm(x, norm.gamma, Some(norm.beta), bert.settings.eps)
}

fn layer(bert: &Bert, graph: &mut OnnxGraph, layer: &Layer, x: &Value, bias: Option<&Value>) -> Value {
    let (h, heads) = (bert.settings.sizes.hidden, bert.settings.sizes.heads);
    let head_dim = h / heads;
    let qkv = graph.linear(x, layer.qkv);
    let qkv = graph.split(&qkv, [h; 3]).map(|part| graph.by_head(&part, heads, head_dim));
    let attention = OnnxAttention {
        heads,
        kv_heads: heads,
        head_dim,
        scale: (head_dim as f32).powf(-0.5),
        causal: false,
        window: None,
    };
    let y = graph.attention(qkv, bias, &attention);
    let y = graph.linear(&y, layer.output);
    let y = graph.add(&y, x);
    let x = norm(bert, graph, &y, layer.attention_norm);
    let y = graph.feed_forward(&x, &layer.feed_forward);
    let y = graph.add(&y, &x);
    norm(bert, graph, &y, layer.norm)
}
