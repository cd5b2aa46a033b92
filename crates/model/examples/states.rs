//! Token states of a model, for comparing with another program: `scripts/check_automodel.py` reads what this prints.
//!
//! `cargo run -p polytask-model --example states -- runs/NAME/model '[[101, 2004, 102], [101, 102]]' > states.json`
//!
//! Every inner list is a row of token ids. The answer is `{"ids": [...], "states": [...]}`, with a list of numbers a token.

use burn::tensor::Device;
use polytask_model::{EncoderInput, PackOffset, Parameters, Trunk, TrunkPass, open};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, ids] = &arguments[..] else { return Err("usage: states DIR '[[id, ...], ...]'".into()) };
    let ids: Vec<Vec<u32>> = serde_json::from_str(ids)?;
    let mut parameters = Parameters::new(&Device::flex(), 0);
    let trunk = Trunk::new(open(Path::new(dir), &mut parameters, None)?);
    let (vocabulary, max_length) = (trunk.spec().vocabulary, trunk.spec().max_length);
    if let Some(id) = ids.iter().flatten().find(|id| **id as usize >= vocabulary) {
        return Err(format!("found id {id}, expected ids below {vocabulary}").into());
    }
    if let Some(row) = ids.iter().find(|row| row.len() > max_length) {
        return Err(format!("found a row of {} ids, expected at most {max_length}", row.len()).into());
    }
    let offsets = kernels::offsets_from_lengths(ids.iter().map(Vec::len));
    let positions: Vec<u32> = ids.iter().flat_map(|row| 0..row.len() as u32).collect();
    let segments = vec![0; positions.len()];
    let input = EncoderInput {
        ids: &ids.concat(),
        positions: &positions,
        segments: &segments,
        offsets: &offsets,
        datasets: &[],
        offset: PackOffset::default(),
    };
    let pass = TrunkPass::evaluation(&parameters, input);
    let states = trunk.states(&pass).into_data().try_into_vec::<f32>().map_err(|e| format!("{e:?}"))?;
    let by_token: Vec<&[f32]> = states.chunks(trunk.hidden()).collect();
    let by_row: Vec<&[&[f32]]> = offsets.windows(2).map(|row| &by_token[row[0]..row[1]]).collect();
    println!("{}", serde_json::json!({ "ids": ids, "states": by_row }));
    Ok(())
}
