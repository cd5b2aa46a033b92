//! `[model] decoder`: a fresh decoder on a backbone that has none.

use super::{Decoder, DecoderSettings};
use crate::checks::{rate, size};
use crate::error::ModelError;
use crate::init::Init;
use crate::io::names::{NameTable, ParameterBuilder};
use crate::layers::{BlockSettings, RelativePositionBuckets};
use crate::parameters::Parameters;
use crate::trunk::Trunk;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `decoder = { layers = 3 }`: an untrained decoder on the backbone, for translation and generation. It shares the backbone's
/// token table and reads its states; it is as wide as these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderConfig {
    /// Number of layers.
    #[schemars(range(min = 1, max = 1000))]
    pub layers: usize,
    /// Attention heads a layer, a divisor of the states' width. Left out: one for every 32 columns, or one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub heads: Option<usize>,
    /// Width inside the feed-forward part, which has a gate. Left out: twice that of the states.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1048576))]
    pub intermediate_size: Option<usize>,
    /// Share of the numbers set to 0 in training, in states and attention weights.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { layers: 3, heads: None, intermediate_size: None, dropout: 0.1 }
    }
}

impl DecoderConfig {
    /// Adds a decoder's parameters to the table, on a backbone whose own are there. `start` and `end` are the tokens that a text
    /// begins after and ends with.
    ///
    /// # Errors
    /// [`ModelError::Size`], keys below `model.decoder`; a backbone that has a decoder of its own.
    pub fn build(
        &self,
        trunk: &Trunk,
        [start, end]: [u32; 2],
        parameters: &mut Parameters,
    ) -> Result<Decoder, ModelError> {
        if trunk.generator().is_some() || trunk.spec().is_causal() {
            let found = format!("{} has one of its own", trunk.spec().name);
            let expected = "a backbone without a decoder".into();
            return Err(ModelError::Decoder { key: "decoder".into(), found, expected });
        }
        let [_, embedding] = parameters.matrix_shape(trunk.spec().token_embedding);
        if embedding != trunk.hidden() {
            let found = format!("{} with embeddings of width {embedding}", trunk.spec().name);
            let expected = format!("a backbone with embeddings as wide as its states, {}", trunk.hidden());
            return Err(ModelError::Decoder { key: "decoder".into(), found, expected });
        }
        let settings = self.settings(trunk.hidden(), [start, end]).map_err(ModelError::of_decoder)?;
        let mut names = NameTable::default();
        settings.name(&mut names);
        let mut first = |_: &str, init: Init| init;
        let mut make = ParameterBuilder { parameters, table: &names, first: &mut first };
        let decoder = Decoder::make(&mut make, settings, trunk.spec().token_embedding);
        Ok(decoder.with_precision(trunk.precision()))
    }

    fn settings(
        &self,
        hidden: usize,
        [decoder_start_token_id, eos_token_id]: [u32; 2],
    ) -> Result<DecoderSettings, ModelError> {
        let heads = self.heads.unwrap_or(if hidden.is_multiple_of(32) { hidden / 32 } else { 1 });
        let heads = size("heads", heads, 1, 65_536)?;
        if !hidden.is_multiple_of(heads) {
            let expected = format!("a divisor of {hidden}, the width of the backbone's states");
            return Err(ModelError::Size { key: "heads", found: heads.to_string(), expected });
        }
        let blocks = BlockSettings {
            hidden,
            heads,
            attention_dim: hidden,
            intermediate_size: size(
                "intermediate_size",
                self.intermediate_size.unwrap_or(2 * hidden),
                1,
                1 << 20,
            )?,
            gated: true,
            eps: 1e-6,
            dropout: rate("dropout", self.dropout)?,
        };
        let buckets = RelativePositionBuckets { count: 32, max_distance: 128, bidirectional: false };
        let layers = size("layers", self.layers, 1, 1000)?;
        Ok(DecoderSettings {
            blocks,
            layers,
            buckets,
            untied_lm_head: None,
            scale_logits: false,
            decoder_start_token_id,
            eos_token_id,
        })
    }
}
