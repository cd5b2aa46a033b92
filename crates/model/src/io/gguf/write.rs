//! A decoder as a GGUF file, as llama.cpp's converter (`convert_hf_to_gguf.py`) writes it.

use super::architecture::Architecture;
use super::{GgufReader, permute};
use crate::backbones::BackboneSpec;
use crate::error::{ModelError, TensorProblem};
use crate::parameters::Parameters;
use crate::trunk::Trunk;
use gguf::{TensorType, Value, Writer};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// What a backbone says of itself ([`crate::Backbone::gguf`]).
#[derive(Debug)]
pub struct GgufModel {
    /// `model_type` of its config.json.
    pub(crate) model_type: &'static str,
    /// Keys below the architecture's name.
    pub(crate) keys: Vec<(String, Value)>,
    /// What each frequency of the rotation is divided by.
    pub(crate) factors: Option<Vec<f32>>,
    /// Heads of queries, and of keys and values.
    pub(crate) heads: [usize; 2],
    /// Whether logits are made with the token table.
    pub(crate) tied: bool,
}

/// The numbers of the matrices in a file. Vectors are always f32. A matrix whose rows are no whole blocks has the next type that takes
/// them: Q5_0 for Q4_K, as llama.cpp has it, and f16 for all.
#[allow(non_camel_case_types)] // As ggml calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufQuantization {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point.
    F16,
    /// 8 bits, blocks of 32 with a scale.
    Q8_0,
    /// 4 bits, blocks of 32 with a scale. What makes logits is Q8_0.
    Q4_0,
    /// 4 bits, blocks of 256 with eight scales and minima. What makes logits is Q8_0.
    Q4_K,
}

/// What such files say of their types: `general.file_type` (`LlamaFileType` of gguf-py), and the version of quantized blocks.
const QUANTIZATION_VERSION: u64 = 2;

impl GgufQuantization {
    fn file_type(self) -> u64 {
        match self {
            GgufQuantization::F32 => 0,
            GgufQuantization::F16 => 1,
            GgufQuantization::Q4_0 => 2,
            GgufQuantization::Q8_0 => 7,
            GgufQuantization::Q4_K => 14,
        }
    }

    /// The types that a matrix may have, the best first.
    fn types(self, makes_logits: bool) -> &'static [TensorType] {
        use TensorType::{F16, F32, Q4_0, Q4_K, Q5_0, Q8_0};
        match self {
            GgufQuantization::F32 => &[F32],
            GgufQuantization::F16 => &[F16],
            GgufQuantization::Q4_0 if !makes_logits => &[Q4_0, F16],
            GgufQuantization::Q4_K if !makes_logits => &[Q4_K, Q5_0, F16],
            GgufQuantization::Q8_0 | GgufQuantization::Q4_0 | GgufQuantization::Q4_K => &[Q8_0, F16],
        }
    }

    fn of(self, shape: &[usize], makes_logits: bool) -> TensorType {
        match shape {
            [_, columns] => {
                let types = self.types(makes_logits);
                let fits = |kind: &&TensorType| kind.takes_rows_of(*columns);
                types.iter().find(fits).copied().unwrap_or(TensorType::F32)
            }
            _ => TensorType::F32,
        }
    }
}

/// Where a tensor's numbers are, and what the format does to them.
struct Source {
    /// A part of a parameter.
    index: usize,
    part: usize,
    numbers: usize,
    change: Change,
}

enum Change {
    Nothing,
    Permute { heads: usize, rows: usize },
    AddOne,
}

impl Source {
    fn values(&self, parameters: &Parameters) -> Vec<f32> {
        let mut values = parameters.data(self.index)[self.part * self.numbers..][..self.numbers].to_vec();
        match self.change {
            Change::Nothing => {}
            Change::Permute { heads, rows } => permute(&mut values, rows, heads),
            Change::AddOne => values.iter_mut().for_each(|value| *value += 1.0),
        }
        values
    }
}

/// Writes the trunk as these tasks see it to a file that is made or replaced in place, reads its keys back, and holds them against the network. `tokenizer` are
/// the keys `tokenizer.*`. Whoever calls it gives the name of a temporary file.
///
/// A sharing scheme takes part as in [`Trunk::onnx`].
///
/// # Errors
/// [`ModelError::NoExport`] for what llama.cpp does not have; [`ModelError::Weights`] for weights that are not finite; [`ModelError::Io`].
pub fn save_gguf(
    path: &Path,
    trunk: &Trunk,
    parameters: &Parameters,
    tasks: &[&str],
    tokenizer: Vec<(String, Value)>,
    quantization: GgufQuantization,
) -> Result<(), ModelError> {
    if trunk.dataset_embedding().is_some() {
        let reason = "the trunk has a vector for each corpus (dataset_embeddings)".into();
        return Err(refused(reason, "--format onnx, or a model without dataset_embeddings"));
    }
    let weights = trunk.weights_of_all(parameters, tasks, "GGUF")?;
    let model = trunk.backbone().gguf()?;
    let Some(architecture) = Architecture::of_model_type(model.model_type) else {
        return Err(refused(format!("no architecture for model_type {}", model.model_type), "--format onnx"));
    };
    let mut writer = Writer::new();
    writer.set("general.architecture", Value::String(architecture.name.into()));
    writer.set("general.type", Value::String("model".into()));
    writer.set("general.file_type", Value::Unsigned(quantization.file_type()));
    writer.set("general.quantization_version", Value::Unsigned(QUANTIZATION_VERSION));
    for (key, value) in &model.keys {
        writer.set(format!("{}.{key}", architecture.name), value.clone());
    }
    tokenizer.into_iter().for_each(|(key, value)| writer.set(key, value));
    let sources = declare(&mut writer, trunk.spec(), &weights, (architecture, &model), quantization)?;
    let factors = model.factors.unwrap_or_default();
    if !factors.is_empty() {
        writer.tensor("rope_freqs.weight", &[factors.len()], TensorType::F32);
    }
    let io = |error| ModelError::io(path, "write")(error);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?);
    let numbers =
        |at: usize| Ok(sources.get(at).map_or_else(|| factors.clone(), |source| source.values(&weights)));
    writer.write(&mut file, numbers).and_then(|()| file.flush()).map_err(io)?;
    let (_, config) = GgufReader::open(path)?;
    match trunk.backbone().gguf_difference(config) {
        None => Ok(()),
        Some(reason) => Err(refused(reason, "--format onnx")),
    }
}

pub(super) fn refused(reason: String, remedy: &str) -> ModelError {
    ModelError::NoExport { format: "GGUF", reason, remedy: remedy.into() }
}

/// Adds all tensors of a backbone; gives where their numbers are.
fn declare(
    writer: &mut Writer,
    spec: &BackboneSpec,
    weights: &Parameters,
    (architecture, model): (&Architecture, &GgufModel),
    quantization: GgufQuantization,
) -> Result<Vec<Source>, ModelError> {
    let mut sources = Vec::new();
    for entry in spec.names.entries() {
        let index = weights.find(&entry.name).expect("its network made the parameters in this table");
        let values = weights.data(index);
        if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
            let (name, found) = (entry.name.clone(), values[bad].to_string());
            let problems = vec![TensorProblem::NotFinite { name, index: bad, found }];
            let remedy = "an earlier checkpoint: nothing was written".into();
            return Err(ModelError::Weights { path: "the model".into(), problems, remedy });
        }
        let shape = entry.part_shape();
        for (part, hf_name) in entry.hf_names.iter().enumerate() {
            let Some((name, sort)) = architecture.name_of(hf_name) else {
                return Err(refused(format!("llama.cpp has no place for {hf_name}"), "--format onnx"));
            };
            let [heads, kv_heads] = model.heads;
            let rows = shape[0];
            let change = match sort {
                "attn_q" if architecture.permuted => Change::Permute { heads, rows },
                "attn_k" if architecture.permuted => Change::Permute { heads: kv_heads, rows },
                _ if architecture.norms_add_one && sort.ends_with("norm") => Change::AddOne,
                _ => Change::Nothing,
            };
            let makes_logits = sort == "output" || sort == "token_embd" && model.tied;
            writer.tensor(name, &shape, quantization.of(&shape, makes_logits));
            sources.push(Source { index, part, numbers: shape.iter().product(), change });
        }
    }
    Ok(sources)
}
