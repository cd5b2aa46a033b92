//! Backbones, and Hugging Face weights in and out.
//!
//! A [`Backbone`] turns the tokens of a pack into states; it holds sizes and handles, and its weights lie in one flat table,
//! [`Parameters`], beside those of the tasks' heads. [`open`] reads a folder in Hugging Face layout, [`build`] makes a
//! backbone from scratch, [`save`] writes `config.json` and `model.safetensors` that transformers opens again.
//!
//! This room does no training and knows no corpora, and its only files are weights and what describes them. What it
//! reads is treated as hostile: sizes are checked before memory is reserved, and every tensor before it is used.

pub mod backbone;
mod blocks;
mod checkpoint;
mod decoder;
mod device;
mod error;
#[cfg(feature = "hub")]
pub mod hub;
mod init;
mod names;
mod parameters;

pub use backbone::bag::BagConfig;
pub use backbone::bert::BertConfig;
pub use backbone::t5::T5Config;
pub use backbone::{
    Backbone, BackboneConfig, Before, CATALOGUE, Freeze, ModelConfig, Read, Scratch, Tokens, build,
};
pub use checkpoint::{
    Kept, has_corpora, load_corpora, load_decoder, load_heads, open, save, save_corpora, save_decoder,
    save_heads,
};
pub use decoder::{Cache, Decoder, DecoderConfig};
pub use device::{DeviceError, DeviceName, make_of};
pub use error::{ModelError, TensorProblem};
pub use init::Init;
pub use kernels::Precision;
pub use names::{Entry, NameTable};
pub use parameters::{Group, Matrix, Parameter, Parameters, Vector, Weight};
