//! A task's LoRA as a GGUF file over that of its base, as llama.cpp's `convert_lora_to_gguf.py` writes it.

use super::architecture::Architecture;
use super::{permute, write};
use crate::error::ModelError;
use crate::io::adapters::modules;
use crate::parameters::Parameters;
use crate::sharing::{PeftAdapter, PeftTensor};
use crate::trunk::Trunk;
use gguf::{TensorType, Value, Writer};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// A factor of an update: its name in the file, its tensor, and the heads whose rows are permuted.
struct Factor<'a> {
    name: String,
    tensor: &'a PeftTensor,
    heads: Option<usize>,
}

/// Writes the LoRA of a task to a file that is made or replaced in place, in f32. It belongs to a GGUF file of the base that it was
/// trained on.
///
/// # Errors
/// [`ModelError::NoExport`]: another scheme than LoRA, DoRA, a base that was trained, too, a network that llama.cpp does not have.
pub fn save_gguf_adapter(
    path: &Path,
    trunk: &Trunk,
    parameters: &Parameters,
    task: &str,
) -> Result<(), ModelError> {
    let scheme = trunk.sharing().config().name();
    let adapters = trunk.sharing().adapters();
    let of_task = |adapter: &&PeftAdapter| adapter.task.as_deref().is_none_or(|name| name == task);
    let lora =
        |adapter: &&PeftAdapter| adapter.config["peft_type"] == "LORA" && adapter.config["use_dora"] == false;
    let Some(adapter) = adapters.iter().filter(of_task).find(lora) else {
        let reason = format!("[sharing.{scheme}] has no plain LoRA for the task `{task}`");
        return Err(write::refused(reason, "the whole weights, without --adapter"));
    };
    if parameters.iter().any(|parameter| parameter.is_base() && parameter.trainable) {
        let reason = "the base was trained, too, and is no file that others have".into();
        return Err(write::refused(reason, "the whole weights, without --adapter; or freeze_base = true"));
    }
    let model = trunk.backbone().gguf()?;
    let architecture = Architecture::of_model_type(model.model_type);
    let (Some(architecture), Some(modules)) = (architecture, modules(trunk.spec(), parameters)) else {
        return Err(write::refused(format!("no architecture for {}", model.model_type), "--format onnx"));
    };
    let mut factors = Vec::new();
    for tensor in &adapter.tensors {
        let module = tensor.site.and_then(|site| modules.get(&site));
        let place = module.and_then(|module| architecture.name_of(&format!("{module}.weight")));
        let end = match tensor.name.as_str() {
            "lora_A.weight" => Some("lora_a"),
            "lora_B.weight" => Some("lora_b"),
            _ => None,
        };
        let (Some((name, sort)), Some(end)) = (place, end) else {
            let reason = format!("llama.cpp has no place for {} of {module:?}", tensor.name);
            return Err(write::refused(reason, "the whole weights, without --adapter"));
        };
        let [heads, kv_heads] = model.heads;
        let heads = match sort {
            "attn_q" if architecture.permuted && end == "lora_b" => Some(heads),
            "attn_k" if architecture.permuted && end == "lora_b" => Some(kv_heads),
            _ => None,
        };
        factors.push(Factor { name: format!("{name}.{end}"), tensor, heads });
    }
    let mut writer = Writer::new();
    for (key, value) in [
        ("general.architecture", architecture.name),
        ("general.type", "adapter"),
        ("adapter.type", "lora"),
        ("adapter.lora.task_name", task),
    ] {
        writer.set(key, Value::String(value.into()));
    }
    writer.set("adapter.lora.alpha", Value::F32(alpha(adapter)));
    factors.iter().for_each(|factor| writer.tensor(&factor.name, &factor.tensor.shape, TensorType::F32));
    let io = |error| ModelError::io(path, "write")(error);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?);
    let numbers = |at: usize| Ok(factors[at].values(parameters));
    writer.write(&mut file, numbers).and_then(|()| file.flush()).map_err(io)
}

impl Factor<'_> {
    fn values(&self, parameters: &Parameters) -> Vec<f32> {
        let mut values =
            self.tensor.parameters.iter().flat_map(|index| parameters.data(*index)).collect::<Vec<f32>>();
        if let Some(heads) = self.heads {
            permute(&mut values, self.tensor.shape[0], heads);
        }
        values
    }
}

/// What llama.cpp divides by the rank: the scale of the update times the rank.
fn alpha(adapter: &PeftAdapter) -> f32 {
    let number = |key: &str| adapter.config[key].as_f64().unwrap_or(1.0);
    let root = if adapter.config["use_rslora"] == true { number("r").sqrt() } else { 1.0 };
    crate::cast::to_f32(number("lora_alpha") * root)
}
