//! Heads fitted again on the merged trunk: an ordinary training of the merged model in which nothing but heads is trained. Tasks that
//! have none above the trunk and its decoder, such as translation, stay as they are.

use crate::commands::train::run_assembled;
use crate::config::Config;
use crate::failure::Failure;
use crate::job::assemble::{Assembled, assemble_saved};
use crate::job::run_lock::RunLock;
use crate::terminal::progress::Detail;
use burn::tensor::Device;
use data::Split;
use model::{Freeze, Owner, Role};
use train::{Job, Model, Outcome, PhaseConfig, RunDir, Start, TaskSlot};

/// How many evaluations there are on the way.
const EVALUATIONS: usize = 4;

/// Trains the heads of a model, which is on a device that differentiates, for so many steps in a run of their own.
///
/// # Errors
/// Whatever a training fails with.
pub fn refit(
    config: &Config,
    model: Model,
    run: &RunDir,
    device: &Device,
    steps: usize,
    detail: Detail,
) -> Result<Outcome, Failure> {
    let _lock = RunLock::create_for(run, "--out")?;
    let mut assembled = assemble_saved(config, model, &Split::ALL)?;
    let config = settings(config, &assembled, steps);
    freeze(&mut assembled.job);
    run_assembled(&config, device, assembled, run, (Start::Fresh, detail), &mut |_| ())
}

/// Leaves nothing but the heads to be trained.
fn freeze(job: &mut Job) {
    let Model { trunk, parameters, .. } = &mut job.model;
    // The vectors of corpora are added below the layers: with them the lower states are not those of the tokens alone.
    if trunk.dataset_embedding().is_none() {
        let layers = trunk.layers();
        trunk.freeze(layers, parameters);
    }
    for index in 0..parameters.len() {
        if parameters.parameter(index).role != Role::Head {
            parameters.set_trainable(index, false);
        }
    }
}

/// Whether a task has parameters above the trunk, of its own or with other tasks.
fn has_head(model: &Model, task: &TaskSlot) -> bool {
    model.parameters.iter().any(|parameter| match &parameter.owner {
        Owner::Tasks(tasks) => parameter.role == Role::Head && tasks.contains(&task.name),
        Owner::Trunk => false,
    })
}

/// The config of that training: so many steps with the optimizer and the schedule of the first run, all tasks alike.
fn settings(config: &Config, assembled: &Assembled, steps: usize) -> Config {
    let mut config = config.clone();
    let model = &assembled.job.model;
    let layers = model.trunk.layers();
    // A task that writes has all its parameters in the decoder, which stays: a step on it would move nothing.
    let with_heads: Vec<String> =
        model.tasks.iter().filter(|task| has_head(model, task)).map(|task| task.name.clone()).collect();
    if with_heads.len() < model.tasks.len() {
        config.phase = vec![PhaseConfig { tasks: Some(with_heads), ..PhaseConfig::default() }];
    }
    config.model.freeze = model.datasets.is_empty().then_some(Freeze { layers, cache: false });
    let tokens: usize = assembled.job.views.train.iter().map(|view| view.encoded.ids.len()).sum();
    let train = &mut config.train;
    let per_step = train.tokens_per_batch * train.gradient_accumulation_steps;
    // Enough of them for all steps: a batch ends before the row that exceeds it, so that it may be half empty.
    train.epochs = (2 * steps.saturating_mul(per_step)).div_ceil(tokens.max(1)).clamp(1, 1_000_000);
    train.max_steps = Some(steps);
    train.eval_steps = Some(steps.div_ceil(EVALUATIONS));
    (train.max_tokens, train.max_minutes, train.save_steps) = (None, None, None);
    (train.early_stopping, train.reduce_lr_on_plateau) = (None, None);
    train.activation_checkpointing = false;
    let tasks: Vec<String> = config.task.keys().cloned().collect();
    for task in tasks {
        if let Some(table) = config.task.get_mut(&task) {
            table.training.early_stopping = None;
            table.training.reduce_lr_on_plateau = None;
        }
    }
    config
}
