//! The network as an ONNX graph.

use super::{Bag, EPS, WindowMixing};
use crate::onnx::{Attribute, Element, OnnxGraph, Value};

/// Adds the network and returns its states.
pub(super) fn states(bag: &Bag, graph: &mut OnnxGraph) -> Value {
    let ids = graph.ids();
    let x = graph.embed(bag.embeddings, &ids);
    let x = graph.add_dataset(x);
    let Some(mixing) = &bag.mixing else { return x };
    let around = around(bag, graph, &x, mixing);
    let y = graph.feed_forward(&around, &mixing.feed_forward);
    let y = graph.add(&y, &x);
    graph.layer_norm(&y, mixing.gamma, Some(mixing.beta), EPS)
}

/// What each token sees side by side, `[batch, length, (2 window + 1) width]`: the learned vector where the row has no token.
fn around(bag: &Bag, graph: &mut OnnxGraph, x: &Value, mixing: &WindowMixing) -> Value {
    let window = bag.config.window as i64;
    let boundary = graph.matrix(mixing.boundary_embedding);
    let (mask, axes) = (graph.token_input("attention_mask"), graph.integers(&[2]));
    let mask = graph.node("Cast", &[&mask], &[("to", Attribute::Int(Element::Bool.number().into()))]);
    let mask = graph.node("Unsqueeze", &[&mask, &axes], &[]);
    let x = graph.node("Where", &[&mask, x, &boundary], &[]);
    // As many vectors on either side as a token may look beyond the ends.
    let (zero, one) = (graph.integers(&[0]), graph.integers(&[1]));
    let shape = graph.node("Shape", &[&x], &[]);
    let batch = graph.node("Gather", &[&shape, &zero], &[("axis", Attribute::Int(0))]);
    let rest = graph.integers(&[window, bag.config.width as i64]);
    let shape = graph.node("Concat", &[&batch, &rest], &[("axis", Attribute::Int(0))]);
    let side = graph.node("Expand", &[&boundary, &shape], &[]);
    let x = graph.node("Concat", &[&side, &x, &side], &[("axis", Attribute::Int(1))]);
    let shifted: Vec<Value> = (0..=2 * window)
        .map(|begin| {
            // Counted from the end, but for the last of them.
            let end = if begin == 2 * window { i64::MAX } else { begin - 2 * window };
            let (begin, end) = (graph.integers(&[begin]), graph.integers(&[end]));
            graph.node("Slice", &[&x, &begin, &end, &one], &[])
        })
        .collect();
    graph.node("Concat", &shifted.iter().collect::<Vec<_>>(), &[("axis", Attribute::Int(2))])
}
