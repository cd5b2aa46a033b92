//! The architectures that are read, as data: their names in both worlds, and their tensors.

use super::config::wrong;
use crate::error::ModelError;
use gguf::Gguf;

/// What a `general.architecture` is in Hugging Face layout.
#[derive(Debug)]
pub(super) struct Architecture {
    /// Its name in GGUF, which begins its keys.
    pub name: &'static str,
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// Others whose networks are the same.
    relatives: &'static [&'static str],
    /// Its class in transformers.
    pub class: &'static str,
    /// The key of the activation in config.json, and its name.
    pub activation: (&'static str, &'static str),
    /// Whether the rows of q and k were permuted for llama.cpp's rotation of neighbours.
    pub permuted: bool,
    /// Whether norms hold their weight and one.
    pub norms_add_one: bool,
    /// The key of config.json that says whether the projections of attention have biases; `None` where the architecture fixes it.
    pub attention_bias: Option<&'static str>,
    /// Whether layers with a window alternate with full ones.
    pub alternates: bool,
    /// The tensors of a layer, by their names in both worlds.
    layer: &'static [(&'static str, &'static str)],
}

/// The tensors that no layer has.
const OUTSIDE: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Tensors that say nothing beyond the metadata (`MODEL_TENSOR_SKIP` of gguf-py), or are read with it (`rope_freqs`).
const IGNORED: [&str; 2] = ["rope_freqs.weight", "attn_rot_embd.weight"];

const LLAMA_LAYER: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const QWEN3_LAYER: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const GEMMA3_LAYER: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Mistral's models, too, are of the architecture "llama".
const LLAMA: Architecture = Architecture {
    name: "llama",
    model_type: "llama",
    relatives: &["mistral"],
    class: "LlamaForCausalLM",
    activation: ("hidden_act", "silu"),
    permuted: true,
    norms_add_one: false,
    attention_bias: Some("attention_bias"),
    alternates: false,
    layer: LLAMA_LAYER,
};

const ALL: [Architecture; 4] = [
    LLAMA,
    Architecture {
        name: "qwen2",
        model_type: "qwen2",
        relatives: &[],
        class: "Qwen2ForCausalLM",
        permuted: false,
        attention_bias: None,
        ..LLAMA
    },
    Architecture {
        name: "qwen3",
        model_type: "qwen3",
        relatives: &[],
        class: "Qwen3ForCausalLM",
        permuted: false,
        layer: QWEN3_LAYER,
        ..LLAMA
    },
    Architecture {
        name: "gemma3",
        model_type: "gemma3_text",
        relatives: &[],
        class: "Gemma3ForCausalLM",
        activation: ("hidden_activation", "gelu_pytorch_tanh"),
        permuted: false,
        norms_add_one: true,
        attention_bias: Some("attention_bias"),
        alternates: true,
        layer: GEMMA3_LAYER,
    },
];

/// What becomes of a tensor of the file.
pub(super) enum Place {
    /// It has this name in Hugging Face layout, and is of this sort in GGUF.
    Tensor(String, &'static str),
    /// Nothing: the metadata say the same.
    Ignored,
    /// There is no place for it.
    Unknown,
}

impl Architecture {
    /// That of a file.
    pub fn of(file: &Gguf) -> Result<&'static Architecture, ModelError> {
        const KNOWN: &[Architecture] = &ALL;
        let found = file.get("general.architecture").and_then(gguf::Value::as_str);
        KNOWN.iter().find(|one| Some(one.name) == found).ok_or_else(|| {
            let found = found.map_or("nothing".into(), |name| format!("{name:?}"));
            let expected = KNOWN.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
            wrong(file, "general.architecture", found, &format!("one of {expected}"))
        })
    }

    /// That of a `model_type`.
    pub fn of_model_type(model_type: &str) -> Option<&'static Architecture> {
        const KNOWN: &[Architecture] = &ALL;
        KNOWN.iter().find(|one| one.model_type == model_type || one.relatives.contains(&model_type))
    }

    /// The name in the file of a tensor with this name in Hugging Face layout, and what sort it is of.
    pub fn name_of(&self, hf_name: &str) -> Option<(String, &'static str)> {
        let (stem, end) = hf_name.rsplit_once('.')?;
        let stem = stem.strip_prefix("model.").unwrap_or(stem);
        let outside = OUTSIDE.iter().find(|(_, hf)| hf.strip_prefix("model.").unwrap_or(hf) == stem);
        if let Some((sort, _)) = outside {
            return Some((format!("{sort}.{end}"), sort));
        }
        let (number, stem) = stem.strip_prefix("layers.")?.split_once('.')?;
        let (sort, _) = self.layer.iter().find(|(_, hf)| *hf == stem)?;
        Some((format!("blk.{number}.{sort}.{end}"), sort))
    }

    /// Where a tensor of the file belongs.
    pub fn place(&self, name: &str) -> Place {
        if IGNORED.iter().any(|ignored| name.ends_with(ignored)) {
            return Place::Ignored;
        }
        let Some((stem, end @ ("weight" | "bias"))) = name.rsplit_once('.') else { return Place::Unknown };
        if let Some((sort, hf)) = OUTSIDE.iter().find(|(sort, _)| *sort == stem) {
            return Place::Tensor(format!("{hf}.{end}"), sort);
        }
        let layer = stem.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let Some((number, stem)) = layer.filter(|(number, _)| is_number(number)) else {
            return Place::Unknown;
        };
        match self.layer.iter().find(|(sort, _)| *sort == stem) {
            Some((sort, hf)) => Place::Tensor(format!("model.layers.{number}.{hf}.{end}"), sort),
            None => Place::Unknown,
        }
    }
}

/// A number as it is written: no zeros before it.
fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|number| number.to_string() == text)
}
