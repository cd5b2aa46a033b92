//! Checkpoints: everything that a run is after a step, on the disk.
//!
//! `checkpoints/NNNNNN/` holds `weights.safetensors` (every parameter by name), `optimizer.safetensors` (what the
//! optimizer remembers of it, AdamW's moments as `NAME.first` and `NAME.second`, and what a balancer keeps of a parameter, as `NAME.task.0`, `NAME.task.1`, ... in the order
//! of the config, and the head of a task with early stopping at its best, as `NAME.best`), `state.json` (counters, stream, balancer, evaluations, fingerprint) and
//! `manifest.json` (length and blake3 hash of each). It is written beside its place, synced, and takes its name at the
//! end, so a checkpoint that has its name is whole.

mod manifest;
mod tensors;

use crate::{
    best_heads::BestHeads,
    buffers::Buffers,
    durable,
    error::TrainError,
    optimizer::{Moments, Optimizing},
    run_dir::RunDir,
    state::State,
};
use manifest::Manifest;
use model::Parameters;
use std::{fs, path::Path};

const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// A verified checkpoint, not yet taken up.
pub(crate) struct Checkpoint {
    pub(crate) state: State,
    weights: Vec<u8>,
    moments: Vec<u8>,
}

/// Saves the state after `state.progress.step` steps. Refuses weights that are no finite numbers.
pub(crate) fn save(
    dir: &RunDir,
    parameters: &Parameters,
    moments: &Moments,
    (buffers, best_heads): (&Buffers, &BestHeads),
    mut state: State,
) -> Result<(), TrainError> {
    let step = state.progress.step;
    let path = dir.checkpoint(step);
    durable::make_dir(&dir.checkpoints())?;
    state.updates = moments.updates(parameters);
    let text = serde_json::to_vec_pretty(&state)
        .map_err(|e| TrainError::broken(&path, format!("its state cannot be written: {e}")))?;
    tensors::check(parameters, step)?;
    durable::replace_dir(&path, |place| {
        tensors::write_weights(&place.join(WEIGHTS), parameters)?;
        tensors::write_moments(&place.join(OPTIMIZER), parameters, moments, buffers, best_heads)?;
        durable::write(&place.join(STATE), &text)?;
        Manifest::write(place, &[WEIGHTS, OPTIMIZER, STATE])
    })
}

/// Reads and verifies a checkpoint.
pub(crate) fn open(path: &Path) -> Result<Checkpoint, TrainError> {
    let [weights, moments, state] = Manifest::read(path, [WEIGHTS, OPTIMIZER, STATE])?;
    let state = serde_json::from_slice(&state)
        .map_err(|e| TrainError::broken(path, format!("{STATE} is not what it should be: {e}")))?;
    Ok(Checkpoint { state, weights, moments })
}

impl Checkpoint {
    /// Puts the weights and moments into their places.
    pub(crate) fn restore(
        &self,
        path: &Path,
        parameters: &mut Parameters,
        (optimizer, moments): (&Optimizing, &mut Moments),
        (buffers, best_heads): (&mut Buffers, &mut BestHeads),
    ) -> Result<(), TrainError> {
        tensors::restore_weights(path, &self.weights, parameters)?;
        let updates = &self.state.updates;
        *moments = tensors::restore_moments(path, &self.moments, updates, optimizer, parameters)?;
        *buffers = tensors::restore_buffers(path, &self.moments, parameters)?;
        *best_heads = tensors::restore_best_heads(path, &self.moments, parameters)?;
        Ok(())
    }
}

/// Puts only the weights of a checkpoint into their places: those that the optimizer has evaluated and saved.
pub(crate) fn restore_result(
    path: &Path,
    parameters: &mut Parameters,
    optimizer: &Optimizing,
) -> Result<(), TrainError> {
    let mut moments = Moments::default();
    let kept = (&mut Buffers::default(), &mut BestHeads::default());
    open(path)?.restore(path, parameters, (optimizer, &mut moments), kept)?;
    if let Some(averaged) = optimizer.averaged(parameters, &moments) {
        *parameters = averaged;
    }
    Ok(())
}

/// The steps of the checkpoints in a run's directory, rising. None where there is no such directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(dir: &RunDir) -> Result<Vec<usize>, TrainError> {
    let path = dir.checkpoints();
    let entries = match fs::read_dir(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| TrainError::io("reading", &path, e))?,
    };
    let mut steps = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| TrainError::io("reading", &path, e))?.file_name();
        let step = name.to_str().filter(|n| n.len() >= 6 && n.bytes().all(|b| b.is_ascii_digit()));
        steps.extend(step.and_then(|n| n.parse::<usize>().ok()));
    }
    steps.sort_unstable();
    Ok(steps)
}

/// Removes all but the last `keep` checkpoints and the one of step `best`.
pub(crate) fn prune(dir: &RunDir, keep: usize, best: Option<usize>) -> Result<(), TrainError> {
    let steps = list(dir)?;
    let old = steps.len().saturating_sub(keep.max(1));
    for step in steps.into_iter().take(old).filter(|s| Some(*s) != best) {
        durable::remove_dir(&dir.checkpoint(step))?;
    }
    Ok(())
}

/// Renames a broken checkpoint to `NNNNNN.broken`, so that it is never tried again; says where it lies now.
pub(crate) fn set_aside(dir: &RunDir, step: usize) -> Result<String, TrainError> {
    let to = dir.checkpoints().join(format!("{step:06}.broken"));
    durable::remove_dir(&to)?;
    durable::rename(&dir.checkpoint(step), &to)?;
    Ok(to.display().to_string())
}

/// Mends what a crash in the middle of a save has left.
pub(crate) fn recover(dir: &RunDir) -> Result<(), TrainError> {
    let path = dir.checkpoints();
    let Ok(entries) = fs::read_dir(&path) else { return Ok(()) };
    for entry in entries {
        let name = entry.map_err(|e| TrainError::io("reading", &path, e))?.file_name();
        let Some(name) = name.to_str().and_then(|n| n.strip_prefix('.')) else { continue };
        if let Some(name) = name.strip_suffix(".old") {
            durable::recover_dir(&path.join(name))?;
        } else if name.ends_with(".writing") {
            durable::remove_dir(&path.join(format!(".{name}")))?;
        }
    }
    Ok(())
}
