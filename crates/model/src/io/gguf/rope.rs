//! Scaled rotary positions: from the keys `rope.scaling.*`, or from the factors of each frequency in `rope_freqs.weight`, to
//! `rope_scaling` of config.json.

use super::config::{Keys, wrong};
use super::from_gguf;
use crate::cast::to_u64;
use crate::error::ModelError;
use serde_json::{Value as Json, json};
use std::f64::consts::TAU;

/// The tensor with what each frequency is divided by.
const FACTORS: &str = "rope_freqs.weight";
/// How far a factor may be from the formula: it is stored as f32.
const TOLERANCE: f64 = 1e-3;
/// Llama 3's `low_freq_factor`, and `original_max_position_embeddings` of all its models.
const LOW: f64 = 1.0;
const ORIGINAL: f64 = 8192.0;
/// Its `high_freq_factor`.
const HIGH: f64 = 4.0;

/// `rope_scaling`, where there is some.
pub(super) fn scaling(keys: &Keys<'_>, base: f64, head_dim: u64) -> Result<Option<Json>, ModelError> {
    let by_keys = by_keys(keys)?;
    let Some(factors) = factors(keys, head_dim)? else { return Ok(by_keys) };
    if by_keys.is_some() {
        let expected = format!("\"none\" beside {FACTORS}");
        return Err(wrong(keys.file, &keys.full("rope.scaling.type"), "a scaling".into(), &expected));
    }
    llama3(&factors, base).map(Some).ok_or_else(|| {
        let found = format!("factors up to {}", factors.iter().copied().fold(0.0, f64::max));
        wrong(keys.file, FACTORS, found, "the factors of Llama 3's scaling")
    })
}

fn by_keys(keys: &Keys<'_>) -> Result<Option<Json>, ModelError> {
    let key = "rope.scaling.type";
    let kind = match keys.get(key) {
        None => "none",
        Some(value) => value.as_str().unwrap_or("a value that is no text"),
    };
    let factor = keys.number("rope.scaling.factor")?;
    let original = keys.size("rope.scaling.original_context_length")?;
    let attention = attention_factor(keys)?;
    let needed = || {
        factor.filter(|factor| *factor > 0.0).ok_or_else(|| {
            wrong(keys.file, &keys.full("rope.scaling.factor"), format!("{factor:?}"), "a number above 0")
        })
    };
    match kind {
        "none" => Ok(None),
        "linear" => Ok(Some(json!({ "rope_type": "linear", "factor": needed()? }))),
        "yarn" => {
            let mut scaling = json!({ "rope_type": "yarn", "factor": needed()? });
            if let Some(original) = original {
                scaling["original_max_position_embeddings"] = json!(original);
            }
            for (key, name) in [("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")] {
                if let Some(beta) = keys.number(&format!("rope.scaling.{key}"))? {
                    scaling[name] = json!(beta);
                }
            }
            if let Some(attention) = attention {
                scaling["attention_factor"] = json!(attention * (1.0 + 0.1 * needed()?.ln()));
            }
            if let Some(found) = keys.number("rope.scaling.yarn_ext_factor")?.filter(|n| *n != 1.0) {
                let key = keys.full("rope.scaling.yarn_ext_factor");
                return Err(wrong(keys.file, &key, found.to_string(), "1"));
            }
            Ok(Some(scaling))
        }
        other => Err(wrong(keys.file, &keys.full(key), format!("{other:?}"), "none, linear or yarn")),
    }
}

/// What llama.cpp multiplies YaRN's own factor of attention by, where it is not 1.
fn attention_factor(keys: &Keys<'_>) -> Result<Option<f64>, ModelError> {
    let [first, second] = ["attn_factor", "yarn_attn_factor"].map(|key| format!("rope.scaling.{key}"));
    let found = keys.number(&first)?.or(keys.number(&second)?);
    Ok(found.filter(|factor| *factor != 1.0))
}

/// The factors of the frequencies, where not all are 1.
fn factors(keys: &Keys<'_>, head_dim: u64) -> Result<Option<Vec<f64>>, ModelError> {
    if !keys.file.tensors().contains_key(FACTORS) {
        return Ok(None);
    }
    let mut factors = Vec::new();
    keys.file.read_f32(FACTORS, &mut factors).map_err(|error| from_gguf(keys.file.path(), error))?;
    if factors.len() as u64 != head_dim / 2
        || !factors.iter().all(|factor| *factor > 0.0 && factor.is_finite())
    {
        let expected = format!("{} numbers above 0", head_dim / 2);
        return Err(wrong(keys.file, FACTORS, format!("{} numbers", factors.len()), &expected));
    }
    let factors: Vec<f64> = factors.into_iter().map(f64::from).collect();
    Ok(factors.iter().any(|factor| (factor - 1.0).abs() > TOLERANCE).then_some(factors))
}

/// Llama 3's settings that give these factors. They are those of `_compute_llama3_parameters` in transformers' modeling_rope_utils.py: a
/// wave of more than `original / low` positions is stretched by `factor`, one of less than `original / high` is not, and between them
/// `1 / f = (1 - s) / factor + s` with `s = (original / wave - low) / (high - low)`. Two factors between give `s` as a line over
/// `1 / wave`, and so all but one of the three numbers; `low` is 1.
fn llama3(factors: &[f64], base: f64) -> Option<Json> {
    let factor = *factors.last()?;
    if factor <= 1.0 {
        return None;
    }
    let per_wave = |i: usize| base.powf(-(i as f64) / factors.len() as f64) / TAU;
    let between = |i: &usize| factors[*i] > 1.0 + TOLERANCE && factors[*i] < factor - TOLERANCE;
    let smooth = |i: usize| (1.0 / factors[i] - 1.0 / factor) / (1.0 - 1.0 / factor);
    let found: Vec<usize> = (0..factors.len()).filter(between).collect();
    let fitted = match (found.first(), found.last()) {
        (Some(first), Some(last)) if first != last => {
            let slope = (smooth(*first) - smooth(*last)) / (per_wave(*first) - per_wave(*last));
            let at_zero = smooth(*first) - slope * per_wave(*first);
            (at_zero < 0.0).then(|| ((-slope / at_zero * LOW).round(), LOW - LOW / at_zero))
        }
        _ => None,
    };
    let gives = |(original, high): &(f64, f64)| {
        let of = |i: usize| {
            let smooth = ((original * per_wave(i) - LOW) / (high - LOW)).clamp(0.0, 1.0);
            1.0 / ((1.0 - smooth) / factor + smooth)
        };
        (0..factors.len()).all(|i| (of(i) / factors[i] - 1.0).abs() < TOLERANCE)
    };
    let (original, high) = [Some((ORIGINAL, HIGH)), fitted].into_iter().flatten().find(gives)?;
    Some(json!({
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": LOW,
        "high_freq_factor": high,
        "original_max_position_embeddings": to_u64(original),
    }))
}
