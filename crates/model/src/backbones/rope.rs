//! Frequencies of rotary positions, as transformers computes them (`modeling_rope_utils.py`), in f32.

use crate::cast::{to_f32, to_u64};
use crate::error::ModelError;
use crate::io::config_reader::ConfigReader;
use crate::onnx::{OnnxGraph, Value as OnnxValue};
use ::gguf::Value as GgufValue;
use burn::tensor::Tensor;
use kernels::RotaryAngles;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// Rotary positions of some layers.
#[derive(Debug)]
pub(crate) struct Rotary {
    frequencies: Vec<f32>,
    /// What cosines and sines are multiplied by.
    factor: f32,
    /// Angles of as many positions as were asked for so far.
    angles: Mutex<Arc<RotaryAngles>>,
}

impl Rotary {
    fn new(frequencies: Vec<f32>, factor: f32) -> Self {
        let angles = Mutex::new(Arc::new(RotaryAngles::new(&frequencies, factor, 0)));
        Rotary { frequencies, factor, angles }
    }

    /// The same rotation in a graph: `x` `[batch, heads, length, head_dim]`. `sort` tells these rotary positions from others there.
    pub fn onnx(&self, graph: &mut OnnxGraph, x: &OnnxValue, sort: &str) -> OnnxValue {
        graph.rotary(x, sort, &self.frequencies, self.factor)
    }

    /// Rotates the first `heads` heads of tokens `x` at these positions; see [`kernels::rotary`].
    pub fn rotate(&self, x: Tensor<2>, heads: usize, positions: &[u32]) -> Tensor<2> {
        let known = positions.iter().max().map_or(0, |last| *last as usize + 1);
        kernels::rotary(x, heads, positions, &self.angles(known))
    }

    /// The angles of at least so many positions.
    fn angles(&self, positions: usize) -> Arc<RotaryAngles> {
        let mut angles = self.angles.lock().unwrap_or_else(PoisonError::into_inner);
        if angles.positions() < positions {
            *angles =
                Arc::new(RotaryAngles::new(&self.frequencies, self.factor, positions.next_power_of_two()));
        }
        angles.clone()
    }
}

/// What config.json says of the rotary positions of one sort of layers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RotarySettings {
    /// The base of the frequencies.
    theta: f64,
    scaling: Scaling,
}

/// How frequencies are changed for rows longer than those of the pretraining.
#[derive(Debug, Clone, PartialEq)]
enum Scaling {
    /// Not at all.
    None,
    /// All divided by a factor (Chen et al. 2023, "Extending context window by positional interpolation").
    Linear { factor: f64 },
    /// Divided where the wavelength is long (Llama 3.1).
    Llama3 { factor: f64, low: f64, high: f64, original: f64 },
    /// Divided for long wavelengths, with a ramp, and attention sharpened (Peng et al. 2023, "YaRN").
    Yarn { factor: f64, fast: f64, slow: f64, original: f64, attention: f64, truncate: bool },
}

/// The keys that a table of rotary settings may have.
const KEYS: [&str; 13] = [
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "beta_fast",
    "beta_slow",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
    "truncate",
];

impl RotarySettings {
    /// Without scaling.
    pub fn plain(theta: f64) -> Self {
        RotarySettings { theta, scaling: Scaling::None }
    }

    /// Reads a table of settings that stands under `key`; `theta` is the base where it has none, `longest` the
    /// `max_position_embeddings`.
    pub fn read(
        read: &ConfigReader<'_>,
        key: &str,
        table: &Value,
        theta: f64,
        longest: usize,
    ) -> Result<Self, ModelError> {
        let Some(map) = table.as_object() else {
            return Err(read.error(key, "a table of rotary settings, or null".into()));
        };
        let bad = |name: &str, expected: &str| {
            let found = table.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
            let (path, key) = (read.path.to_owned(), format!("{key}.{name}"));
            ModelError::Config { path, key, found, expected: expected.into() }
        };
        if let Some(unknown) = map.iter().find(|(name, value)| !KEYS.contains(&&***name) && !value.is_null())
        {
            return Err(bad(unknown.0, "no such key: it is not known what it does"));
        }
        let number = |name: &str, default: Option<f64>| match table.get(name) {
            None | Some(Value::Null) => default.ok_or_else(|| bad(name, "a number above 0")),
            Some(value) => match value.as_f64().filter(|found| found.is_finite() && *found > 0.0) {
                Some(found) => Ok(found),
                None => Err(bad(name, "a number above 0")),
            },
        };
        let theta = number("rope_theta", Some(theta))?;
        let word = table.get("rope_type").or_else(|| table.get("type")).filter(|word| !word.is_null());
        let name = word.map_or("default", |word| word.as_str().unwrap_or("no text"));
        let original = |default: Option<f64>| number("original_max_position_embeddings", default);
        let usual = Some(longest as f64);
        let scaling = match name {
            // Up to max_position_embeddings, which rows may not exceed here, the dynamic base is the base itself.
            "default" | "dynamic" => Scaling::None,
            "linear" => Scaling::Linear { factor: number("factor", None)? },
            "llama3" => Scaling::Llama3 {
                factor: number("factor", None)?,
                low: number("low_freq_factor", None)?,
                high: number("high_freq_factor", None)?,
                original: original(None)?,
            },
            "yarn" => {
                let original = original(usual)?;
                // Without a factor it is the ratio of lengths.
                let factor = match table.get("factor") {
                    None | Some(Value::Null) => longest as f64 / original,
                    Some(_) => number("factor", None)?,
                };
                let scale = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
                let has = |name: &str| table.get(name).is_some_and(|value| !value.is_null());
                let inferred = match (has("mscale"), has("mscale_all_dim")) {
                    (true, true) => scale(number("mscale", None)?) / scale(number("mscale_all_dim", None)?),
                    _ => scale(1.0),
                };
                Scaling::Yarn {
                    factor,
                    fast: number("beta_fast", Some(32.0))?,
                    slow: number("beta_slow", Some(1.0))?,
                    original,
                    attention: number("attention_factor", Some(inferred))?,
                    truncate: match table.get("truncate") {
                        None | Some(Value::Null) => true,
                        Some(Value::Bool(truncate)) => *truncate,
                        Some(_) => return Err(bad("truncate", "true or false")),
                    },
                }
            }
            _ => {
                return Err(bad(
                    if table.get("rope_type").is_some() { "rope_type" } else { "type" },
                    "\"default\", \"linear\", \"dynamic\", \"yarn\" or \"llama3\"",
                ));
            }
        };
        Ok(RotarySettings { theta, scaling })
    }

    /// The base of the frequencies.
    pub fn theta(&self) -> f64 {
        self.theta
    }

    /// What GGUF says of the scaling: keys below `rope.scaling.`, and what each frequency is divided by (`rope_freqs.weight`).
    pub fn gguf(&self, head_dim: usize) -> (Vec<(&'static str, GgufValue)>, Option<Vec<f32>>) {
        let (kind, number) =
            (|name: &str| ("type", GgufValue::String(name.into())), |x| GgufValue::F32(to_f32(x)));
        match self.scaling {
            Scaling::None => (Vec::new(), None),
            Scaling::Linear { factor } => (vec![kind("linear"), ("factor", number(factor))], None),
            Scaling::Llama3 { .. } => {
                let plain = RotarySettings::plain(self.theta).build(head_dim);
                let scaled = self.build(head_dim);
                let factors = plain.frequencies.iter().zip(&scaled.frequencies).map(|(a, b)| a / b);
                (Vec::new(), Some(factors.collect()))
            }
            Scaling::Yarn { factor, fast, slow, original, attention, .. } => {
                let usual = 1.0 + 0.1 * factor.ln();
                let mut keys = vec![
                    kind("yarn"),
                    ("factor", number(factor)),
                    ("original_context_length", GgufValue::Unsigned(to_u64(original))),
                ];
                // What the format says of itself.
                let others = [
                    ("yarn_beta_fast", fast, 32.0),
                    ("yarn_beta_slow", slow, 1.0),
                    ("attn_factor", attention / usual, 1.0),
                ];
                let said = others.into_iter().filter(|(_, own, default)| (own / default - 1.0).abs() > 1e-6);
                keys.extend(said.map(|(key, own, _)| (key, number(own))));
                (keys, None)
            }
        }
    }

    /// Whether heads of `head_dim` columns are rotated as by others, but for the rounding of numbers in files.
    pub fn is_like(&self, other: &Self, head_dim: usize) -> bool {
        let [own, other] = [self, other].map(|settings| settings.build(head_dim));
        let near = |(a, b): (&f32, &f32)| (a / b - 1.0).abs() < 1e-4;
        near((&own.factor, &other.factor)) && own.frequencies.iter().zip(&other.frequencies).all(near)
    }

    /// The rotary positions of heads of `head_dim` columns.
    pub fn build(&self, head_dim: usize) -> Rotary {
        let base: Vec<f32> = (0..head_dim / 2)
            .map(|i| 1.0 / to_f32(self.theta).powf(2.0 * i as f32 / head_dim as f32))
            .collect();
        let attention = match self.scaling {
            Scaling::Yarn { attention, .. } => to_f32(attention),
            _ => 1.0,
        };
        Rotary::new(self.scaled(base, head_dim), attention)
    }

    fn scaled(&self, base: Vec<f32>, head_dim: usize) -> Vec<f32> {
        match self.scaling {
            Scaling::None => base,
            Scaling::Linear { factor } => base.into_iter().map(|f| f / to_f32(factor)).collect(),
            Scaling::Llama3 { factor, low, high, original } => {
                let scale = |f: f32| {
                    let (f, wavelength) = (f64::from(f), std::f64::consts::TAU / f64::from(f));
                    if wavelength > original / low {
                        return to_f32(f / factor);
                    }
                    if wavelength < original / high {
                        return to_f32(f);
                    }
                    let smooth = (original / wavelength - low) / (high - low);
                    to_f32((1.0 - smooth) * f / factor + smooth * f)
                };
                base.into_iter().map(scale).collect()
            }
            Scaling::Yarn { factor, fast, slow, original, truncate, .. } => {
                // The column whose angle turns so often within the original length.
                let column = |turns: f64| {
                    head_dim as f64 * (original / (turns * std::f64::consts::TAU)).ln()
                        / (2.0 * self.theta.ln())
                };
                let (mut first, mut last) = (column(fast), column(slow));
                if truncate {
                    (first, last) = (first.floor(), last.ceil());
                }
                let (first, mut last) = (first.max(0.0), last.min(head_dim as f64 - 1.0));
                if first == last {
                    last += 0.001;
                }
                let scale = |(i, f): (usize, f32)| {
                    let ramp = to_f32(((i as f64 - first) / (last - first)).clamp(0.0, 1.0));
                    f / to_f32(factor) * ramp + f * (1.0 - ramp)
                };
                base.into_iter().enumerate().map(scale).collect()
            }
        }
    }
}
