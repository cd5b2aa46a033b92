//! The network as an ONNX graph.

use super::{Deberta, Layer, Norm};
use crate::onnx::{Attribute, OnnxAttention, OnnxGraph, Value};
use crate::trunk::LinearId;

/// Adds the network and returns its states.
pub(super) fn states(deberta: &Deberta, graph: &mut OnnxGraph) -> Value {
    let distances = vectors(deberta, graph);
    let mut x = embeddings(deberta, graph);
    for layer in &deberta.layers {
        x = self::layer(deberta, graph, layer, &x, &distances);
    }
    x
}

fn norm(deberta: &Deberta, graph: &mut OnnxGraph, x: &Value, norm: Norm) -> Value {
    graph.layer_norm(x, norm.gamma, Some(norm.beta), deberta.settings.eps)
}

fn embeddings(deberta: &Deberta, graph: &mut OnnxGraph) -> Value {
    let ids = graph.ids();
    let mut x = graph.embed(deberta.word, &ids);
    if let Some(position) = deberta.position {
        let positions = graph.positions();
        let positions = graph.embed(position, &positions);
        x = graph.add(&x, &positions);
    }
    if let Some(types) = deberta.types {
        // Of a single type every token has its vector.
        let segments = match deberta.settings.types {
            1 => graph.integers(&[0]),
            _ => graph.token_input("token_type_ids"),
        };
        let types = graph.embed(types, &segments);
        x = graph.add(&x, &types);
    }
    let x = graph.add_dataset(x);
    norm(deberta, graph, &x, deberta.norm)
}

/// The vectors of all distances, `[distances, hidden]`.
fn vectors(deberta: &Deberta, graph: &mut OnnxGraph) -> Value {
    let table = graph.matrix(deberta.distances);
    match deberta.distances_norm {
        Some(own) => norm(deberta, graph, &table, own),
        None => table,
    }
}

fn layer(deberta: &Deberta, graph: &mut OnnxGraph, layer: &Layer, x: &Value, distances: &Value) -> Value {
    let s = &deberta.settings;
    let head_dim = s.hidden / s.heads;
    let qkv = graph.linear(x, layer.qkv);
    let [q, k, v] = graph.split(&qkv, [s.hidden; 3]).map(|part| graph.by_head(&part, s.heads, head_dim));
    let parts = usize::from(s.content_to_position) + usize::from(s.position_to_content);
    let attention = OnnxAttention {
        heads: s.heads,
        kv_heads: s.heads,
        head_dim,
        scale: (((1 + parts) * head_dim) as f32).powf(-0.5),
        causal: false,
        window: None,
    };
    // What distances add to the scores, as products with queries, and with keys.
    let index = index(deberta, graph);
    let turned = graph.node("Transpose", &[&index], &[("perm", Attribute::Ints(vec![1, 0]))]);
    let [of_keys, of_queries] = layer.of_distances;
    let to_position = s.content_to_position.then(|| {
        let table = table(deberta, graph, layer, distances, (of_keys, 1));
        chosen(graph, &q, &table, &index)
    });
    let to_content = s.position_to_content.then(|| {
        let table = table(deberta, graph, layer, distances, (of_queries, 0));
        let scores = chosen(graph, &k, &table, &turned);
        graph.node("Transpose", &[&scores], &[("perm", Attribute::Ints(vec![0, 1, 3, 2]))])
    });
    let bias = match (to_position, to_content) {
        (Some(a), Some(b)) => Some(graph.add(&a, &b)),
        (a, b) => a.or(b),
    };
    let bias = bias.map(|bias| graph.scale(&bias, attention.scale));
    let y = graph.attention([q, k, v], bias.as_ref(), &attention);
    let y = graph.linear(&y, layer.output);
    let y = graph.add(&y, x);
    let x = norm(deberta, graph, &y, layer.attention_norm);
    let y = graph.feed_forward(&x, &layer.feed_forward);
    let y = graph.add(&y, &x);
    norm(deberta, graph, &y, layer.norm)
}

/// Keys or queries of distances `[heads, head_dim, distances]`: by a linear layer of their own, or by this part of the layer's.
fn table(
    deberta: &Deberta,
    graph: &mut OnnxGraph,
    layer: &Layer,
    distances: &Value,
    (own, part): (Option<LinearId>, usize),
) -> Value {
    let s = &deberta.settings;
    let y = match own {
        Some(own) => graph.linear(distances, own),
        None => {
            let all = graph.linear(distances, layer.qkv);
            graph.split(&all, [s.hidden; 3])[part].clone()
        }
    };
    let shape = graph.integers(&[-1, s.heads as i64, (s.hidden / s.heads) as i64]);
    let y = graph.node("Reshape", &[&y, &shape], &[]);
    graph.node("Transpose", &[&y], &[("perm", Attribute::Ints(vec![1, 2, 0]))])
}

/// The vector of each pair of tokens, int64 `[length, length]`, a row a query.
fn index(deberta: &Deberta, graph: &mut OnnxGraph) -> Value {
    let reach = deberta.spec.max_length.saturating_sub(1);
    let rows = deberta.settings.distances.rows(reach);
    graph.once("vectors of distances", |g| {
        let by_distance = g.integers(&rows);
        let (distances, reach) = (g.distances(), g.integers(&[reach as i64]));
        let places = g.add(&distances, &reach);
        g.node("Gather", &[&by_distance, &places], &[("axis", Attribute::Int(0))])
    })
}

/// Products of `x` `[batch, heads, length, head_dim]` with those columns of `[heads, head_dim, distances]` that `index` tells for each
/// pair of tokens: `[batch, heads, length, length]`.
fn chosen(graph: &mut OnnxGraph, x: &Value, table: &Value, index: &Value) -> Value {
    let products = graph.node("MatMul", &[x, table], &[]);
    let shape = graph.node("Shape", &[x], &[]);
    let order = graph.integers(&[0, 1, 2, 2]);
    let shape = graph.node("Gather", &[&shape, &order], &[("axis", Attribute::Int(0))]);
    let index = graph.node("Expand", &[index, &shape], &[]);
    graph.node("GatherElements", &[&products, &index], &[("axis", Attribute::Int(3))])
}
