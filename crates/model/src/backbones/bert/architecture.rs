//! The architectures of the BERT family as data: what their files call things, and the few ways in which they differ.

use crate::io::TensorNaming;
use crate::io::names::NameTable;
use crate::layers::RelativePositionBuckets;
use crate::parameters::{Depth, Level, Role};

/// One architecture: adding a relative of BERT is adding a value of this type to [`ALL`].
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// The parameters of a layer: names below `layer.N.`, and below what [`LayerNames`] says in files.
    pub layer: &'static [Named],
    /// What stands before them in files.
    pub layer_names: LayerNames,
    /// What makes states of narrower embeddings.
    pub projection: Projection,
    /// The table of numbers that are added to attention scores, `[buckets, heads]`, in files: one for all layers. `None` without.
    pub relative_bias: Option<&'static str>,
    /// Only tensors of the encoder itself begin with one of these; what else a file holds belongs to somebody's head.
    pub own: &'static [&'static str],
    /// Whether a token's position is counted from the padding id + 1 (RoBERTa) and not from 0.
    pub positions_after_padding: bool,
    /// Whether there is an embedding of token types, which tells the two texts of a pair apart.
    pub token_types: bool,
    /// Whether there is dropout between the attention's output projection and its norm.
    pub attention_output_dropout: bool,
    /// Whether there is dropout between the feed-forward block and its norm.
    pub feed_forward_dropout: bool,
    /// The activation where config.json does not tell.
    pub usual_activation: &'static str,
    /// Dropout where config.json does not tell.
    pub usual_dropout: f64,
    /// The padding id where config.json does not tell.
    pub padding: usize,
    /// Whether config.json can tell another one.
    pub padding_is_told: bool,
}

/// What a layer's tensors are called in files, before their own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerNames {
    /// This and the number of the layer: every layer has parameters of its own.
    Numbered(&'static str),
    /// ALBERT's groups: the number of the group stands after the first, that of the layer inside it after the second. Layers of one
    /// group have the same parameters.
    Groups(&'static str, &'static str),
}

/// The linear layer `[hidden, embedding]` from embeddings to states, by its name in files without `.weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Embeddings are as wide as states.
    Absent,
    /// It is there where `embedding_size` is not the width of states (ELECTRA).
    WhereNarrower(&'static str),
    /// It is always there (ALBERT).
    Always(&'static str),
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
    /// Width of an embedding.
    Embedding,
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

use Extent::{Embedding, Hidden, Intermediate, Positions, Qkv, Types, Vocabulary};

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
    ("word", &[Vocabulary, Embedding], Role::Embedding, &["embeddings.word_embeddings.weight"]),
    ("position", &[Positions, Embedding], Role::Embedding, &["embeddings.position_embeddings.weight"]),
    ("type", &[Types, Embedding], Role::Embedding, &["embeddings.token_type_embeddings.weight"]),
    ("norm.weight", &[Embedding], Role::Norm, &["embeddings.LayerNorm.weight"]),
    ("norm.bias", &[Embedding], Role::NormShift, &["embeddings.LayerNorm.bias"]),
];

/// BERT, and MiniLM's and many other encoders' architecture (Devlin et al. 2019).
pub static BERT: Architecture = Architecture {
    model_type: "bert",
    class: "BertModel",
    prefix: "bert.",
    keys: BERT_KEYS,
    embeddings: EMBEDDINGS,
    layer: BERT_LAYER,
    layer_names: LayerNames::Numbered("encoder.layer."),
    projection: Projection::Absent,
    relative_bias: None,
    own: &["embeddings.", "encoder."],
    positions_after_padding: false,
    token_types: true,
    attention_output_dropout: true,
    feed_forward_dropout: true,
    usual_activation: "gelu",
    usual_dropout: 0.1,
    padding: 0,
    padding_is_told: true,
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
    layer_names: LayerNames::Numbered("transformer.layer."),
    own: &["embeddings.", "transformer."],
    token_types: false,
    attention_output_dropout: false,
    ..BERT
};

/// ELECTRA (Clark et al. 2020): BERT whose embeddings may be narrower than its states; no pooler.
pub static ELECTRA: Architecture = Architecture {
    model_type: "electra",
    class: "ElectraModel",
    prefix: "electra.",
    projection: Projection::WhereNarrower("embeddings_project"),
    own: &["embeddings.", "embeddings_project.", "encoder."],
    ..BERT
};

/// MPNet (Song et al. 2020): positions after the padding id, and a bias of attention scores by distance as in T5; no token types.
pub static MPNET: Architecture = Architecture {
    model_type: "mpnet",
    class: "MPNetModel",
    prefix: "mpnet.",
    layer: &[
        (
            "attention.qkv.weight",
            &[Qkv, Hidden],
            Role::Linear,
            &["attention.attn.q.weight", "attention.attn.k.weight", "attention.attn.v.weight"],
        ),
        (
            "attention.qkv.bias",
            &[Qkv],
            Role::Bias,
            &["attention.attn.q.bias", "attention.attn.k.bias", "attention.attn.v.bias"],
        ),
        ("attention.output.weight", &[Hidden, Hidden], Role::Linear, &["attention.attn.o.weight"]),
        ("attention.output.bias", &[Hidden], Role::Bias, &["attention.attn.o.bias"]),
        ("attention.norm.weight", &[Hidden], Role::Norm, &["attention.LayerNorm.weight"]),
        ("attention.norm.bias", &[Hidden], Role::NormShift, &["attention.LayerNorm.bias"]),
        ("feed_forward.in.weight", &[Intermediate, Hidden], Role::Linear, &["intermediate.dense.weight"]),
        ("feed_forward.in.bias", &[Intermediate], Role::Bias, &["intermediate.dense.bias"]),
        ("feed_forward.out.weight", &[Hidden, Intermediate], Role::Linear, &["output.dense.weight"]),
        ("feed_forward.out.bias", &[Hidden], Role::Bias, &["output.dense.bias"]),
        ("feed_forward.norm.weight", &[Hidden], Role::Norm, &["output.LayerNorm.weight"]),
        ("feed_forward.norm.bias", &[Hidden], Role::NormShift, &["output.LayerNorm.bias"]),
    ],
    relative_bias: Some("encoder.relative_attention_bias.weight"),
    positions_after_padding: true,
    token_types: false,
    padding: 1,
    // Written into its code.
    padding_is_told: false,
    ..BERT
};

/// ALBERT (Lan et al. 2020): narrow embeddings, and the same parameters in all layers, or in groups of them.
pub static ALBERT: Architecture = Architecture {
    model_type: "albert",
    class: "AlbertModel",
    prefix: "albert.",
    layer: &[
        (
            "attention.qkv.weight",
            &[Qkv, Hidden],
            Role::Linear,
            &["attention.query.weight", "attention.key.weight", "attention.value.weight"],
        ),
        (
            "attention.qkv.bias",
            &[Qkv],
            Role::Bias,
            &["attention.query.bias", "attention.key.bias", "attention.value.bias"],
        ),
        ("attention.output.weight", &[Hidden, Hidden], Role::Linear, &["attention.dense.weight"]),
        ("attention.output.bias", &[Hidden], Role::Bias, &["attention.dense.bias"]),
        ("attention.norm.weight", &[Hidden], Role::Norm, &["attention.LayerNorm.weight"]),
        ("attention.norm.bias", &[Hidden], Role::NormShift, &["attention.LayerNorm.bias"]),
        ("feed_forward.in.weight", &[Intermediate, Hidden], Role::Linear, &["ffn.weight"]),
        ("feed_forward.in.bias", &[Intermediate], Role::Bias, &["ffn.bias"]),
        ("feed_forward.out.weight", &[Hidden, Intermediate], Role::Linear, &["ffn_output.weight"]),
        ("feed_forward.out.bias", &[Hidden], Role::Bias, &["ffn_output.bias"]),
        ("feed_forward.norm.weight", &[Hidden], Role::Norm, &["full_layer_layer_norm.weight"]),
        ("feed_forward.norm.bias", &[Hidden], Role::NormShift, &["full_layer_layer_norm.bias"]),
    ],
    layer_names: LayerNames::Groups("encoder.albert_layer_groups.", ".albert_layers."),
    projection: Projection::Always("encoder.embedding_hidden_mapping_in"),
    feed_forward_dropout: false,
    usual_activation: "gelu_new",
    usual_dropout: 0.0,
    ..BERT
};

/// Every architecture that can be opened.
pub static ALL: [&Architecture; 7] = [&BERT, &DISTILBERT, &ROBERTA, &XLM_ROBERTA, &ELECTRA, &MPNET, &ALBERT];

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
    /// Width of an embedding.
    pub embedding: usize,
    /// Number of layers that a token goes through.
    pub layers: usize,
    /// Groups of layers with parameters of their own; as many as layers where no two have the same.
    pub groups: usize,
    /// Layers in a group, one after the other.
    pub inner: usize,
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

    /// The projection of the embeddings in a network of these sizes, by its name in files.
    pub fn projection_of(&self, sizes: &Sizes) -> Option<&'static str> {
        match self.projection {
            Projection::Absent => None,
            Projection::WhereNarrower(name) => (sizes.embedding != sizes.hidden).then_some(name),
            Projection::Always(name) => Some(name),
        }
    }

    /// The table of all parameters of a network of these sizes; their names in files without the prefix.
    pub fn names(&self, sizes: &Sizes) -> NameTable {
        let shape = |extents: &[Extent]| extents.iter().map(|extent| sizes.of(*extent)).collect::<Vec<_>>();
        let mut table = NameTable::default();
        let embeddings = Depth::encoder(Level::Embeddings);
        for (name, extents, role, hf_names) in self.embeddings {
            if sizes.types == 0 && extents.contains(&Types) {
                continue;
            }
            let name = format!("backbone.embeddings.{name}");
            table.push(name, hf_names.iter().copied(), &shape(extents), (*role, embeddings));
        }
        if let Some(hf_name) = self.projection_of(sizes) {
            let parts: [Named; 2] = [
                ("weight", &[Hidden, Embedding], Role::Linear, &[".weight"]),
                ("bias", &[Hidden], Role::Bias, &[".bias"]),
            ];
            for (name, extents, role, hf_names) in parts {
                let hf_names = hf_names.iter().map(|part| format!("{hf_name}{part}"));
                let name = format!("backbone.embeddings.projection.{name}");
                table.push(name, hf_names, &shape(extents), (role, embeddings));
            }
        }
        if let Some(hf_name) = self.relative_bias {
            let shape = [DISTANCES.count, sizes.heads];
            table.push("backbone.embeddings.distances", [hf_name], &shape, (Role::PositionBias, embeddings));
        }
        for stack in 0..sizes.stacks() {
            // There are at most 1,000 layers. What several layers have stands in the last of them.
            let last = (0..sizes.layers).rev().find(|layer| sizes.stack(*layer) == stack).unwrap_or(0);
            let depth = Depth::encoder(Level::layer(last));
            let before = match self.layer_names {
                LayerNames::Numbered(prefix) => format!("{prefix}{stack}."),
                LayerNames::Groups(prefix, inner) => {
                    format!("{prefix}{}{inner}{}.", stack / sizes.inner, stack % sizes.inner)
                }
            };
            for (name, extents, role, hf_names) in self.layer {
                let hf_names = hf_names.iter().map(|name| format!("{before}{name}"));
                let name = format!("backbone.layer.{stack}.{name}");
                table.push(name, hf_names, &shape(extents), (*role, depth));
            }
        }
        table
    }
}

/// The distances that a bias of attention scores tells apart: MPNet's, as written into its code.
pub(crate) const DISTANCES: RelativePositionBuckets =
    RelativePositionBuckets { count: 32, max_distance: 128, bidirectional: true };

impl Sizes {
    /// How many layers have parameters of their own.
    pub fn stacks(&self) -> usize {
        self.groups * self.inner
    }

    /// Which of these stands at a layer. As transformers divides the layers among ALBERT's groups, which need not be equal.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // At most 1,000.
    pub fn stack(&self, layer: usize) -> usize {
        let steps = self.layers / self.inner;
        let group = ((layer / self.inner) as f64 / (steps as f64 / self.groups as f64)) as usize;
        group * self.inner + layer % self.inner
    }

    fn of(&self, extent: Extent) -> usize {
        match extent {
            Vocabulary => self.vocabulary,
            Positions => self.positions,
            Types => self.types,
            Hidden => self.hidden,
            Embedding => self.embedding,
            Qkv => 3 * self.hidden,
            Intermediate => self.intermediate_size,
        }
    }
}
