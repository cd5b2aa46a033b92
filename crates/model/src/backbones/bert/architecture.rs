//! The architectures of the BERT family as data: what their files call things, and the few ways in which they differ.

use crate::io::TensorNaming;
use crate::io::names::NameTable;
use crate::parameters::{Depth, Level, Role};

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
    /// The parameters of the embeddings.
    pub embeddings: &'static [Named],
    /// The parameters of a layer: names below `layer.N.`, and below [`Architecture::layer_prefix`] and the number in files.
    pub layer: &'static [Named],
    /// What stands before a layer's number.
    pub layer_prefix: &'static str,
    /// Only tensors of the encoder itself begin with one of these; what else a file holds belongs to somebody's head.
    pub own: &'static [&'static str],
    /// Whether a token's position is counted from the padding id + 1 (RoBERTa) and not from 0.
    pub positions_after_padding: bool,
    /// Whether there is an embedding of token types, which tells the two texts of a pair apart.
    pub token_types: bool,
    /// Whether there is dropout between the attention's output projection and its norm.
    pub attention_output_dropout: bool,
    /// The padding id where config.json does not tell.
    pub padding: usize,
}

/// One parameter: its name here, its sizes, what it does, and its tensors' names in files.
pub type Named = (&'static str, &'static [Extent], Role, &'static [&'static str]);

/// A size of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Token ids.
    Vocabulary,
    /// Rows of the position table.
    Positions,
    /// Rows of the token type table.
    Types,
    /// Width of a state.
    Hidden,
    /// Three times that: queries, keys and values.
    Qkv,
    /// Width inside the feed-forward block.
    Intermediate,
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
    pub intermediate_size: &'static str,
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
    intermediate_size: "intermediate_size",
    dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    activation: "hidden_act",
};

use Extent::{Hidden, Intermediate, Positions, Qkv, Types, Vocabulary};

const BERT_LAYER: &[Named] = &[
    (
        "attention.qkv.weight",
        &[Qkv, Hidden],
        Role::Linear,
        &["attention.self.query.weight", "attention.self.key.weight", "attention.self.value.weight"],
    ),
    (
        "attention.qkv.bias",
        &[Qkv],
        Role::Bias,
        &["attention.self.query.bias", "attention.self.key.bias", "attention.self.value.bias"],
    ),
    ("attention.output.weight", &[Hidden, Hidden], Role::Linear, &["attention.output.dense.weight"]),
    ("attention.output.bias", &[Hidden], Role::Bias, &["attention.output.dense.bias"]),
    ("attention.norm.weight", &[Hidden], Role::Norm, &["attention.output.LayerNorm.weight"]),
    ("attention.norm.bias", &[Hidden], Role::NormShift, &["attention.output.LayerNorm.bias"]),
    ("feed_forward.in.weight", &[Intermediate, Hidden], Role::Linear, &["intermediate.dense.weight"]),
    ("feed_forward.in.bias", &[Intermediate], Role::Bias, &["intermediate.dense.bias"]),
    ("feed_forward.out.weight", &[Hidden, Intermediate], Role::Linear, &["output.dense.weight"]),
    ("feed_forward.out.bias", &[Hidden], Role::Bias, &["output.dense.bias"]),
    ("feed_forward.norm.weight", &[Hidden], Role::Norm, &["output.LayerNorm.weight"]),
    ("feed_forward.norm.bias", &[Hidden], Role::NormShift, &["output.LayerNorm.bias"]),
];

const EMBEDDINGS: &[Named] = &[
    ("word", &[Vocabulary, Hidden], Role::Embedding, &["embeddings.word_embeddings.weight"]),
    ("position", &[Positions, Hidden], Role::Embedding, &["embeddings.position_embeddings.weight"]),
    ("type", &[Types, Hidden], Role::Embedding, &["embeddings.token_type_embeddings.weight"]),
    ("norm.weight", &[Hidden], Role::Norm, &["embeddings.LayerNorm.weight"]),
    ("norm.bias", &[Hidden], Role::NormShift, &["embeddings.LayerNorm.bias"]),
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
        intermediate_size: "hidden_dim",
        dropout: "dropout",
        attention_dropout: "attention_dropout",
        activation: "activation",
    },
    embeddings: EMBEDDINGS,
    layer: &[
        (
            "attention.qkv.weight",
            &[Qkv, Hidden],
            Role::Linear,
            &["attention.q_lin.weight", "attention.k_lin.weight", "attention.v_lin.weight"],
        ),
        (
            "attention.qkv.bias",
            &[Qkv],
            Role::Bias,
            &["attention.q_lin.bias", "attention.k_lin.bias", "attention.v_lin.bias"],
        ),
        ("attention.output.weight", &[Hidden, Hidden], Role::Linear, &["attention.out_lin.weight"]),
        ("attention.output.bias", &[Hidden], Role::Bias, &["attention.out_lin.bias"]),
        ("attention.norm.weight", &[Hidden], Role::Norm, &["sa_layer_norm.weight"]),
        ("attention.norm.bias", &[Hidden], Role::NormShift, &["sa_layer_norm.bias"]),
        ("feed_forward.in.weight", &[Intermediate, Hidden], Role::Linear, &["ffn.lin1.weight"]),
        ("feed_forward.in.bias", &[Intermediate], Role::Bias, &["ffn.lin1.bias"]),
        ("feed_forward.out.weight", &[Hidden, Intermediate], Role::Linear, &["ffn.lin2.weight"]),
        ("feed_forward.out.bias", &[Hidden], Role::Bias, &["ffn.lin2.bias"]),
        ("feed_forward.norm.weight", &[Hidden], Role::Norm, &["output_layer_norm.weight"]),
        ("feed_forward.norm.bias", &[Hidden], Role::NormShift, &["output_layer_norm.bias"]),
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
    pub intermediate_size: usize,
}

impl Architecture {
    /// What its files call their tensors.
    pub(crate) fn naming(&self) -> TensorNaming {
        TensorNaming { prefix: self.prefix, own: self.own, copies: &[] }
    }

    /// The table of all parameters of a network of these sizes; their names in files without the prefix.
    pub fn names(&self, sizes: &Sizes) -> NameTable {
        let shape = |extents: &[Extent]| extents.iter().map(|extent| sizes.of(*extent)).collect::<Vec<_>>();
        let mut table = NameTable::default();
        for (name, extents, role, hf_names) in self.embeddings {
            if sizes.types == 0 && extents.contains(&Types) {
                continue;
            }
            let depth = Depth::encoder(Level::Embeddings);
            let name = format!("backbone.embeddings.{name}");
            table.push(name, hf_names.iter().copied(), &shape(extents), (*role, depth));
        }
        for layer in 0..sizes.layers {
            // There are at most 1,000 layers.
            let depth = Depth::encoder(Level::layer(layer));
            for (name, extents, role, hf_names) in self.layer {
                let hf_names = hf_names.iter().map(|name| format!("{}{layer}.{name}", self.layer_prefix));
                let name = format!("backbone.layer.{layer}.{name}");
                table.push(name, hf_names, &shape(extents), (*role, depth));
            }
        }
        table
    }
}

impl Sizes {
    fn of(&self, extent: Extent) -> usize {
        match extent {
            Vocabulary => self.vocabulary,
            Positions => self.positions,
            Types => self.types,
            Hidden => self.hidden,
            Qkv => 3 * self.hidden,
            Intermediate => self.intermediate_size,
        }
    }
}
