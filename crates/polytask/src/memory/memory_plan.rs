//! `[train] max_memory_gib`: batches that fit into the memory, and as many of them to a step as make up for their size.

use super::{bytes_of_gib, gradient_bytes, peak};
use crate::config::Config;
use crate::failure::Failure;
use crate::terminal::figures::{bytes, count};
use model::Parameter;
use train::{GradientMemory, Job, probe_step};

/// Batches smaller than this are not tried, unless those of the config are smaller.
const MIN_TOKENS: usize = 64;

/// Where the config limits memory: finds batches of a half, a quarter, ... of its tokens that fit, by probe steps that change no
/// weight, and writes their size and number to a step into the config. An optimizer step sees as many tokens as before. Returns a
/// sentence about the result.
///
/// # Errors
/// A system that does not report its memory; a limit that even the smallest batches exceed.
pub(crate) fn plan_batches(config: &mut Config, job: &Job) -> Result<Option<String>, Failure> {
    let Some(gib) = config.train.max_memory_gib else { return Ok(None) };
    let limit = bytes_of_gib(gib);
    let refused = |message: String| Failure::refused([format!("train.max_memory_gib = {gib}: {message}")]);
    let settings = config.settings();
    let beside = bytes_beside_probe(config, job)?;
    // Where a step has several batches, the accumulated gradient is there beside that of the batch.
    let gradients = gradient_bytes(&job.model.parameters);
    let wanted = settings.train.tokens_per_batch;
    // From the smallest up, so that no probe exceeds the limit: the last two predict the next.
    let sizes = (0..).map(|halvings| wanted >> halvings);
    let smallest = sizes.take_while(|tokens| *tokens >= MIN_TOKENS.min(wanted)).count() - 1;
    let (mut fitting, mut before) = (None, None);
    for halvings in (0..=smallest).rev() {
        let tokens = wanted >> halvings;
        let several = config.train.gradient_accumulation_steps << halvings > 1;
        let later = beside + if several { gradients } else { 0 };
        let peak =
            || peak().ok_or_else(|| refused("this system does not report how much memory is in use".into()));
        let now = peak()?;
        let predicted = before.map_or(now, |before: usize| now + 2 * now.saturating_sub(before));
        if predicted + later > limit {
            break;
        }
        probe_step(job, &settings, tokens);
        if peak()? + later > limit {
            break;
        }
        // The first probe also took the gradients, which larger batches do not double.
        before = Some(if fitting.is_none() { now + gradients } else { now });
        fitting = Some((halvings, tokens, peak()? + later));
    }
    let Some((halvings, tokens, taken)) = fitting else {
        let needed = bytes(peak().unwrap_or(0) + beside + gradients);
        return Err(refused(format!(
            "batches of {} tokens alone take {needed}; raise it, lower data.max_length, freeze layers, or take a smaller model",
            count(wanted >> smallest)
        )));
    };
    config.train.tokens_per_batch = tokens;
    config.train.gradient_accumulation_steps <<= halvings;
    Ok(Some(format!(
        "batches of {} tokens, {} to a step, take about {} of {}",
        count(tokens),
        config.train.gradient_accumulation_steps,
        bytes(taken),
        bytes(limit)
    )))
}

/// Bytes that a run takes and a probe step does not: the optimizer's state, the gradients that a balancer compares, and the
/// largest tensor of a checkpoint as it is written.
pub(crate) fn bytes_beside_probe(config: &Config, job: &Job) -> Result<usize, Failure> {
    let state = |p: &Parameter| {
        config.optimizer.state_shapes(p).iter().map(|shape| shape.iter().product::<usize>()).sum::<usize>()
    };
    let optimizer: usize = job.model.parameters.iter().filter(|p| p.trainable).map(state).sum();
    let memory = GradientMemory::of(job, &config.settings()).map_err(|e| Failure::refused([e]))?;
    let compared = memory.map_or(0, |memory| memory.gradients * memory.numbers + memory.kept);
    let largest = job.model.parameters.iter().map(Parameter::size).max().unwrap_or(0);
    Ok(4 * (optimizer + compared + 2 * largest))
}
