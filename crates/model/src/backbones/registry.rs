//! Every backbone, a line each: how it is built from scratch, and which `model_type` of a config.json it opens.

use super::Backbone;
use super::bag::{self, BagConfig};
use super::bert::{self, BertConfig};
use super::deberta::{self, DebertaConfig};
use super::llama::{self, LlamaConfig};
use super::modernbert::{self, ModernBertConfig};
use super::t5::{self, T5Config};
use crate::error::ModelError;
use crate::io::Checkpoint;
use crate::parameters::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes, of `name: Config, "file", from scratch, model types, open, causal` lines, the table of `[model] backbone`, [`CATALOGUE`] and
/// [`OPENERS`].
macro_rules! backbones {
    ($($(#[$doc:meta])* $variant:ident($config:ty) $name:literal, $file:literal, $scratch:expr, $types:expr, $open:path, $causal:literal;)+) => {
        /// A backbone from scratch: exactly one table.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum FromScratch {
            $($(#[$doc])* #[serde(rename = $name)] $variant($config),)+
        }

        /// Every backbone: its name and the source whose leading comment documents it.
        pub const CATALOGUE: &[(&str, &str)] = &[$(($name, include_str!($file)),)+];

        /// What opens a checkpoint, by its `model_type`.
        pub(crate) const OPENERS: &[(&[&str], Opener)] = &[$(($types, $open),)+];

        /// The `model_type`s of networks in which a token sees none after it.
        const DECODERS: &[&[&str]] = &[$(if $causal { $types } else { &[] },)+];

        impl FromScratch {
            /// Whether a token sees none after it.
            pub fn is_causal(&self) -> bool {
                match self { $(FromScratch::$variant(_) => $causal,)+ }
            }

            /// Its name in the catalogue.
            pub fn name(&self) -> &'static str {
                match self { $(FromScratch::$variant(_) => $name,)+ }
            }

            /// The longest row in tokens that its config allows; `None` where there is no bound.
            pub fn max_length(&self) -> Option<usize> {
                match self { $(FromScratch::$variant(config) => config.max_length(),)+ }
            }

            /// Whether it has linear layers, so that a precision of products means something.
            pub fn has_linear_layers(&self) -> bool {
                match self { $(FromScratch::$variant(config) => config.has_linear_layers(),)+ }
            }
        }

        /// Builds a backbone from scratch for ids below `vocabulary` and adds its parameters to the table. `ends` are the tokens
        /// that a written text begins after and ends with.
        ///
        /// # Errors
        /// [`ModelError::Size`] for a size out of its range.
        pub fn build(
            config: &FromScratch,
            vocabulary: usize,
            ends: [u32; 2],
            parameters: &mut Parameters,
        ) -> Result<Box<dyn Backbone>, ModelError> {
            match config {
                $(FromScratch::$variant(config) => $scratch(config, vocabulary, ends, parameters),)+
            }
        }
    };
}

/// Reads a checkpoint of its kind.
pub(crate) type Opener = fn(Checkpoint<'_>, &mut Parameters) -> Result<Box<dyn Backbone>, ModelError>;

fn boxed<B: Backbone + 'static>(backbone: Result<B, ModelError>) -> Result<Box<dyn Backbone>, ModelError> {
    backbone.map(|backbone| Box::new(backbone) as Box<dyn Backbone>)
}

backbones! {
    /// Embeddings that look at their neighbours: small, fast, no pretraining needed.
    Bag(BagConfig) "bag", "bag.rs",
        |config, vocabulary, _, parameters| boxed(bag::Bag::new(config, vocabulary, parameters)),
        &[bag::MODEL_TYPE], bag::open, false;
    /// A BERT encoder.
    Bert(BertConfig) "bert", "bert.rs",
        |config, vocabulary, _, parameters| boxed(bert::Bert::from_scratch(config, vocabulary, parameters)),
        bert::MODEL_TYPES, bert::open, false;
    /// A DeBERTa-v3 encoder.
    Deberta(DebertaConfig) "deberta", "deberta.rs",
        |config, vocabulary, _, parameters| boxed(deberta::Deberta::from_scratch(config, vocabulary, parameters)),
        deberta::MODEL_TYPES, deberta::open, false;
    /// A decoder: Llama and its relatives.
    Llama(LlamaConfig) "llama", "llama.rs",
        |config, vocabulary, ends, parameters| boxed(llama::Llama::from_scratch(config, vocabulary, ends, parameters)),
        llama::MODEL_TYPES, llama::open, true;
    /// A ModernBERT encoder.
    ModernBert(ModernBertConfig) "modernbert", "modernbert.rs",
        |config, vocabulary, _, parameters| boxed(modernbert::ModernBert::from_scratch(config, vocabulary, parameters)),
        modernbert::MODEL_TYPES, modernbert::open, false;
    /// An encoder and a decoder as in T5.
    T5(T5Config) "t5", "t5.rs",
        |config, vocabulary, ends, parameters| boxed(t5::T5::from_scratch(config, vocabulary, ends, parameters)),
        &t5::MODEL_TYPES, t5::open, false;
}

/// Where the backbone comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BackboneConfig {
    /// A folder, or "hf:owner/name@revision".
    Pretrained(String),
    /// Built from scratch by sizes.
    FromScratch(FromScratch),
}

/// Whether a token sees none after it in a network of a `model_type`.
pub(crate) fn is_decoder(model_type: &str) -> bool {
    DECODERS.iter().any(|types| types.contains(&model_type))
}

/// What `model_type` may be, for messages.
pub(crate) fn supported() -> String {
    OPENERS.iter().flat_map(|(types, _)| types.iter().copied()).collect::<Vec<_>>().join(", ")
}
