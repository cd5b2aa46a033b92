//! Adapters in PEFT's layout: read as PEFT reads them, written so that it reads them again, or refused.

use crate::fixture::{Expected, folder, largest_difference, opened, positions};
use burn::tensor::{Device, Tensor, TensorData};
use polytask_model::{
    EncoderInput, FromScratch, Lanes, ModelError, PackOffset, ParameterTensor, Parameters, SharingConfig,
    Trunk, TrunkPass, build, load_adapters, open, save_adapters,
};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A fixture: its name, the checkpoint, and the scheme with the settings that the adapter has.
fn cases() -> Vec<(&'static str, &'static str, Value)> {
    let bert = ["query", "key", "value", "attention_output", "ffn_in", "ffn_out"];
    let four = ["query", "value", "ffn_in", "ffn_out"];
    let scaled = ["key", "value", "attention_output", "ffn_out"];
    vec![
        ("bert-lora", "bert", json!({"lora": {"rank": 4, "alpha": 6.0}})),
        ("bert-rslora", "bert", json!({"lora": {"rank": 4, "alpha": 6.0, "use_rslora": true, "maps": bert}})),
        ("bert-dora", "bert", json!({"lora": {"rank": 3, "alpha": 6.0, "use_dora": true, "maps": bert}})),
        ("bert-ia3", "bert", json!({"ia3": {"maps": scaled}})),
        ("bert-vera", "bert", json!({"vera": {"rank": 6, "maps": ["query", "value", "ffn_in"]}})),
        ("bert-poly", "bert", json!({"poly": {"rank": 3, "skills": 3, "splits": 4}})),
        ("t5-lora", "t5", json!({"lora": {"rank": 4, "alpha": 8.0, "maps": four}})),
        (
            "t5-dora",
            "t5",
            json!({"lora": {"rank": 4, "alpha": 8.0, "use_dora": true, "maps": ["key", "attention_output"]}}),
        ),
        ("t5-ia3", "t5", json!({"ia3": {}})),
        ("t5-vera", "t5", json!({"vera": {"rank": 5, "maps": ["query", "ffn_out"]}})),
    ]
}

fn adapter(name: &str) -> PathBuf {
    folder("adapters").join(name)
}

/// A scheme with settings put into its table.
fn with(mut scheme: Value, settings: &[(&str, Value)]) -> SharingConfig {
    let table = scheme.as_object_mut().unwrap().values_mut().next().unwrap();
    settings.iter().for_each(|(key, value)| table[*key] = value.clone());
    serde_json::from_value(scheme).unwrap()
}

fn tasks() -> Vec<String> {
    vec!["a".into(), "b".into()]
}

/// A checkpoint with a scheme, and the adapters that it begins with.
fn loaded(checkpoint: &str, scheme: &SharingConfig) -> Result<(Trunk, Parameters), ModelError> {
    let mut parameters = Parameters::new(&Device::flex().autodiff(), 3);
    let mut trunk = Trunk::new(open(&folder(checkpoint), &mut parameters, Some(0.0)).unwrap());
    trunk.set_sharing(scheme.build(), &tasks(), &mut parameters)?;
    load_adapters(&trunk, &mut parameters)?;
    Ok((trunk, parameters))
}

/// The states where all rows are one task's.
fn states_of(task: &str, trunk: &Trunk, parameters: &Parameters, expected: &Expected) -> Tensor<2> {
    let positions = positions(&expected.offsets);
    let input = EncoderInput {
        ids: &expected.ids,
        positions: &positions,
        segments: &vec![0; expected.ids.len()],
        offsets: &expected.offsets,
        datasets: &[],
        offset: PackOffset::default(),
    };
    let lanes = match trunk.has_lanes() {
        true => Lanes::new([(task.to_owned(), expected.ids.len())]),
        false => Lanes::default(),
    };
    trunk.states(&TrunkPass { lanes: &lanes, ..TrunkPass::evaluation(parameters, input) })
}

fn numbers(states: Tensor<2>) -> Vec<f32> {
    states.inner().into_data().try_into_vec().unwrap()
}

/// What peft computed, by task.
fn expected(name: &str) -> Vec<(&'static str, Expected)> {
    let path = adapter(name).join("states.safetensors");
    match name {
        "bert-poly" => ["a", "b"]
            .into_iter()
            .zip(["states.0", "states.1"])
            .map(|(task, key)| (task, Expected::read_states(&path, key)))
            .collect(),
        _ => ["a", "b"].map(|task| (task, Expected::read(&path))).into(),
    }
}

#[test]
fn an_adapter_gives_the_states_of_peft() {
    for (name, checkpoint, scheme) in cases() {
        // Of each task by a table, of all by one folder; shared where the scheme has that.
        let from = json!(adapter(name));
        let mut schemes = vec![with(scheme.clone(), &[("init_from", from.clone())])];
        if name != "bert-poly" {
            schemes.push(with(scheme.clone(), &[("init_from", json!({"a": from, "b": from}))]));
            schemes.push(with(scheme, &[("init_from", from), ("shared", json!(true))]));
        }
        for scheme in schemes {
            let (trunk, parameters) = loaded(checkpoint, &scheme).unwrap_or_else(|e| panic!("{name}: {e}"));
            for (task, expected) in expected(name) {
                let found = numbers(states_of(task, &trunk, &parameters, &expected));
                let difference = largest_difference(&found, &expected.states);
                println!("{name} {task}: largest difference {difference:.1e}");
                assert!(difference < 1e-5, "{name} {task} {scheme:?}: {difference}");
                let (base, of_base) = opened(&folder(checkpoint));
                let base = numbers(states_of(task, &base, &of_base, &expected));
                assert!(
                    largest_difference(&base, &expected.states) > 1e-2,
                    "{name}: the adapter changes states"
                );
            }
        }
    }
}

#[test]
fn a_task_without_a_folder_begins_anew() {
    let scheme = with(
        json!({"lora": {"rank": 4, "alpha": 6.0}}),
        &[("init_from", json!({"a": adapter("bert-lora")}))],
    );
    let (trunk, parameters) = loaded("bert", &scheme).unwrap();
    let expected = &expected("bert-lora")[0].1;
    let (base, of_base) = opened(&folder("bert"));
    let [a, b] = ["a", "b"].map(|task| numbers(states_of(task, &trunk, &parameters, expected)));
    assert!(largest_difference(&a, &expected.states) < 1e-5);
    assert_eq!(b, numbers(states_of("b", &base, &of_base, expected)));
}

/// What no gradient goes through in the paper and in peft, none goes through here.
#[test]
fn gradients_of_dora_are_those_of_peft() {
    for (name, checkpoint, scheme) in cases().into_iter().filter(|(name, ..)| name.ends_with("-dora")) {
        let scheme = with(scheme, &[("init_from", json!(adapter(name))), ("shared", json!(true))]);
        let (trunk, parameters) = loaded(checkpoint, &scheme).unwrap();
        let expected = &expected(name)[0].1;
        let states = states_of("a", &trunk, &parameters, expected);
        let shape = states.dims();
        let weights = (0..shape[0] * shape[1]).map(|i| (1.3 * i as f64).cos() as f32).collect();
        let weights = Tensor::from_data(TensorData::new(weights, shape), &states.device());
        let gradients = (states * weights).sum().backward();
        let bytes = std::fs::read(adapter(name).join("states.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut compared = 0;
        // Gradients in the place of the weights are written under the weights' names.
        let mut as_weights = parameters.clone();
        for (index, parameter) in parameters.iter().enumerate().filter(|(_, p)| !p.is_base()) {
            let gradient = match parameter.value() {
                ParameterTensor::Vector(t) => t.grad(&gradients).unwrap().into_data(),
                ParameterTensor::Matrix(t) => t.grad(&gradients).unwrap().into_data(),
            };
            as_weights.set_data(index, gradient.try_into_vec().unwrap()).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        save_adapters(dir.path(), &trunk, &as_weights).unwrap();
        let written = std::fs::read(dir.path().join("adapters/shared/adapter_model.safetensors")).unwrap();
        let written = SafeTensors::deserialize(&written).unwrap();
        for key in written.names() {
            let found = floats(written.tensor(key).unwrap().data());
            let theirs = format!("gradient.{key}").replace("magnitude_vector", "magnitude_vector.weight");
            let theirs = floats(file.tensor(&theirs).unwrap().data());
            let size = theirs.iter().map(|x| x.abs()).fold(0.0, f32::max);
            let difference = largest_difference(&found, &theirs);
            assert!(difference < 1e-4 * size.max(0.1), "{name} {key}: {difference} of {size}");
            compared += 1;
        }
        assert!(compared > 10, "{name}");
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Shape and numbers of tensors, by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A file's tensors by name, and its adapter_config.json.
fn files(folder: &Path) -> (Tensors, Value) {
    let bytes = std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, t)| (name.to_owned(), (t.shape().to_vec(), floats(t.data()))));
    let config = std::fs::read(folder.join("adapter_config.json")).unwrap();
    (tensors.collect(), serde_json::from_slice(&config).unwrap())
}

#[test]
fn what_is_written_is_what_peft_wrote() {
    for (name, checkpoint, scheme) in cases() {
        let scheme = with(scheme, &[("init_from", json!(adapter(name)))]);
        let (trunk, parameters) = loaded(checkpoint, &scheme).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save_adapters(dir.path(), &trunk, &parameters).unwrap();
        let (theirs, their_config) = files(&adapter(name));
        let folders = if name == "bert-poly" { vec!["shared"] } else { vec!["a", "b"] };
        for folder in folders {
            let (ours, config) = files(&dir.path().join("adapters").join(folder));
            assert_eq!(ours, theirs, "{name}");
            for (key, value) in config.as_object().unwrap() {
                let names_modules =
                    ["target_modules", "feedforward_modules", "auto_mapping", "base_model_name_or_path"];
                let same = match (value.as_f64(), their_config[key].as_f64()) {
                    (Some(ours), Some(theirs)) => ours == theirs,
                    _ => *value == their_config[key],
                };
                assert!(
                    same || names_modules.contains(&key.as_str()),
                    "{name} {key}: {value} {}",
                    their_config[key]
                );
            }
        }
    }
}

/// Neither PEFT nor transformers has these.
#[test]
fn what_peft_does_not_know_is_not_written() {
    let bert: FromScratch =
        serde_json::from_value(json!({"bert": {"layers": 1, "hidden": 8, "heads": 2}})).unwrap();
    let bag: FromScratch = serde_json::from_value(json!({"bag": {"width": 8}})).unwrap();
    for (backbone, scheme) in [
        (&bert, json!({"mtl_lora": {"rank": 2}})),
        (&bert, json!({"hydra_lora": {"rank": 2}})),
        (&bert, json!({"hard": {}})),
        (&bag, json!({"lora": {"rank": 2}})),
    ] {
        let scheme: SharingConfig = serde_json::from_value(scheme).unwrap();
        let mut parameters = Parameters::new(&Device::flex(), 3);
        let mut trunk = Trunk::new(build(backbone, 20, [0, 1], &mut parameters).unwrap());
        trunk.set_sharing(scheme.build(), &tasks(), &mut parameters).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save_adapters(dir.path(), &trunk, &parameters).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{scheme:?}");
    }
}

/// An adapter that was trained inside a larger model has its name in front of every module.
#[test]
fn an_adapter_of_a_larger_model_is_read() {
    let dir = changed("bert-lora", &[], |name| name.replace("model.encoder", "model.bert.encoder"));
    let scheme = with(json!({"lora": {"rank": 4, "alpha": 6.0}}), &[("init_from", json!(dir.path()))]);
    let (trunk, parameters) = loaded("bert", &scheme).unwrap();
    let expected = &expected("bert-lora")[0].1;
    let found = numbers(states_of("a", &trunk, &parameters, expected));
    assert!(largest_difference(&found, &expected.states) < 1e-5);
}

/// A copy of an adapter with other settings, and other names of tensors; an empty name leaves one out.
fn changed(name: &str, settings: &[(&str, Value)], rename: impl Fn(&str) -> String) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (tensors, mut config) = files(&adapter(name));
    settings.iter().for_each(|(key, value)| config[*key] = value.clone());
    std::fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
    write(&dir, tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor)));
    dir
}

fn write(dir: &tempfile::TempDir, tensors: impl Iterator<Item = (String, (Vec<usize>, Vec<f32>))>) {
    let bytes = |(shape, values): (Vec<usize>, Vec<f32>)| {
        (shape, values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
    };
    let tensors: Vec<_> = tensors.filter(|(name, _)| !name.is_empty()).map(|(n, t)| (n, bytes(t))).collect();
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (
            name.clone(),
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(dir.path().join("adapter_model.safetensors"), bytes).unwrap();
}

#[test]
fn settings_that_cannot_be_honoured_are_refused_with_the_key() {
    let lora = json!({"lora": {"rank": 4, "alpha": 6.0}});
    let poly = json!({"poly": {"rank": 3, "skills": 3, "splits": 4}});
    let vera = json!({"vera": {"rank": 6, "maps": ["query", "value", "ffn_in"]}});
    for (name, scheme, settings, says) in [
        (
            "bert-lora",
            &lora,
            ("modules_to_save", json!(["classifier"])),
            "modules_to_save: found [\"classifier\"], expected an adapter without",
        ),
        ("bert-lora", &lora, ("bias", json!("all")), "bias: found \"all\", expected \"none\""),
        (
            "bert-lora",
            &lora,
            ("rank_pattern", json!({"query": 8})),
            "rank_pattern: found {\"query\":8}, expected one rank",
        ),
        (
            "bert-lora",
            &lora,
            ("r", json!(16)),
            "r: found 16, expected 4, as [sharing.lora] has it; set sharing.lora.rank to 16",
        ),
        ("bert-lora", &lora, ("lora_alpha", json!(7)), "set sharing.lora.alpha to 7"),
        ("bert-lora", &lora, ("use_rslora", json!(true)), "set sharing.lora.use_rslora to true"),
        ("bert-lora", &lora, ("use_dora", json!(true)), "set sharing.lora.use_dora to true"),
        (
            "bert-lora",
            &lora,
            ("peft_type", json!("LOHA")),
            "peft_type: found \"LOHA\", expected \"LORA\", because the scheme is [sharing.lora]",
        ),
        ("bert-lora", &lora, ("fan_in_fan_out", json!(true)), "fan_in_fan_out: found true, expected false"),
        ("bert-lora", &lora, ("init_lora_weights", json!("pissa")), "init_lora_weights: found \"pissa\""),
        (
            "bert-lora",
            &lora,
            ("a_setting_of_tomorrow", json!(true)),
            "a_setting_of_tomorrow: found true, expected false: this setting is not supported",
        ),
        (
            "bert-lora",
            &lora,
            ("target_modules", json!(["query", "value", "key"])),
            "attention.self.key\", expected modules that [sharing.lora] updates: query, value",
        ),
        ("bert-poly", &poly, ("n_tasks", json!(3)), "n_tasks: found 3, expected 2, the tasks of the config"),
        (
            "bert-vera",
            &vera,
            ("save_projection", json!(false)),
            "save_projection: found false, expected true",
        ),
    ] {
        let dir = changed(name, &[settings], str::to_owned);
        let scheme = with(scheme.clone(), &[("init_from", json!(dir.path()))]);
        let error = loaded("bert", &scheme).map(|_| ()).unwrap_err().to_string();
        let file = dir.path().display().to_string();
        assert!(error.contains(says) && error.contains(&file), "{error}");
    }
    // The same numbers however they are written, and settings that are switched off.
    let settings = [
        ("lora_alpha", json!(6.0)),
        ("init_lora_weights", json!("gaussian")),
        ("a_setting_of_tomorrow", json!({})),
    ];
    let dir = changed("bert-lora", &settings, str::to_owned);
    loaded("bert", &with(lora, &[("init_from", json!(dir.path()))])).unwrap();
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let lora = || json!({"lora": {"rank": 4, "alpha": 6.0}});
    let first = "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight";
    let refused = |dir: &Path, scheme: Value| {
        let scheme = with(scheme, &[("init_from", json!(dir))]);
        loaded("bert", &scheme).map(|_| ()).unwrap_err().to_string()
    };
    let dir = changed("bert-lora", &[("target_modules", json!(["query", "value", "key"]))], str::to_owned);
    let said =
        refused(dir.path(), json!({"lora": {"rank": 4, "alpha": 6.0, "maps": ["query", "key", "value"]}}));
    assert!(said.contains("attention.self.key.lora_A.weight: missing, expected shape [4, 32]"), "{said}");
    // A module that the scheme leaves out, one that is none of the encoder's, and a tensor that is missing.
    let said = refused(&adapter("bert-lora"), json!({"lora": {"rank": 4, "alpha": 6.0, "maps": ["value"]}}));
    assert!(said.contains("target_modules") && said.contains("add \"query\" to sharing.lora.maps"), "{said}");
    let dir = changed("bert-lora", &[], |name| {
        name.replace("encoder.layer.2.attention.self.query", "pooler.dense")
    });
    let said = refused(dir.path(), lora());
    assert!(said.contains("found \"pooler.dense\"") && said.contains("modules of the encoder"), "{said}");
    let dir = changed("bert-lora", &[], |name| if name == first { String::new() } else { name.to_owned() });
    assert!(refused(dir.path(), lora()).contains(&format!("{first}: missing, expected shape [4, 32]")));
    for (change, says) in
        [("shape", "found shape [2, 64], expected [4, 32]"), ("nan", "found NaN at index 5")]
    {
        let dir = changed("bert-lora", &[], str::to_owned);
        let (mut tensors, _) = files(dir.path());
        let tensor = tensors.get_mut(first).unwrap();
        if change == "shape" {
            tensor.0 = vec![2, 64]
        } else {
            tensor.1[5] = f32::NAN
        }
        write(&dir, tensors.into_iter());
        let said = refused(dir.path(), lora());
        assert!(said.contains(first) && said.contains(says), "{said}");
    }
    let nothing = tempfile::tempdir().unwrap();
    assert!(refused(nothing.path(), lora()).contains("the folder has no adapter_config.json"));
    std::fs::write(nothing.path().join("adapter_model.bin"), b"").unwrap();
    assert!(refused(nothing.path(), lora()).contains("save_pretrained(DIR), which writes safetensors"));
    assert!(refused(&folder("bert"), lora()).contains("a whole model"));
    // VeRA's random factors are the same for all tasks.
    let vera = json!({"vera": {"rank": 6, "maps": ["query", "value", "ffn_in"]}});
    let dir = changed("bert-vera", &[], str::to_owned);
    let (mut tensors, _) = files(dir.path());
    tensors.get_mut("base_model.vera_A").unwrap().1[0] += 1.0;
    write(&dir, tensors.into_iter());
    let scheme = with(vera, &[("init_from", json!({"a": adapter("bert-vera"), "b": dir.path()}))]);
    let said = loaded("bert", &scheme).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("projection_prng_key") && said.contains("same vera_A and vera_B"), "{said}");
}
