//! The network as llama.cpp knows it: the keys of its GGUF file.

use super::settings::Settings;
use crate::error::ModelError;
use crate::io::GgufModel;
use ::gguf::Value;
use serde_json::Value as Json;
use std::path::Path;

/// Every sixth layer of Gemma 3 sees everything: llama.cpp knows no other pattern.
const GEMMA3_PATTERN: usize = 6;
/// The base of the rotation in layers with a window, where a file says nothing.
const LOCAL_BASE: f64 = 10_000.0;

/// What a file says of a network.
pub(super) fn described(s: &Settings) -> Result<GgufModel, ModelError> {
    let number = |n: usize| Value::Unsigned(n as u64);
    let float = |x: f32| Value::F32(x);
    let mut keys = vec![
        ("context_length".to_owned(), number(s.max_length)),
        ("embedding_length".into(), number(s.hidden)),
        ("block_count".into(), number(s.windows.len())),
        ("feed_forward_length".into(), number(s.intermediate_size)),
        ("attention.head_count".into(), number(s.heads)),
        ("attention.head_count_kv".into(), number(s.kv_heads)),
        ("attention.key_length".into(), number(s.head_dim)),
        ("attention.value_length".into(), number(s.head_dim)),
        ("attention.layer_norm_rms_epsilon".into(), float(s.eps)),
        ("rope.dimension_count".into(), number(s.head_dim)),
        ("rope.freq_base".into(), float(crate::cast::to_f32(s.rotary[0].theta()))),
        ("vocab_size".into(), number(s.vocabulary)),
    ];
    if let Some(window) = s.windows.iter().flatten().next() {
        let usual = |(layer, window): (usize, &Option<usize>)| {
            window.is_some() != (layer + 1).is_multiple_of(GEMMA3_PATTERN)
        };
        if !s.windows.iter().enumerate().all(usual) {
            return Err(ModelError::NoExport {
                format: "GGUF",
                reason: "its layers with a window are others than llama.cpp has them: all but every sixth"
                    .into(),
                remedy: "--format onnx".into(),
            });
        }
        keys.push(("attention.sliding_window".into(), number(*window)));
        if s.rotary[1].theta() != LOCAL_BASE {
            keys.push(("rope.freq_base_swa".into(), float(crate::cast::to_f32(s.rotary[1].theta()))));
        }
    }
    let (scaling, factors) = s.rotary[0].gguf(s.head_dim);
    keys.extend(scaling.into_iter().map(|(key, value)| (format!("rope.scaling.{key}"), value)));
    let heads = [s.heads, s.kv_heads];
    Ok(GgufModel { model_type: s.family.model_type, keys, factors, heads, tied: s.tied })
}

/// What of a network is not as a file says.
pub(super) fn difference(own: &Settings, config: Json) -> Option<String> {
    let read = match Settings::from_json(Path::new("config.json"), config, None) {
        Ok(read) => read,
        Err(error) => return Some(error.to_string()),
    };
    let (a, b) = (&own.family, &read.family);
    let like = |i: usize| own.rotary[i].is_like(&read.rotary[i], own.head_dim);
    let near = |a: f32, b: f32| (a / b - 1.0).abs() < 1e-5;
    let same = [
        ("sizes", sizes(own) == sizes(&read)),
        (
            "norms",
            near(own.eps, read.eps)
                && (a.norm_offset, a.qk_norm, a.post_norms) == (b.norm_offset, b.qk_norm, b.post_norms),
        ),
        ("embeddings", a.scales_embeddings == b.scales_embeddings && own.tied == read.tied),
        ("activation", own.activation == read.activation),
        ("scale of attention", near(own.scale, read.scale)),
        (
            "biases",
            (own.qkv_bias, own.output_bias, own.mlp_bias) == (read.qkv_bias, read.output_bias, read.mlp_bias),
        ),
        ("windows of attention", own.windows == read.windows),
        ("rotary positions", like(0) && (like(1) || own.windows.iter().all(Option::is_none))),
    ];
    same.iter().find(|(_, same)| !same).map(|(what, _)| format!("the {what} cannot be said in the format"))
}

fn sizes(s: &Settings) -> [usize; 7] {
    [s.hidden, s.vocabulary, s.heads, s.kv_heads, s.head_dim, s.intermediate_size, s.max_length]
}
