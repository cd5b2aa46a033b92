//! Token states of a model, for comparing with another program: `scripts/check_automodel.py` reads what this prints.
//!
//! `cargo run -p polytask-model --example states -- runs/NAME/model '[[101, 2004, 102], [101, 102]]' > states.json`
//!
//! With the name of a task after the rows these are its states, with what `[sharing]` adds for it: `scripts/check_peft.py` reads them.
//!
//! Every inner list is a row of token ids. The answer is `{"ids": [...], "states": [...]}`, with a list of numbers a token.

use burn::tensor::Device;
use polytask_model::{
    EncoderInput, Lanes, PackOffset, Parameters, SharingConfig, Trunk, TrunkPass, adapter_folder,
    load_sharing, open,
};
use serde_json::Value;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dir, ids, task) = match &arguments[..] {
        [dir, ids] => (dir, ids, None),
        [dir, ids, task] => (dir, ids, Some(task)),
        _ => return Err("usage: states DIR '[[id, ...], ...]' [TASK]".into()),
    };
    let ids: Vec<Vec<u32>> = serde_json::from_str(ids)?;
    let mut parameters = Parameters::new(&Device::flex(), 0);
    let mut trunk = Trunk::new(open(Path::new(dir), &mut parameters, None)?);
    let index = match task {
        Some(task) => Some(share(Path::new(dir), task, &mut trunk, &mut parameters)?),
        None => None,
    };
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
    let lanes = match task {
        Some(task) if trunk.has_lanes() => Lanes::new([(task.clone(), positions.len())]),
        _ => Lanes::default(),
    };
    let pass = TrunkPass { lanes: &lanes, ..TrunkPass::evaluation(&parameters, input) };
    let states = trunk.states(&pass).into_data().try_into_vec::<f32>().map_err(|e| format!("{e:?}"))?;
    let by_token: Vec<&[f32]> = states.chunks(trunk.hidden()).collect();
    let by_row: Vec<&[&[f32]]> = offsets.windows(2).map(|row| &by_token[row[0]..row[1]]).collect();
    let adapter = task.map(|task| adapter_folder(task));
    println!(
        "{}",
        serde_json::json!({ "ids": ids, "states": by_row, "task": task, "task_index": index, "adapter": adapter })
    );
    Ok(())
}

/// Puts the sharing scheme of a saved model on its trunk, and returns the place of the task among all.
fn share(
    dir: &Path,
    task: &str,
    trunk: &mut Trunk,
    parameters: &mut Parameters,
) -> Result<usize, Box<dyn Error>> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join("polytask.json"))?)?;
    if manifest.get("datasets").and_then(Value::as_array).is_some_and(|datasets| !datasets.is_empty()) {
        return Err("the model has dataset embeddings, which no other program adds".into());
    }
    let scheme: SharingConfig = serde_json::from_value(manifest["sharing"].clone())?;
    let tasks = manifest["tasks"].as_array().into_iter().flatten();
    let names: Vec<String> = tasks.filter_map(|task| Some(task["name"].as_str()?.to_owned())).collect();
    let index = names.iter().position(|name| name == task);
    let index = index.ok_or_else(|| format!("found no task {task}, expected one of {}", names.join(", ")))?;
    trunk.set_sharing(scheme.build(), &names, parameters)?;
    load_sharing(dir, trunk, parameters)?;
    Ok(index)
}
