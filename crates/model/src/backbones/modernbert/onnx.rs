//! The network as an ONNX graph.

use super::{Layer, ModernBert, Norm};
use crate::onnx::{OnnxAttention, OnnxGraph, Value};

/// Adds the network and returns its states.
pub(super) fn states(network: &ModernBert, graph: &mut OnnxGraph) -> Value {
    let ids = graph.ids();
    let x = graph.embed(network.word, &ids);
    let x = graph.add_dataset(x);
    let mut x = norm(network, graph, &x, network.norm);
    for (index, layer) in network.layers.iter().enumerate() {
        x = self::layer(network, graph, index, layer, &x);
    }
    norm(network, graph, &x, network.final_norm)
}

fn norm(network: &ModernBert, graph: &mut OnnxGraph, x: &Value, norm: Norm) -> Value {
    graph.layer_norm(x, norm.gamma, norm.beta, network.settings.eps)
}

fn layer(network: &ModernBert, graph: &mut OnnxGraph, index: usize, layer: &Layer, x: &Value) -> Value {
    let s = &network.settings;
    let (heads, head_dim) = (s.heads, s.hidden / s.heads);
    let n = match layer.attention_norm {
        Some(own) => norm(network, graph, x, own),
        None => x.clone(),
    };
    let qkv = graph.linear(&n, layer.qkv);
    let [q, k, v] = graph.split(&qkv, [s.hidden; 3]).map(|part| graph.by_head(&part, heads, head_dim));
    let windowed = s.windows[index].is_some();
    let (rotary, sort) = (&network.rotary[usize::from(windowed)], if windowed { "near" } else { "all" });
    let [q, k] = [q, k].map(|x| rotary.onnx(graph, &x, sort));
    let attention = OnnxAttention {
        heads,
        kv_heads: heads,
        head_dim,
        scale: (head_dim as f32).powf(-0.5),
        causal: false,
        window: s.windows[index],
    };
    let y = graph.attention([q, k, v], None, &attention);
    let y = graph.linear(&y, layer.output);
    let x = graph.add(x, &y);
    let n = norm(network, graph, &x, layer.norm);
    let y = graph.feed_forward(&n, &layer.feed_forward);
    graph.add(&x, &y)
}
