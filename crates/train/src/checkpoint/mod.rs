//! Checkpoints: everything that a run is after a step, on the disk.
//!
//! `checkpoints/NNNNNN/` holds `weights.safetensors` (every parameter by name), `optimizer.safetensors` (the optimizer's state of
//! it, AdamW's moments as `NAME.first` and `NAME.second`; what a balancer keeps of it, as `NAME.task.0`, `NAME.task.1`, ... in the
//! order of the config; and the head of a task with early stopping at its best, as `NAME.best`), `state.json` (counters, stream,
//! balancer, evaluations, fingerprint) and `manifest.json` (length and blake3 hash of each). It is written under a temporary name,
//! synced, and takes its name at the end, so a checkpoint that has its name is whole.

pub(crate) mod digest;
pub(crate) mod durable;
pub(crate) mod fingerprint;
pub(crate) mod history;
mod manifest;
pub(crate) mod run_dir;
mod tensors;

use crate::{
    checkpoint::run_dir::RunDir,
    error::TrainError,
    gradients::buffers::Buffers,
    optimizer::{OptimizerConfig, OptimizerState},
    run::best_heads::BestHeads,
    run::state::State,
};
use manifest::Manifest;
use model::Parameters;
use std::{fs, path::Path};

const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// A verified checkpoint, not yet restored.
pub(crate) struct Checkpoint {
    pub(crate) state: State,
    weights: Vec<u8>,
    optimizer: Vec<u8>,
}

/// Saves the state after `state.progress.step` steps. Refuses weights that are not finite.
pub(crate) fn save(
    dir: &RunDir,
    parameters: &Parameters,
    optimizer: &OptimizerState,
    (buffers, best_heads): (&Buffers, &BestHeads),
    mut state: State,
) -> Result<(), TrainError> {
    let step = state.progress.step;
    let path = dir.checkpoint(step);
    durable::make_dir(&dir.checkpoints())?;
    state.updates = optimizer.updates(parameters);
    let text = serde_json::to_vec_pretty(&state)
        .map_err(|e| TrainError::broken(&path, format!("its state cannot be written: {e}")))?;
    tensors::check(parameters, step)?;
    durable::replace_dir(&path, |folder| {
        tensors::write_weights(&folder.join(WEIGHTS), parameters)?;
        tensors::write_optimizer(&folder.join(OPTIMIZER), parameters, optimizer, buffers, best_heads)?;
        durable::write(&folder.join(STATE), &text)?;
        Manifest::write(folder, &[WEIGHTS, OPTIMIZER, STATE])
    })
}

/// Refuses weights that are not finite.
pub(crate) fn check_weights(parameters: &Parameters, step: usize) -> Result<(), TrainError> {
    tensors::check(parameters, step)
}

/// Reads and verifies a checkpoint.
pub(crate) fn open(path: &Path) -> Result<Checkpoint, TrainError> {
    let [weights, optimizer, state] = Manifest::read(path, [WEIGHTS, OPTIMIZER, STATE])?;
    let state = serde_json::from_slice(&state)
        .map_err(|e| TrainError::broken(path, format!("{STATE} is not what it should be: {e}")))?;
    Ok(Checkpoint { state, weights, optimizer })
}

impl Checkpoint {
    /// Restores the weights, the optimizer's state, and what is kept beside it.
    pub(crate) fn restore(
        &self,
        path: &Path,
        parameters: &mut Parameters,
        (config, optimizer): (&OptimizerConfig, &mut OptimizerState),
        (buffers, best_heads): (&mut Buffers, &mut BestHeads),
    ) -> Result<(), TrainError> {
        tensors::restore_weights(path, &self.weights, parameters)?;
        let updates = &self.state.updates;
        *optimizer = tensors::restore_optimizer(path, &self.optimizer, updates, config, parameters)?;
        *buffers = tensors::restore_buffers(path, &self.optimizer, parameters)?;
        *best_heads = tensors::restore_best_heads(path, &self.optimizer, parameters)?;
        Ok(())
    }
}

/// Restores only the weights of a checkpoint: those that are evaluated and saved.
pub(crate) fn restore_result(
    path: &Path,
    parameters: &mut Parameters,
    config: &OptimizerConfig,
) -> Result<(), TrainError> {
    let mut optimizer = OptimizerState::default();
    let kept = (&mut Buffers::default(), &mut BestHeads::default());
    open(path)?.restore(path, parameters, (config, &mut optimizer), kept)?;
    if let Some(averaged) = config.averaged(parameters, &optimizer) {
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

/// The names of the checkpoints that were set aside as broken, the newest first.
pub(crate) fn quarantined(dir: &RunDir) -> Result<Vec<String>, TrainError> {
    let path = dir.checkpoints();
    let entries = match fs::read_dir(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| TrainError::io("reading", &path, e))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| TrainError::io("reading", &path, e))?.file_name();
        names.extend(name.to_str().filter(|name| name.ends_with(".broken")).map(str::to_owned));
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
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

/// Renames a broken checkpoint to `NNNNNN.broken`, so that it is never tried again; returns its new path.
pub(crate) fn quarantine(dir: &RunDir, step: usize) -> Result<String, TrainError> {
    let to = dir.checkpoints().join(format!("{step:06}.broken"));
    durable::remove_dir(&to)?;
    durable::rename(&dir.checkpoint(step), &to)?;
    Ok(to.display().to_string())
}

/// Cleans up after a crash in the middle of a save.
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
