//! The trunk of a model as an ONNX graph with one output, `states`, for comparing with another program:
//! `scripts/check_onnx_backbones.py` runs what this writes.
//!
//! `cargo run -p polytask-model --example onnx -- runs/NAME/model states.onnx`

use burn::tensor::Device;
use polytask_model::onnx::{Dim, OnnxPrecision};
use polytask_model::{Parameters, Trunk, open};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, out] = &arguments[..] else {
        return Err("usage: onnx DIR FILE".into());
    };
    let mut parameters = Parameters::new(&Device::flex(), 0);
    let trunk = Trunk::new(open(Path::new(dir), &mut parameters, None)?);
    let (mut graph, states) = trunk.onnx(&parameters, &[], None, OnnxPrecision::F32)?;
    let shape = [Dim::Any("batch"), Dim::Any("length"), Dim::Size(trunk.hidden())];
    if !graph.output("states", &states, &shape) {
        return Err("an input is called states".into());
    }
    let bytes = graph.into_bytes().map_err(|error| format!("{error:?}"))?;
    std::fs::write(out, bytes)?;
    Ok(())
}
