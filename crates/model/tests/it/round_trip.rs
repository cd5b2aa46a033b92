//! What is opened and saved again is the same, byte for byte; heads too; and what is built from scratch opens.

use crate::fixture::{CHECKPOINTS, Expected, folder, opened, states};
use burn::tensor::Device;
use polytask_model::{
    BagConfig, BertConfig, DebertaConfig, FromScratch, Init, LlamaConfig, ModelError, ModernBertConfig,
    Owner, Parameters, T5Config, Trunk, build, load_heads, open, open_layers, save, save_heads,
};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;

/// All tensors of a folder's weights, by bare and modern name: type, shape, bytes.
fn tensors(dir: &Path, prefix: &str) -> BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)> {
    let files = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path());
    let mut all = BTreeMap::new();
    for path in files.filter(|p| {
        p.file_name().unwrap().to_str().unwrap().starts_with("model")
            && p.extension().unwrap() == "safetensors"
    }) {
        let bytes = std::fs::read(path).unwrap();
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            let name = name.strip_prefix(prefix).unwrap_or(name);
            let name = name.replace(".gamma", ".weight").replace(".beta", ".bias");
            all.insert(name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()));
        }
    }
    all
}

#[test]
fn opening_and_saving_keeps_every_byte() {
    for name in CHECKPOINTS.into_iter().filter(|name| !name.ends_with("16")) {
        let (trunk, parameters) = opened(&folder(name));
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &trunk, &parameters).unwrap();
        let prefix = match name {
            "bert-inside" => "bert.".to_owned(),
            "xlm-roberta" => "roberta.".to_owned(),
            "modernbert" | "modernbert-biases" => "model.".to_owned(),
            name => format!("{}.", name.split('-').next().unwrap()),
        };
        let mut before = tensors(&folder(name), &prefix);
        let after = tensors(dir.path(), "");
        before.retain(|name, _| {
            [
                "embeddings.",
                "embeddings_project.",
                "encoder.",
                "transformer.",
                "layers.",
                "final_norm.",
                "pooler.",
            ]
            .iter()
            .any(|own| name.starts_with(own))
                && !name.ends_with("position_ids")
                || trunk.spec().name == "t5"
        });
        assert!(before == after, "{name}: {:?} became {:?}", before.keys(), after.keys());
        // And a second time, the very file.
        let (trunk, parameters) = opened(dir.path());
        let again = tempfile::tempdir().unwrap();
        save(again.path(), &trunk, &parameters).unwrap();
        for file in ["model.safetensors", "config.json"] {
            let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).unwrap();
            assert!(read(&dir) == read(&again), "{name}: {file}");
        }
    }
}

#[test]
fn half_precision_becomes_f32_without_loss() {
    for name in ["bert-f16", "bert-bf16"] {
        let (trunk, parameters) = opened(&folder(name));
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &trunk, &parameters).unwrap();
        let (trunk, again) = opened(dir.path());
        assert!((0..parameters.len()).all(|i| parameters.data(i) == again.data(i)));
        let expected = Expected::read(&folder(name).join("states.safetensors"));
        let found = states(&trunk, &again, &expected.ids, &expected.offsets, None);
        assert!(crate::fixture::largest_difference(&found, &expected.states) < 1e-5);
    }
}

#[test]
fn a_saved_config_is_the_one_that_was_read_for_the_bare_encoder() {
    let read =
        |path: &Path| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let (trunk, parameters) = opened(&folder("xlm-roberta"));
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &trunk, &parameters).unwrap();
    let (before, after) = (read(&folder("xlm-roberta/config.json")), read(&dir.path().join("config.json")));
    assert_eq!(after["architectures"], serde_json::json!(["XLMRobertaModel"]));
    for (key, value) in before.as_object().unwrap().iter().filter(|(key, _)| *key != "architectures") {
        assert_eq!(after[key], *value, "{key}");
    }
}

#[test]
fn backbones_from_scratch_open_with_the_same_states() {
    let bag = |window| FromScratch::Bag(BagConfig { width: 24, window, ..Default::default() });
    let bert = BertConfig { layers: 2, hidden: 32, heads: 4, max_length: 20, ..Default::default() };
    let t5 = T5Config { layers: 2, hidden: 32, heads: 4, ..Default::default() };
    let llama = LlamaConfig { layers: 2, hidden: 32, heads: 4, kv_heads: Some(2), ..Default::default() };
    let modern =
        ModernBertConfig { layers: 2, hidden: 32, heads: 4, local_attention: 4, ..Default::default() };
    let deberta = DebertaConfig { layers: 2, hidden: 32, heads: 4, max_length: 20, ..Default::default() };
    let (bert, deberta) = (FromScratch::Bert(bert), FromScratch::Deberta(deberta));
    for scratch in [
        bag(0),
        bag(2),
        bert,
        deberta,
        FromScratch::ModernBert(modern),
        FromScratch::Llama(llama),
        FromScratch::T5(t5),
    ] {
        let mut parameters = Parameters::new(&Device::flex(), 5);
        let trunk = Trunk::new(build(&scratch, 50, [0, 1], &mut parameters).unwrap());
        let (ids, offsets) = ([4, 8, 49, 0, 7, 7], [0, 4, 4, 6]);
        let before = states(&trunk, &parameters, &ids, &offsets, None);
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &trunk, &parameters).unwrap();
        let (again, parameters) = opened(dir.path());
        assert_eq!(states(&again, &parameters, &ids, &offsets, None), before);
        let (again, before) = (again.spec(), trunk.spec());
        assert_eq!(
            (again.name, again.vocabulary, again.max_length, &again.config_json),
            (before.name, 50, before.max_length, &before.config_json)
        );
    }
}

#[test]
fn heads_come_back_and_only_where_they_fit() {
    let make = |classes: usize, task: &str| {
        let mut parameters = Parameters::new(&Device::flex(), 5);
        build(&FromScratch::Bag(BagConfig::default()), 10, [0, 1], &mut parameters).unwrap();
        let mut head = parameters.head(task);
        head.matrix("weight", [classes, 128], Init::Normal(1.0));
        head.vector("bias", classes, Init::Uniform(1.0));
        parameters
    };
    let (dir, before) = (tempfile::tempdir().unwrap(), make(3, "意图"));
    save_heads(dir.path(), &before).unwrap();
    let mut after = make(3, "意图");
    let index = after.find("head.意图.weight").unwrap();
    after.set_data(index, vec![0.0; 3 * 128]).unwrap();
    load_heads(dir.path(), &mut after).unwrap();
    assert!((0..before.len()).all(|i| before.data(i) == after.data(i)));

    let error = load_heads(dir.path(), &mut make(4, "意图")).unwrap_err().to_string();
    assert!(error.contains("head.意图.weight: found shape [3, 128], expected [4, 128]"), "{error}");
    let error = load_heads(dir.path(), &mut make(3, "topic")).unwrap_err().to_string();
    assert!(error.contains("head.topic.bias: missing") && error.contains("head.意图.bias: found"), "{error}");
}

#[test]
fn a_model_with_weights_that_are_not_finite_is_never_written() {
    let mut parameters = Parameters::new(&Device::flex(), 5);
    let backbone = build(&FromScratch::Bag(BagConfig::default()), 10, [0, 1], &mut parameters).unwrap();
    let trunk = Trunk::new(backbone);
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &trunk, &parameters).unwrap();
    let before = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let mut values = parameters.data(0);
    values[7] = f32::NAN;
    parameters.set_data(0, values).unwrap();
    let error = save(dir.path(), &trunk, &parameters).unwrap_err();
    assert!(
        matches!(error, ModelError::Weights { .. }) && error.to_string().contains("found NaN at index 7"),
        "{error}"
    );
    assert!(std::fs::read(dir.path().join("model.safetensors")).unwrap() == before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file stays behind");
}

#[test]
fn the_order_of_tasks_does_not_change_the_first_weights() {
    let (a, b) = (opened(&folder("bert")), opened(&folder("bert")));
    assert!((0..a.1.len()).all(|i| a.1.data(i) == b.1.data(i)));
    let mut parameters = Parameters::new(&Device::flex().autodiff(), 5);
    open(&folder("bert"), &mut parameters, None).unwrap();
    assert!(parameters.iter().all(|p| p.name.starts_with("backbone.") && p.owner == Owner::Trunk));
}

/// A network with fewer layers has the tensors of those that are kept, and opens as any other.
#[test]
fn fewer_layers_are_those_of_the_checkpoint() {
    for (name, layers, kept, prefix) in [
        ("bert", 2, vec![0, 1], "bert."),
        ("bert", 1, vec![0], "bert."),
        ("bert-inside", 3, vec![0, 1, 2], "bert."),
        ("distilbert", 2, vec![0, 1], "distilbert."),
        ("modernbert", 2, vec![0, 2], "model."),
        ("albert", 2, vec![0, 2], "albert."),
        ("mpnet", 1, vec![0], "mpnet."),
    ] {
        let mut parameters = Parameters::new(&Device::flex(), 1);
        let (backbone, found) = open_layers(&folder(name), &mut parameters, None, layers).unwrap();
        assert_eq!(found, kept, "{name}");
        let trunk = Trunk::new(backbone);
        assert_eq!(trunk.spec().layers.len(), layers, "{name}");
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &trunk, &parameters).unwrap();
        let (before, after) = (tensors(&folder(name), prefix), tensors(dir.path(), ""));
        for (tensor, values) in &after {
            let source =
                kept.iter().enumerate().rev().fold(tensor.clone(), |name, (place, layer)| {
                    match name == *tensor {
                        true => name
                            .replace(&format!("layer.{place}."), &format!("layer.{layer}."))
                            .replace(&format!("layers.{place}."), &format!("layers.{layer}.")),
                        false => name,
                    }
                });
            assert!(before.get(&source) == Some(values), "{name}: {tensor} is not {source}");
        }
        let (again, _) = opened(dir.path());
        assert_eq!(again.spec().layers.len(), layers, "{name}");
    }
    let error =
        open_layers(&folder("bert"), &mut Parameters::new(&Device::flex(), 1), None, 4).err().unwrap();
    assert!(error.to_string().contains("found 4, expected 1 to 3"), "{error}");
}
