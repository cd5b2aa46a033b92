//! Files that are written read as the network that they were made of.

use super::tests::{ARCHITECTURES, fixture};
use super::*;
use crate::parameters::Parameters;

#[test]
fn what_is_written_reads_as_it_was() {
    for name in ARCHITECTURES {
        let source = fixture(&format!("{name}.gguf"));
        let mut parameters = Parameters::new(&burn::tensor::Device::flex(), 0);
        let trunk = crate::Trunk::new(crate::open(&source, &mut parameters, None).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("again.gguf");
        let tokens = ::gguf::Value::Array(::gguf::Array::String(vec!["a".into()]));
        let tokenizer = || vec![("tokenizer.ggml.tokens".to_owned(), tokens.clone())];
        let save = |kind| save_gguf(&path, &trunk, &parameters, &[], tokenizer(), kind).unwrap();
        save(GgufQuantization::F32);
        let [(first, config), (again, again_config)] =
            [&source, &path].map(|path| GgufReader::open(path).unwrap());
        assert_eq!(TensorReader::names(&again), TensorReader::names(&first), "{name}");
        for tensor in TensorReader::names(&first) {
            let [mut found, mut wanted] = [vec![], vec![]];
            again.append(tensor, &mut found).unwrap();
            first.append(tensor, &mut wanted).unwrap();
            // A one was added to Gemma's norms, and taken away.
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= f32::EPSILON * (1.0 + b.abs());
            let equal = if name == "gemma3" { found.iter().zip(&wanted).all(near) } else { found == wanted };
            assert!(equal && found.len() == wanted.len(), "{name}: {tensor}");
        }
        for (key, value) in config.as_object().unwrap() {
            let ids = key.ends_with("_token_id") || key == "layer_types" || key == "sliding_window";
            assert!(
                ids || again_config.get(key) == Some(value),
                "{name}: {key}: {:?}",
                again_config.get(key)
            );
        }
        assert_eq!(again.file.metadata()["tokenizer.ggml.tokens"], tokens);
        for (kind, expected) in [
            (GgufQuantization::F16, "F16"),
            (GgufQuantization::Q8_0, "Q8_0"),
            (GgufQuantization::Q4_0, "Q4_0"),
            (GgufQuantization::Q4_K, "Q5_0"),
        ] {
            save(kind);
            let (again, _) = GgufReader::open(&path).unwrap();
            let kind = |name: &str| again.file.tensors()[name].kind.name();
            assert_eq!(kind("blk.0.ffn_up.weight"), expected, "rows of 32 numbers");
            assert_eq!(kind("blk.0.attn_norm.weight"), "F32");
            let output = if expected == "F16" { "F16" } else { "Q8_0" };
            let name =
                if again.file.tensors().contains_key("output.weight") { "output" } else { "token_embd" };
            assert_eq!(kind(&format!("{name}.weight")), output);
        }
    }
}

/// A network of a fixture, of which the task `one` has a LoRA with numbers other than zeros.
fn with_lora(name: &str, config: crate::LoraConfig) -> (crate::Trunk, Parameters) {
    let mut parameters = Parameters::new(&burn::tensor::Device::flex(), 0);
    let backbone = crate::open(&fixture(&format!("{name}.gguf")), &mut parameters, None).unwrap();
    let mut trunk = crate::Trunk::new(backbone);
    let scheme = crate::SharingConfig::Lora(config).build();
    trunk.set_sharing(scheme, &["one".to_owned()], &mut parameters).unwrap();
    for index in 0..parameters.len() {
        if parameters.parameter(index).role == crate::Role::Adapter {
            let size = parameters.parameter(index).size();
            let values = (0..size).map(|i| ((i * 37 + index) % 19) as f32 / 100.0 - 0.09).collect();
            parameters.set_data(index, values).unwrap();
        }
    }
    (trunk, parameters)
}

#[test]
fn an_adapter_is_what_is_added_to_its_base() {
    for (name, use_rslora) in [("llama", false), ("qwen2", true)] {
        let maps = [crate::Map::Query, crate::Map::Key, crate::Map::FfnOut];
        let config = crate::LoraConfig { rank: 4, use_rslora, maps: Some(maps.into()), ..Default::default() };
        let (trunk, parameters) = with_lora(name, config);
        let dir = tempfile::tempdir().unwrap();
        let [whole, adapter] = ["whole.gguf", "adapter.gguf"].map(|file| dir.path().join(file));
        save_gguf(&whole, &trunk, &parameters, &["one"], vec![], GgufQuantization::F32).unwrap();
        save_gguf_adapter(&adapter, &trunk, &parameters, "one").unwrap();
        let [base, whole, adapter] =
            [fixture(&format!("{name}.gguf")), whole, adapter].map(|path| Gguf::open(&path).unwrap());
        let text = |key: &str| adapter.get(key).and_then(gguf::Value::as_str).unwrap();
        assert_eq!(
            [text("general.type"), text("adapter.type"), text("general.architecture")],
            ["adapter", "lora", name]
        );
        let scale = adapter.get("adapter.lora.alpha").unwrap().as_f64().unwrap() as f32 / 4.0;
        let read = |file: &Gguf, tensor: &str| {
            let mut values = Vec::new();
            file.read_f32(tensor, &mut values).unwrap();
            values
        };
        let mut updated = 0;
        for tensor in whole.tensors().keys() {
            let (before, after) = (read(&base, tensor), read(&whole, tensor));
            let Some(info) = adapter.tensors().get(&format!("{tensor}.lora_b")) else {
                assert_eq!(before, after, "{tensor}");
                continue;
            };
            let [rows, rank] = info.shape[..] else { panic!("{tensor}: {:?}", info.shape) };
            let [a, b] = ["a", "b"].map(|factor| read(&adapter, &format!("{tensor}.lora_{factor}")));
            let columns = a.len() / rank;
            updated += 1;
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                let (row, column) = (at / columns, at % columns);
                let sum: f32 = (0..rank).map(|k| b[row * rank + k] * a[k * columns + column]).sum();
                assert!((before + scale * sum - after).abs() < 1e-5, "{name}: {tensor} {row} {column}");
            }
            assert_eq!(before.len(), rows * columns);
        }
        assert_eq!((updated, adapter.tensors().len()), (6, 12));
    }
}

#[test]
fn other_adapters_are_refused() {
    let refusal = |config: crate::LoraConfig| {
        let (trunk, parameters) = with_lora("llama", config);
        let dir = tempfile::tempdir().unwrap();
        save_gguf_adapter(&dir.path().join("x.gguf"), &trunk, &parameters, "one").unwrap_err().to_string()
    };
    let dora = refusal(crate::LoraConfig { use_dora: true, ..Default::default() });
    assert!(dora.contains("[sharing.lora] has no plain LoRA for the task `one`"), "{dora}");
    let trained = refusal(crate::LoraConfig { freeze_base: false, ..Default::default() });
    assert!(trained.contains("the base was trained, too"), "{trained}");
}

#[test]
fn what_llama_cpp_does_not_have_is_not_written() {
    let refusal = |name: &str| {
        let mut parameters = Parameters::new(&burn::tensor::Device::flex(), 0);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let trunk = crate::Trunk::new(crate::open(&folder, &mut parameters, None).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gguf");
        save_gguf(&path, &trunk, &parameters, &[], vec![], GgufQuantization::F32).map_err(|e| e.to_string())
    };
    for name in ["dynamic", "yarn-scaled", "linear", "plain", "qwen3"] {
        assert_eq!(refusal(&format!("llama/{name}")), Ok(()), "{name}");
    }
    let error = refusal("bert").unwrap_err();
    assert!(error.contains("the backbone `bert` is no decoder of llama.cpp"), "{error}");
    let error = refusal("llama/mistral").unwrap_err();
    assert!(error.contains("window"), "{error}");
}
