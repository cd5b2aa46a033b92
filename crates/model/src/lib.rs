//! Backbones, and Hugging Face weights in and out.
//!
//! A [`Trunk`] turns the tokens of a pack into states: a [`Backbone`], layer by layer, and a [`Sharing`] scheme. Their weights lie in one
//! flat table, [`Parameters`], beside those of the tasks' heads. [`open`] reads a folder in Hugging Face layout, [`build`] makes a
//! backbone from scratch, [`save`] writes `config.json` and `model.safetensors` that transformers opens again.
//!
//! This crate does no training and knows no corpora, and its only files are weights and what describes them. What it
//! reads is treated as hostile: sizes are checked before memory is reserved, and every tensor before it is used.

#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

mod backbones;
mod calibration;
mod cast;
mod checks;
mod config;
mod decoder;
mod device;
mod error;
pub mod factorization;
mod init;
mod io;
mod layers;
pub mod merging;
pub mod onnx;
mod parameters;
pub mod pruning;
pub mod quantization;
mod sharing;
mod trunk;

pub use backbones::bag::BagConfig;
pub use backbones::bert::BertConfig;
pub use backbones::deberta::DebertaConfig;
pub use backbones::llama::LlamaConfig;
pub use backbones::modernbert::ModernBertConfig;
pub use backbones::t5::T5Config;
pub use backbones::{Backbone, BackboneConfig, BackboneSpec, CATALOGUE, FromScratch, LanguageModel, build};
pub use calibration::{Gram, InputGrams};
pub use config::{Dtype, ModelConfig};
pub use decoder::{Decoder, DecoderConfig, Generator, KvCache};
pub use device::{DeviceError, DeviceName, device_model_name};
pub use error::{ModelError, TensorProblem};
pub use init::Init;
#[cfg(feature = "hub")]
pub use io::hub;
pub use io::names::{Entry, NameTable};
pub use io::{
    GgufQuantization, PassthroughTensor, SavedTensors, adapter_folder, has_sharing, is_causal, is_low_rank,
    kept_layers, load_adapters, load_decoder, load_factors, load_heads, load_heads_of, load_sharing, open,
    open_layers, pack_quantized, save, save_adapters, save_decoder, save_gguf, save_gguf_adapter, save_heads,
};
pub use kernels::Precision;
pub use parameters::{
    Depth, HeadBuilder, Level, MatrixId, Owner, Parameter, ParameterSpec, ParameterTensor, Parameters, Role,
    Stack, VectorId, Weight, head_prefix,
};
pub use sharing::{
    AdapterFusion, AdapterFusionConfig, Adapters, AdaptersConfig, Bitfit, BitfitConfig, Branch, BranchConfig,
    BranchLevel, CATALOGUE as SHARING_CATALOGUE, Cgc, CgcConfig, ConditionalNorm, ConditionalNormConfig,
    CrossStitch, CrossStitchConfig, DselectK, DselectKConfig, FusedAdapter, GateInput, Half, Hard,
    HardConfig, HydraLora, HydraLoraConfig, HyperAdapters, HyperAdaptersConfig, Ia3, Ia3Config, InitFrom,
    LanePolicy, LayerPass, LearnToBranch, LearnToBranchConfig, Lora, LoraConfig, Map, MixLora, MixLoraConfig,
    Mmoe, MmoeConfig, Moe, MoeConfig, Mtan, MtanConfig, MtlLora, MtlLoraConfig, Pals, PalsConfig,
    PeftAdapter, PeftTensor, Penalty, Ple, PleConfig, Poly, PolyConfig, Prefix, PrefixConfig, Prompt,
    PromptConfig, RouterInput, ScalarMix, ScalarMixConfig, Sharing, SharingConfig, Site, SiteWeight, Sluice,
    SluiceConfig, Soft, SoftConfig, SoftPenalty, TaskEmbedding, TaskEmbeddingConfig, Transform, TrunkShape,
    Vera, VeraConfig, WeightCopies,
};
pub use trunk::{
    Activation, EncoderInput, FeedForwardId, FeedForwardWeights, Freeze, Lane, Lanes, LayerContext, LinearId,
    PackOffset, TextWriter, TokenSelection, Trunk, TrunkPass,
};
