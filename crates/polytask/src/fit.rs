//! `[train] memory_gib`: packs as small as the memory wants, and as many of them to a step as make up for it.

use crate::config::Config;
use crate::failure::Failure;
use crate::memory;
use crate::terminal::figures::{bytes, count};
use model::Parameter;
use train::{Comparison, Job, trial};

/// Packs are not tried smaller than this, unless the config's own are.
const SMALLEST: usize = 64;

/// Where the config bounds memory: finds packs of a half, a quarter, ... of its tokens that fit, by passes that move nothing, and
/// puts them into the config with as many more of them to a step. What a step learns from stays the same. Says what it found.
///
/// # Errors
/// A system that does not tell its memory; a bound that not even the smallest packs keep to.
pub fn fit(config: &mut Config, job: &Job) -> Result<Option<String>, Failure> {
    let Some(gib) = config.train.memory_gib else { return Ok(None) };
    let limit = memory::of_gib(gib);
    let refused = |message: String| Failure::refused([format!("train.memory_gib = {gib}: {message}")]);
    let settings = config.settings();
    let remembered = remembered(config, job)?;
    // Of several packs the sum of the gradients so far stands beside those of the pack.
    let gradients = memory::of_gradients(&job.model.parameters);
    let wanted = settings.train.tokens_per_step;
    // From the smallest up, so that no trial takes more than the bound: what the next will take is told by the last two.
    let smallest =
        (0..).map(|halvings| wanted >> halvings).take_while(|tokens| *tokens >= SMALLEST.min(wanted)).count()
            - 1;
    let (mut fitting, mut before) = (None, None);
    for halvings in (0..=smallest).rev() {
        let tokens = wanted >> halvings;
        let later = remembered + if config.train.accumulate << halvings > 1 { gradients } else { 0 };
        let peak = || {
            memory::peak()
                .ok_or_else(|| refused("this system does not tell how much memory is in use".into()))
        };
        let now = peak()?;
        let predicted = before.map_or(now, |before: usize| now + 2 * now.saturating_sub(before));
        if predicted + later > limit {
            break;
        }
        trial(job, &settings, tokens);
        if peak()? + later > limit {
            break;
        }
        // The first trial also took the gradients, which larger packs do not double.
        before = Some(if fitting.is_none() { now + gradients } else { now });
        fitting = Some((halvings, tokens, peak()? + later));
    }
    let Some((halvings, tokens, taken)) = fitting else {
        let needed = bytes(memory::peak().unwrap_or(0) + remembered + gradients);
        return Err(refused(format!(
            "packs of {} tokens alone take {needed}; raise it, lower data.max_length, freeze layers, or take a smaller model",
            count(wanted >> smallest)
        )));
    };
    config.train.tokens_per_step = tokens;
    config.train.accumulate <<= halvings;
    Ok(Some(format!(
        "packs of {} tokens, {} to a step, take about {} of {}",
        count(tokens),
        config.train.accumulate,
        bytes(taken),
        bytes(limit)
    )))
}

/// Bytes that a trial does not take and a run does: what the optimizer remembers, the gradients that a balancer compares, and
/// the largest tensor of a checkpoint as it is written.
fn remembered(config: &Config, job: &Job) -> Result<usize, Failure> {
    let of = |p: &Parameter| {
        config.optimizer.memory(p).iter().map(|shape| shape.iter().product::<usize>()).sum::<usize>()
    };
    let moments: usize = job.model.parameters.iter().filter(|p| p.trainable).map(of).sum();
    let comparison = Comparison::of(job, &config.settings()).map_err(|e| Failure::refused([e]))?;
    let compared = comparison.map_or(0, |c| c.gradients * c.numbers + c.kept);
    let largest = job.model.parameters.iter().map(Parameter::size).max().unwrap_or(0);
    Ok(4 * (moments + compared + 2 * largest))
}
