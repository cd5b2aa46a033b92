//! Graphs are sound: every value is made before it is read, and weights have the sizes and numbers of the parameters. That they compute
//! what transformers computes is checked by `scripts/check_onnx_backbones.py`, with onnxruntime.

use crate::fixture;
use onnx::proto::{GraphProto, ModelProto, TensorProto};
use polytask_model::onnx::{Dim, OnnxPrecision};
use polytask_model::quantization::{Int4Rounding, WeightType, rounded};
use polytask_model::{LoraConfig, ModelError, Parameters, Role, SharingConfig, Trunk};
use prost::Message;
use std::collections::HashSet;

/// Checkpoints with a graph, and their inputs.
const WITH_GRAPH: [(&str, &[&str]); 16] = [
    ("bert", TYPED),
    ("bert-bf16", TYPED),
    ("distilbert", PLAIN),
    ("roberta", PLAIN),
    ("xlm-roberta", PLAIN),
    ("electra", TYPED),
    ("electra-wide", TYPED),
    ("mpnet", PLAIN),
    ("albert", TYPED),
    ("albert-groups", TYPED),
    ("deberta", PLAIN),
    ("deberta-own", TYPED),
    ("modernbert", PLAIN),
    ("modernbert-biases", PLAIN),
    ("llama/llama3", PLAIN),
    ("llama/gemma3", PLAIN),
];
const PLAIN: &[&str] = &["input_ids", "attention_mask"];
const TYPED: &[&str] = &["input_ids", "attention_mask", "token_type_ids"];

fn trunk(name: &str) -> (Trunk, Parameters) {
    fixture::opened(&fixture::folder(name))
}

/// The graph of a trunk with its states as output.
fn graph(trunk: &Trunk, parameters: &Parameters, precision: OnnxPrecision) -> GraphProto {
    let (mut graph, states) = trunk.onnx(parameters, &[], None, precision).unwrap();
    assert!(graph.output(
        "states",
        &states,
        &[Dim::Any("batch"), Dim::Any("length"), Dim::Size(trunk.hidden())]
    ));
    assert!(!graph.output("states", &states, &[]), "a second output of the name");
    let model = ModelProto::decode(&graph.into_bytes().unwrap()[..]).unwrap();
    assert_eq!((model.ir_version, model.opset_import[0].version), (Some(8), Some(17)));
    model.graph.unwrap()
}

/// A graph has the numbers of matrices that are packed, and a merged weight in the place of a packed one.
#[test]
fn packed_weights_are_written_as_what_they_stand_for() {
    for (name, tasks) in [("bert", &[][..]), ("bert", &["a"])] {
        let (mut trunk, mut packed) = trunk(name);
        if !tasks.is_empty() {
            let config = LoraConfig { rank: 2, ..LoraConfig::default() };
            trunk.set_sharing(SharingConfig::Lora(config).build(), &["a".to_owned()], &mut packed).unwrap();
            for index in 0..packed.len() {
                // The second factors begin as zeros.
                if packed.parameter(index).role == Role::Adapter {
                    let size = packed.parameter(index).size();
                    packed.set_data(index, (0..size).map(|i| (i as f32).sin()).collect()).unwrap();
                }
            }
        }
        for index in trunk.int8_candidates(&packed) {
            packed.set_trainable(index, false);
            let int8 = rounded(&packed, index, WeightType::Int8, Int4Rounding::Hqq).unwrap();
            packed.set_packed(index, int8);
        }
        let mut plain = packed.clone();
        for index in trunk.int8_candidates(&plain) {
            plain.set_trainable(index, true);
        }
        let of = |parameters: &Parameters| {
            let tasks: Vec<&str> = tasks.to_vec();
            let (mut graph, states) = trunk.onnx(parameters, &tasks, None, OnnxPrecision::F32).unwrap();
            assert!(graph.output("states", &states, &[]));
            graph.into_bytes().unwrap()
        };
        assert!(of(&packed) == of(&plain), "{name} {tasks:?}");
    }
}

fn check_sound(graph: &GraphProto, name: &str) {
    let mut known: HashSet<&str> = HashSet::new();
    for input in &graph.input {
        assert!(known.insert(input.name()), "{name}: {}", input.name());
    }
    for weight in &graph.initializer {
        assert!(known.insert(weight.name()), "{name}: {}", weight.name());
        let numbers: i64 = weight.dims.iter().product();
        let width = match weight.data_type() {
            1 => 4,
            7 => 8,
            2 | 3 => 1,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(weight.raw_data().len() as i64, numbers * width, "{name}: {}", weight.name());
    }
    for node in &graph.node {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            assert!(known.contains(input.as_str()), "{name}: {input} of {:?}", node.name);
        }
        for output in &node.output {
            assert!(known.insert(output), "{name}: {output} is made twice");
        }
    }
    assert!(graph.output.iter().all(|output| known.contains(output.name())));
}

fn weight<'a>(graph: &'a GraphProto, name: &str) -> &'a TensorProto {
    graph.initializer.iter().find(|weight| weight.name() == name).unwrap_or_else(|| panic!("{name}"))
}

fn numbers(weight: &TensorProto) -> Vec<f32> {
    weight.raw_data().chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn graphs_of_all_checkpoints_are_sound() {
    for (name, inputs) in WITH_GRAPH {
        let (trunk, parameters) = trunk(name);
        for precision in [OnnxPrecision::F32, OnnxPrecision::Int8, OnnxPrecision::Int8PerToken] {
            let graph = graph(&trunk, &parameters, precision);
            check_sound(&graph, name);
            let found: Vec<&str> = graph.input.iter().map(|input| input.name()).collect();
            assert_eq!(found, inputs, "{name}");
        }
    }
}

#[test]
fn weights_are_those_of_the_parameters() {
    let (trunk, parameters) = trunk("bert");
    let name = "backbone.layer.0.attention.qkv.weight";
    let index = parameters.find(name).unwrap();
    let (values, shape) = (parameters.data(index), parameters.shape(index));
    let (rows, columns) = (shape[0], shape[1]);
    let transposed: Vec<f32> =
        (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|at| values[at]).collect();
    let plain = graph(&trunk, &parameters, OnnxPrecision::F32);
    let found = weight(&plain, &format!("{name}.transposed"));
    assert_eq!(found.dims, [columns as i64, rows as i64]);
    assert_eq!(numbers(found), transposed);
    let bytes = graph(&trunk, &parameters, OnnxPrecision::Int8);
    let (found, scales) = (weight(&bytes, &format!("{name}.int8")), weight(&bytes, &format!("{name}.scale")));
    let scales = numbers(scales);
    for (at, (byte, value)) in found.raw_data().iter().zip(&transposed).enumerate() {
        let scale = scales[at % rows];
        assert!((f32::from(byte.cast_signed()) * scale - value).abs() <= 0.501 * scale, "{at}");
    }
}

#[test]
fn layers_with_the_same_weights_have_them_once() {
    let (trunk, parameters) = trunk("albert");
    let graph = graph(&trunk, &parameters, OnnxPrecision::F32);
    let of_layers = |weight: &&TensorProto| weight.name().contains("feed_forward.in.weight");
    assert_eq!(graph.initializer.iter().filter(of_layers).count(), 1);
    assert!(trunk.layers() > 1);
}

#[test]
fn schemes_take_part_by_their_weights_or_are_refused() {
    let tasks = ["one", "two"].map(String::from);
    let with = |scheme: SharingConfig| {
        let (mut trunk, mut parameters) = trunk("bert");
        trunk.set_sharing(scheme.build(), &tasks, &mut parameters).unwrap();
        for index in 0..parameters.len() {
            if parameters.parameter(index).name.contains("lora") {
                let values = (0..parameters.parameter(index).size()).map(|i| (i % 7) as f32 / 50.0).collect();
                parameters.set_data(index, values).unwrap();
            }
        }
        (trunk, parameters)
    };
    let name = "backbone.layer.0.attention.qkv.weight.transposed";
    let (plain, parameters) = trunk("bert");
    let plain = numbers(weight(&graph(&plain, &parameters, OnnxPrecision::F32), name));
    let (trunk, parameters) = with(SharingConfig::Lora(LoraConfig { shared: true, ..LoraConfig::default() }));
    let made = trunk.onnx(&parameters, &["one", "two"], None, OnnxPrecision::F32).unwrap().0;
    let model = ModelProto::decode(&made.into_bytes().unwrap()[..]).unwrap();
    assert_ne!(numbers(weight(&model.graph.unwrap(), name)), plain, "the update is in the weights");
    let refused = |trunk: &Trunk, parameters: &Parameters, tasks: &[&str]| match trunk.onnx(
        parameters,
        tasks,
        None,
        OnnxPrecision::F32,
    ) {
        Err(error @ ModelError::NoExport { .. }) => error.to_string(),
        _ => panic!("it was not refused"),
    };
    let (trunk, parameters) = with(SharingConfig::Adapters(Default::default()));
    assert!(
        refused(&trunk, &parameters, &["one"]).contains("[sharing.adapters] does more than change weights")
    );
    let (trunk, mut parameters) = with(SharingConfig::Lora(LoraConfig::default()));
    let own = (0..parameters.len()).find(|i| parameters.parameter(*i).name.contains("lora")).unwrap();
    let size = parameters.parameter(own).size();
    parameters.set_data(own, vec![0.5; size]).unwrap();
    let message = refused(&trunk, &parameters, &["one", "two"]);
    assert!(
        message.contains("`one` and `two` different weights") && message.contains("--task one"),
        "{message}"
    );
    assert!(trunk.onnx(&parameters, &["one"], None, OnnxPrecision::F32).is_ok());
}

#[test]
fn backbones_without_a_graph_are_refused_by_name() {
    for name in ["t5", "t5-gated"] {
        let (trunk, parameters) = trunk(name);
        let error = trunk.onnx(&parameters, &[], None, OnnxPrecision::F32).err().unwrap().to_string();
        assert!(error.contains(&format!("the backbone `{}` has no graph", trunk.spec().name)), "{error}");
    }
}
