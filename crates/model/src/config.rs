//! `[model]`: what a config says about the network that all tasks share.

use crate::backbones::BackboneConfig;
use crate::decoder::DecoderConfig;
use crate::quantization::WeightType;
use crate::trunk::Freeze;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[model]`: the network that all tasks share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A folder in Hugging Face layout (config.json, model.safetensors, and tokenizer.json or the files of another tokenizer), a GGUF
    /// file, "hf:owner/name@revision" for a model from the Hugging Face Hub, or a table that builds one from scratch, such as { bert = {} }: `polytask list backbones` has them all.
    pub backbone: BackboneConfig,
    /// Dropout of a pretrained backbone, everywhere in it, instead of what its config.json says. A backbone from scratch
    /// has its own.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: Option<f32>,
    /// A trained model, such as "runs/a/model", whose heads the tasks of the same names begin with, and whose labels they keep; a decoder
    /// beside the backbone is taken from it, too. For a trunk that is that model's, or was cut out of it. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<String>,
    /// A fresh decoder on the backbone, for tasks that write text; T5 has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderConfig>,
    /// Learns a vector for each corpus that a task reads, and adds it to the vector of every token of its rows: for corpora of one
    /// sort that differ in how they are labelled or written. Using the model, each task has the vector of its corpus. Does not go
    /// with `freeze`. False by default.
    #[serde(default)]
    pub dataset_embeddings: bool,
    /// The lower part of the backbone that stays as it is: `freeze = { layers = 4 }`. Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// The type in memory of the trunk's matrices that are not trained: `"f32"` by default; `"bf16"`, half the memory, to which they
    /// are rounded, unless the checkpoint has them in it already. What is trained is f32, and so is all that is saved. On the processor.
    #[serde(default, skip_serializing_if = "Dtype::is_default")]
    pub dtype: Dtype,
    /// What layers see the trunk's matrices rounded to while these are trained, so that `polytask quantize` takes less from what was
    /// learned: "int8", or "int4", to be quantized with `--bits 4 --rounding minmax`. Gradients pass the rounding as if it were not there. On
    /// the processor. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization_aware: Option<WeightType>,
}

/// The type of numbers in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits: f32 with eight bits of precision.
    Bf16,
}

impl Dtype {
    fn is_default(&self) -> bool {
        *self == Dtype::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::{CATALOGUE, FromScratch};

    #[test]
    fn the_config_reads_a_folder_or_a_table() {
        let parse = |text: &str| serde_json::from_str::<ModelConfig>(text);
        assert_eq!(
            parse(r#"{"backbone": "a/b"}"#).unwrap().backbone,
            BackboneConfig::Pretrained("a/b".into())
        );
        let bag = parse(r#"{"backbone": {"bag": {"width": 64}}}"#).unwrap().backbone;
        let BackboneConfig::FromScratch(FromScratch::Bag(bag)) = bag else { panic!("{bag:?}") };
        assert_eq!((bag.width, bag.window), (64, 2));
        assert!(parse(r#"{"backbone": {"bag": {"wdth": 64}}}"#).is_err());
        assert!(parse(r#"{"backbone": {"bag": {}}, "drop": 1}"#).is_err());
    }

    #[test]
    fn every_backbone_documents_itself() {
        for (name, source) in CATALOGUE {
            assert!(source.starts_with("//! "), "{name} must begin with its documentation");
        }
    }
}
