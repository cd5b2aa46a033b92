//! The families of decoders as data: what their config.json says in other words, and the few ways in which they differ.

use kernels::Glu;

/// One family: adding a relative of Llama is adding a value of this type to [`ALL`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Family {
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// What the names of transformers' classes begin with.
    pub class: &'static str,
    /// Whether the maps to queries, keys and values have a bias.
    pub qkv_bias: Bias,
    /// Whether the map out of the attention has one.
    pub output_bias: Bias,
    /// Whether the maps of the feed-forward part have one.
    pub mlp_bias: Bias,
    /// Whether queries and keys of each head pass a norm before they are rotated.
    pub qk_norm: bool,
    /// What is added to the weight of every norm.
    pub norm_offset: f32,
    /// Whether what the attention and the feed-forward part give passes a norm of its own.
    pub post_norms: bool,
    /// Whether transformers refuses a number of heads that does not divide the width of a state, also beside a `head_dim`.
    pub heads_divide_hidden: bool,
    /// Whether token vectors are multiplied by the root of their width.
    pub scales_embeddings: bool,
    /// Which layers see a window only.
    pub windows: Windows,
    /// The key of the activation.
    pub activation_key: &'static str,
    /// What stands for keys that config.json leaves out.
    pub defaults: Defaults,
    /// Keys of this family alone that are read.
    pub keys: &'static [&'static str],
}

impl Family {
    /// Transformers' class of the network without what makes logits.
    pub fn bare_class(&self) -> String {
        let text = if self.model_type.ends_with("_text") { "Text" } else { "" };
        format!("{}{text}Model", self.class)
    }
}

/// Whether a linear map has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bias {
    Never,
    Always,
    /// As config.json says under this key; without one where it says nothing.
    Key(&'static str),
}

/// Which layers see a window only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Windows {
    /// None; config.json may not ask for one.
    Never,
    /// All, where `sliding_window` is a number.
    All,
    /// Those from `max_window_layers` on, where `use_sliding_window` is true.
    Upper,
    /// All but each of this number, with a rotary base of their own.
    AllButEvery(usize),
}

/// What stands for keys that are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Defaults {
    /// `head_dim`; `None`: `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    /// `rope_theta`
    pub rope_theta: f64,
    /// `tie_word_embeddings`
    pub tied: bool,
    /// `max_position_embeddings`
    pub max_positions: usize,
    /// `sliding_window`
    pub sliding_window: Option<usize>,
    /// `num_key_value_heads`; `None`: `num_attention_heads`.
    pub kv_heads: Option<usize>,
}

const LLAMA: Family = Family {
    model_type: "llama",
    class: "Llama",
    qkv_bias: Bias::Key("attention_bias"),
    output_bias: Bias::Key("attention_bias"),
    mlp_bias: Bias::Key("mlp_bias"),
    qk_norm: false,
    norm_offset: 0.0,
    post_norms: false,
    heads_divide_hidden: false,
    scales_embeddings: false,
    windows: Windows::Never,
    activation_key: "hidden_act",
    defaults: Defaults {
        head_dim: None,
        rope_theta: 10_000.0,
        tied: false,
        max_positions: 2048,
        sliding_window: None,
        kv_heads: None,
    },
    keys: &["attention_bias", "mlp_bias", "head_dim"],
};

/// Every family.
pub(crate) const ALL: [Family; 5] = [
    Family { heads_divide_hidden: true, ..LLAMA },
    Family {
        model_type: "mistral",
        class: "Mistral",
        qkv_bias: Bias::Never,
        output_bias: Bias::Never,
        mlp_bias: Bias::Never,
        windows: Windows::All,
        defaults: Defaults {
            max_positions: 131_072,
            sliding_window: Some(4096),
            kv_heads: Some(8),
            ..LLAMA.defaults
        },
        keys: &["sliding_window", "head_dim"],
        ..LLAMA
    },
    Family {
        model_type: "qwen2",
        class: "Qwen2",
        qkv_bias: Bias::Always,
        output_bias: Bias::Never,
        mlp_bias: Bias::Never,
        windows: Windows::Upper,
        defaults: Defaults {
            max_positions: 32_768,
            sliding_window: Some(4096),
            kv_heads: Some(32),
            ..LLAMA.defaults
        },
        keys: &["head_dim", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types"],
        ..LLAMA
    },
    Family {
        model_type: "qwen3",
        class: "Qwen3",
        mlp_bias: Bias::Never,
        qk_norm: true,
        windows: Windows::Upper,
        defaults: Defaults {
            head_dim: Some(128),
            max_positions: 32_768,
            sliding_window: Some(4096),
            kv_heads: Some(32),
            ..LLAMA.defaults
        },
        keys: &[
            "attention_bias",
            "head_dim",
            "sliding_window",
            "use_sliding_window",
            "max_window_layers",
            "layer_types",
        ],
        ..LLAMA
    },
    Family {
        model_type: "gemma3_text",
        class: "Gemma3",
        mlp_bias: Bias::Never,
        qk_norm: true,
        norm_offset: 1.0,
        post_norms: true,
        heads_divide_hidden: true,
        scales_embeddings: true,
        windows: Windows::AllButEvery(6),
        activation_key: "hidden_activation",
        defaults: Defaults {
            head_dim: Some(256),
            rope_theta: 1_000_000.0,
            tied: true,
            max_positions: 131_072,
            sliding_window: Some(4096),
            kv_heads: Some(4),
        },
        keys: &[
            "attention_bias",
            "head_dim",
            "sliding_window",
            "sliding_window_pattern",
            "_sliding_window_pattern",
            "layer_types",
            "query_pre_attn_scalar",
            "rope_local_base_freq",
        ],
        ..LLAMA
    },
];

/// Activations by their names in config.json.
pub(crate) const ACTIVATIONS: [(&str, Glu); 4] =
    [("silu", Glu::Silu), ("swish", Glu::Silu), ("gelu_pytorch_tanh", Glu::GeluTanh), ("gelu", Glu::Gelu)];

/// Keys that every family reads.
pub(crate) const READ: &[&str] = &[
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "attention_dropout",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "eos_token_id",
];

/// Keys that change nothing about what the network computes.
pub(crate) const NEUTRAL: &[&str] = &[
    "architectures",
    "_name_or_path",
    "name_or_path",
    "_model_name_or_path",
    "unk_token_id",
    "sep_token_id",
    "bos_token_id",
    "pad_token_id",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "initializer_range",
    "use_cache",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "pretraining_tp",
    "is_llama_config",
    "transformers.js_config",
    "unsloth_version",
    "unsloth_fixed",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "chunk_size_feed_forward",
    "is_decoder",
    "is_encoder_decoder",
    "cache_implementation",
    "tokenizer_class",
    "task_specific_params",
    "finetuning_task",
    "base_model_tp_plan",
    "base_model_pp_plan",
];
