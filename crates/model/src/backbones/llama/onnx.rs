//! The network as an ONNX graph over whole rows, without kept keys and values.

use super::{Layer, Llama};
use crate::onnx::{OnnxAttention, OnnxGraph, Value};
use crate::parameters::VectorId;

/// Adds the network and returns its states.
pub(super) fn states(llama: &Llama, graph: &mut OnnxGraph) -> Value {
    let ids = graph.ids();
    let mut x = graph.embed(llama.word, &ids);
    if llama.settings.family.scales_embeddings {
        x = graph.scale(&x, (llama.settings.hidden as f32).sqrt());
    }
    x = graph.add_dataset(x);
    for (index, layer) in llama.layers.iter().enumerate() {
        x = self::layer(llama, graph, index, layer, &x);
    }
    norm(llama, graph, &x, llama.norm)
}

fn norm(llama: &Llama, graph: &mut OnnxGraph, x: &Value, norm: VectorId) -> Value {
    graph.rms_norm(x, norm, llama.settings.family.norm_offset, llama.settings.eps)
}

fn layer(llama: &Llama, graph: &mut OnnxGraph, index: usize, layer: &Layer, x: &Value) -> Value {
    let s = &llama.settings;
    let n = norm(llama, graph, x, layer.attention_norm);
    let q = graph.linear(&n, layer.q);
    let kv = graph.linear(&n, layer.kv);
    let [k, v] = graph.split(&kv, [s.kv_dim(); 2]);
    let q = graph.by_head(&q, s.heads, s.head_dim);
    let [k, v] = [k, v].map(|x| graph.by_head(&x, s.kv_heads, s.head_dim));
    let [q, k] = match layer.qk_norm {
        Some([of_q, of_k]) => [norm(llama, graph, &q, of_q), norm(llama, graph, &k, of_k)],
        None => [q, k],
    };
    let windowed = s.windows[index].is_some();
    let (rotary, sort) = (&llama.rotary[usize::from(windowed)], if windowed { "near" } else { "all" });
    let [q, k] = [q, k].map(|x| rotary.onnx(graph, &x, sort));
    let attention = OnnxAttention {
        heads: s.heads,
        kv_heads: s.kv_heads,
        head_dim: s.head_dim,
        scale: s.scale,
        causal: true,
        window: s.windows[index].map(|keys| keys - 1),
    };
    let y = graph.attention([q, k, v], None, &attention);
    let y = graph.linear(&y, layer.output);
    let y = match layer.post_norms {
        Some([own, _]) => norm(llama, graph, &y, own),
        None => y,
    };
    let x = graph.add(x, &y);
    let n = norm(llama, graph, &x, layer.feed_forward_norm);
    let y = graph.feed_forward(&n, &layer.feed_forward);
    let y = match layer.post_norms {
        Some([_, own]) => norm(llama, graph, &y, own),
        None => y,
    };
    graph.add(&x, &y)
}
