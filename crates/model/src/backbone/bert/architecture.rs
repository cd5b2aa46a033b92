//! The architectures of the BERT family as data: what their files call things, and the few ways in which they differ.

use crate::checkpoint::Layout;
use crate::names::NameTable;

/// One architecture: adding a relative of BERT is adding a value of this type to [`ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture {
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// The transformers class of the bare encoder.
    pub class: &'static str,
    /// What stands before every name when the encoder was saved inside a larger model.
    pub prefix: &'static str,
    /// The names of sizes in config.json.
    pub keys: Keys,
    /// Embedding parameters: ours and theirs.
    pub embeddings: &'static [(&'static str, &'static str)],
    /// A layer's parameters: ours (below `layer.N.`) and theirs (below [`Architecture::layer_prefix`] and the number).
    pub layer: &'static [(&'static str, &'static [&'static str])],
    /// What stands before a layer's number.
    pub layer_prefix: &'static str,
    /// Only tensors of the encoder itself begin with one of these; what else a file holds belongs to somebody's head.
    pub own: &'static [&'static str],
    /// Whether a token's position is counted from the padding id + 1 (RoBERTa) and not from 0.
    pub positions_after_padding: bool,
    /// Whether there is an embedding of token types, of which this program always uses the first.
    pub token_types: bool,
    /// Whether there is dropout between the attention's output projection and its norm.
    pub attention_output_dropout: bool,
    /// The padding id where config.json does not tell.
    pub padding: usize,
}

/// What config.json calls the sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// Width of a state.
    pub hidden: &'static str,
    /// Number of layers.
    pub layers: &'static str,
    /// Number of attention heads.
    pub heads: &'static str,
    /// Width inside the feed-forward part.
    pub feed_forward: &'static str,
    /// Dropout of states.
    pub dropout: &'static str,
    /// Dropout of attention weights.
    pub attention_dropout: &'static str,
    /// Name of the activation function.
    pub activation: &'static str,
}

const BERT_KEYS: Keys = Keys {
    hidden: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    feed_forward: "intermediate_size",
    dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    activation: "hidden_act",
};

const BERT_LAYER: &[(&str, &[&str])] = &[
    (
        "attention.qkv.weight",
        &["attention.self.query.weight", "attention.self.key.weight", "attention.self.value.weight"],
    ),
    (
        "attention.qkv.bias",
        &["attention.self.query.bias", "attention.self.key.bias", "attention.self.value.bias"],
    ),
    ("attention.output.weight", &["attention.output.dense.weight"]),
    ("attention.output.bias", &["attention.output.dense.bias"]),
    ("attention.norm.weight", &["attention.output.LayerNorm.weight"]),
    ("attention.norm.bias", &["attention.output.LayerNorm.bias"]),
    ("feed_forward.in.weight", &["intermediate.dense.weight"]),
    ("feed_forward.in.bias", &["intermediate.dense.bias"]),
    ("feed_forward.out.weight", &["output.dense.weight"]),
    ("feed_forward.out.bias", &["output.dense.bias"]),
    ("feed_forward.norm.weight", &["output.LayerNorm.weight"]),
    ("feed_forward.norm.bias", &["output.LayerNorm.bias"]),
];

const EMBEDDINGS: &[(&str, &str)] = &[
    ("word", "embeddings.word_embeddings.weight"),
    ("position", "embeddings.position_embeddings.weight"),
    ("type", "embeddings.token_type_embeddings.weight"),
    ("norm.weight", "embeddings.LayerNorm.weight"),
    ("norm.bias", "embeddings.LayerNorm.bias"),
];

/// BERT, and MiniLM's and many other encoders' architecture (Devlin et al. 2019).
pub static BERT: Architecture = Architecture {
    model_type: "bert",
    class: "BertModel",
    prefix: "bert.",
    keys: BERT_KEYS,
    embeddings: EMBEDDINGS,
    layer: BERT_LAYER,
    layer_prefix: "encoder.layer.",
    own: &["embeddings.", "encoder."],
    positions_after_padding: false,
    token_types: true,
    attention_output_dropout: true,
    padding: 0,
};

/// RoBERTa (Liu et al. 2019): positions begin after the padding id.
pub static ROBERTA: Architecture = Architecture {
    model_type: "roberta",
    class: "RobertaModel",
    prefix: "roberta.",
    positions_after_padding: true,
    padding: 1,
    ..BERT
};

/// XLM-R (Conneau et al. 2020): RoBERTa over a hundred languages.
pub static XLM_ROBERTA: Architecture =
    Architecture { model_type: "xlm-roberta", class: "XLMRobertaModel", ..ROBERTA };

/// DistilBERT (Sanh et al. 2019): no token types, no pooler, other names.
pub static DISTILBERT: Architecture = Architecture {
    model_type: "distilbert",
    class: "DistilBertModel",
    prefix: "distilbert.",
    keys: Keys {
        hidden: "dim",
        layers: "n_layers",
        heads: "n_heads",
        feed_forward: "hidden_dim",
        dropout: "dropout",
        attention_dropout: "attention_dropout",
        activation: "activation",
    },
    embeddings: EMBEDDINGS,
    layer: &[
        (
            "attention.qkv.weight",
            &["attention.q_lin.weight", "attention.k_lin.weight", "attention.v_lin.weight"],
        ),
        ("attention.qkv.bias", &["attention.q_lin.bias", "attention.k_lin.bias", "attention.v_lin.bias"]),
        ("attention.output.weight", &["attention.out_lin.weight"]),
        ("attention.output.bias", &["attention.out_lin.bias"]),
        ("attention.norm.weight", &["sa_layer_norm.weight"]),
        ("attention.norm.bias", &["sa_layer_norm.bias"]),
        ("feed_forward.in.weight", &["ffn.lin1.weight"]),
        ("feed_forward.in.bias", &["ffn.lin1.bias"]),
        ("feed_forward.out.weight", &["ffn.lin2.weight"]),
        ("feed_forward.out.bias", &["ffn.lin2.bias"]),
        ("feed_forward.norm.weight", &["output_layer_norm.weight"]),
        ("feed_forward.norm.bias", &["output_layer_norm.bias"]),
    ],
    layer_prefix: "transformer.layer.",
    own: &["embeddings.", "transformer."],
    positions_after_padding: false,
    token_types: false,
    attention_output_dropout: false,
    padding: 0,
};

/// Every architecture that can be opened.
pub static ALL: [&Architecture; 4] = [&BERT, &DISTILBERT, &ROBERTA, &XLM_ROBERTA];

/// A network's sizes, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Token ids.
    pub vocabulary: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Rows of the token type table; 0 without one.
    pub types: usize,
    /// Width of a state.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// Width inside the feed-forward part.
    pub feed_forward: usize,
}

impl Architecture {
    /// What its files call their tensors.
    pub(crate) fn layout(&self) -> Layout {
        Layout { prefix: self.prefix, own: self.own, copies: &[] }
    }

    /// The table of all parameters of a network of these sizes; their names without the prefix.
    pub fn names(&self, sizes: &Sizes) -> NameTable {
        let (h, f) = (sizes.hidden, sizes.feed_forward);
        let mut table = NameTable::default();
        for (ours, theirs) in self.embeddings {
            let rows = match *ours {
                "word" => sizes.vocabulary,
                "position" => sizes.positions,
                "type" if sizes.types > 0 => sizes.types,
                "type" => continue,
                _ => {
                    table.push(format!("backbone.embeddings.{ours}"), [*theirs], &[h]);
                    continue;
                }
            };
            table.push(format!("backbone.embeddings.{ours}"), [*theirs], &[rows, h]);
        }
        for layer in 0..sizes.layers {
            for (ours, theirs) in self.layer {
                let shape: &[usize] = match *ours {
                    "attention.qkv.weight" => &[3 * h, h],
                    "attention.qkv.bias" => &[3 * h],
                    "attention.output.weight" => &[h, h],
                    "feed_forward.in.weight" => &[f, h],
                    "feed_forward.in.bias" => &[f],
                    "feed_forward.out.weight" => &[h, f],
                    _ => &[h],
                };
                let theirs = theirs.iter().map(|name| format!("{}{layer}.{name}", self.layer_prefix));
                table.push(format!("backbone.layer.{layer}.{ours}"), theirs, shape);
            }
        }
        table
    }
}
