//! What is written is what the package onnx writes.

use polytask_onnx::proto::ModelProto;
use polytask_onnx::{Attribute, Dim, Element, Graph, Value};
use prost::Message;

/// The graph of `scripts/make_onnx_fixture.py`.
fn small() -> Graph {
    let mut graph = Graph::new("small");
    let ids = graph.input("ids", Element::I64, &[Dim::Any("batch"), Dim::Any("length")]);
    let table: Vec<f32> = (0..6u8).map(|i| f32::from(i) / 4.0).collect();
    let table = graph.f32_weight("table", &[3, 2], &table);
    graph.weight("bytes", Element::I8, &[2], vec![255, 127]);
    let x = graph.node("Gather", &[&table, &ids], &[("axis", Attribute::Int(0))]);
    let axes = graph.integers(&[1]);
    let x = graph.node("ReduceSum", &[&x, &axes], &[("keepdims", Attribute::Int(0))]);
    let [_, scale, _] = graph.node_with("DynamicQuantizeLinear", &[&x], &[]);
    let clipped = graph.node("Clip", &[&x, &Value::none(), &scale], &[]);
    let x = graph.node("Transpose", &[&clipped], &[("perm", Attribute::Ints(vec![0, 1]))]);
    let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(1e-5))];
    let x = graph.node("LayerNormalization", &[&x, &clipped], &attributes);
    graph.output("logits", &x, Element::F32, &[Dim::Any("batch"), Dim::Size(2)]);
    graph
}

#[test]
fn bytes_are_those_of_the_package_onnx() {
    let expected = include_bytes!("../fixtures/small.onnx");
    let found = small().into_bytes("polytask", "1").unwrap();
    // The messages first: these can be read where they differ.
    let decode = |bytes: &[u8]| ModelProto::decode(bytes).unwrap();
    assert_eq!(decode(&found), decode(expected));
    assert!(found == expected);
}

#[test]
fn constants_are_there_once_and_names_of_inputs_and_outputs_are_known() {
    let mut graph = small();
    assert_eq!(graph.integers(&[1]), graph.integers(&[1]));
    assert_ne!(graph.integers(&[1]), graph.i64_constant(&[], &[1]));
    assert_ne!(graph.number(0.0), graph.number(-0.0));
    assert!(graph.has_name("ids") && graph.has_name("logits") && !graph.has_name("table"));
}
