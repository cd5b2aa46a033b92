//! Token states of a model, for comparing with another program: `scripts/check_automodel.py` reads what this prints.
//!
//! `cargo run -p polytask-model --example states -- runs/NAME/model '[[101, 2004, 102], [101, 102]]' > states.json`
//!
//! Every inner list is a row of token ids. The answer is `{"ids": [...], "states": [...]}`, with a list of numbers a token.

use burn::tensor::Device;
use polytask_model::{Before, Parameters, Tokens, open};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, ids] = &arguments[..] else { return Err("usage: states DIR '[[id, ...], ...]'".into()) };
    let ids: Vec<Vec<u32>> = serde_json::from_str(ids)?;
    let mut parameters = Parameters::new(&Device::flex(), 0);
    let backbone = open(Path::new(dir), &mut parameters, None)?;
    if let Some(id) = ids.iter().flatten().find(|id| **id as usize >= backbone.vocabulary()) {
        return Err(format!("found id {id}, expected ids below {}", backbone.vocabulary()).into());
    }
    if let Some(row) = ids.iter().find(|row| row.len() > backbone.max_length()) {
        return Err(
            format!("found a row of {} ids, expected at most {}", row.len(), backbone.max_length()).into()
        );
    }
    let mut offsets = vec![0];
    offsets.extend(ids.iter().scan(0, |end, row| {
        *end += row.len();
        Some(*end)
    }));
    let rows: kernels::Rows = offsets.into();
    let positions: Vec<u32> = ids.iter().flat_map(|row| 0..row.len() as u32).collect();
    let segments = vec![0; positions.len()];
    let tokens = Tokens {
        ids: &ids.concat(),
        positions: &positions,
        segments: &segments,
        rows: &rows,
        corpora: &[],
        before: Before::default(),
    };
    let states = backbone
        .states(&parameters, tokens, None)
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|e| format!("{e:?}"))?;
    let by_token: Vec<&[f32]> = states.chunks(backbone.hidden()).collect();
    let by_row: Vec<&[&[f32]]> = rows.windows(2).map(|row| &by_token[row[0]..row[1]]).collect();
    println!("{}", serde_json::json!({ "ids": ids, "states": by_row }));
    Ok(())
}
