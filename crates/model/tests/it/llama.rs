//! Llama and its relatives: states and logits equal those of transformers, whichever keys config.json has; what is written token by token
//! with kept keys and values is what the whole text gives; settings that are not known are refused.

use crate::fixture::{Expected, copy, devices, folder, largest_difference, opened, opened_on, states};
use burn::tensor::{Tensor, TensorData};
use polytask_model::{ModelError, Parameters, Trunk, open, save};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const FAMILIES: [&str; 10] =
    ["plain", "linear", "dynamic", "llama3", "yarn", "yarn-scaled", "mistral", "qwen2", "qwen3", "gemma3"];

fn at(name: &str) -> PathBuf {
    folder("llama").join(name)
}

fn logits(trunk: &Trunk, parameters: &Parameters, states: Vec<f32>) -> Vec<f32> {
    let shape = [states.len() / trunk.hidden(), trunk.hidden()];
    let states = Tensor::from_data(TensorData::new(states, shape), parameters.device());
    trunk.logits(parameters, states).unwrap().into_data().try_into_vec().unwrap()
}

#[test]
fn states_and_logits_are_those_of_transformers() {
    for device in devices() {
        for name in FAMILIES {
            let (trunk, parameters) = opened_on(&device, &at(name));
            let path = at(name).join("states.safetensors");
            let (expected, scores) = (Expected::read(&path), Expected::read_states(&path, "scores"));
            let found = states(&trunk, &parameters, &expected.ids, &expected.offsets, None);
            let far = largest_difference(&found, &expected.states);
            let far_logits = largest_difference(&logits(&trunk, &parameters, found), &scores.states);
            println!("{name} on {device:?}: states {far:.1e}, logits {far_logits:.1e}");
            assert!(far < 1e-4 && far_logits < 1e-4, "{name} on {device:?}: {far} {far_logits}");
        }
    }
}

#[test]
#[ignore = "needs a decoder: set POLYTASK_DECODER to its folder or file, and POLYTASK_EXPECTED to what make_llama_fixtures.py --model wrote"]
fn a_real_decoder_has_the_states_and_logits_of_transformers() {
    let path = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} names a path"));
    let (model, expected) = (path("POLYTASK_DECODER"), path("POLYTASK_EXPECTED"));
    let (trunk, parameters) = opened(Path::new(&model));
    let expected = Path::new(&expected);
    let (expected, scores) = (Expected::read(expected), Expected::read_states(expected, "scores"));
    let found = states(&trunk, &parameters, &expected.ids, &expected.offsets, None);
    let far = largest_difference(&found, &expected.states);
    let far_logits = largest_difference(&logits(&trunk, &parameters, found), &scores.states);
    println!("{model}: states {far:.1e}, logits {far_logits:.1e}");
    assert!(far < 1e-3 && far_logits < 1e-3, "{far} {far_logits}");
}

/// The keys of transformers 4 say the same as those of transformers 5.
#[test]
fn old_keys_make_the_same_network() {
    for name in FAMILIES {
        let dir = tempfile::tempdir().unwrap();
        copy(&at(name), dir.path());
        std::fs::rename(dir.path().join("old-config.json"), dir.path().join("config.json")).unwrap();
        let expected = Expected::read(&at(name).join("states.safetensors"));
        let of = |dir: &Path| {
            let (trunk, parameters) = opened(dir);
            states(&trunk, &parameters, &expected.ids, &expected.offsets, None)
        };
        assert!(of(dir.path()) == of(&at(name)), "{name}");
    }
}

#[test]
fn opening_and_saving_keeps_every_tensor() {
    let tensors = |dir: &Path| {
        let file = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path();
        let is_weights = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("model") && name.ends_with(".safetensors")
        };
        let mut all = std::collections::BTreeMap::new();
        for path in std::fs::read_dir(dir).unwrap().map(file).filter(is_weights) {
            let bytes = std::fs::read(path).unwrap();
            for (name, view) in safetensors::SafeTensors::deserialize(&bytes).unwrap().iter() {
                all.insert(name.to_owned(), (view.shape().to_vec(), view.data().to_vec()));
            }
        }
        all
    };
    for name in FAMILIES.into_iter().chain(["bare"]) {
        let (trunk, parameters) = opened(&at(name));
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &trunk, &parameters).unwrap();
        assert!(tensors(dir.path()) == tensors(&at(name)), "{name}");
        let read = |dir: &Path| -> Value {
            serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap()
        };
        assert_eq!(read(dir.path()), read(&at(name)), "{name}");
    }
}

/// Token by token, texts in another order, one of them twice: the logits of the whole texts.
#[test]
fn kept_keys_and_values_say_the_same() {
    for name in ["plain", "mistral", "gemma3"] {
        let (trunk, parameters) = opened(&at(name));
        let texts: [&[u32]; 3] = [&[5, 9, 30, 4, 8, 8, 17, 21], &[7, 7, 3], &[5, 9, 30, 12, 40, 6, 11, 19]];
        let whole = |text: &[u32]| {
            let found = states(&trunk, &parameters, text, &[0, text.len()], None);
            let all = logits(&trunk, &parameters, found);
            all[all.len() - trunk.spec().vocabulary..].to_vec()
        };
        // The first and the last text begin as one, a prompt of three tokens; then they stand in another order than before.
        let prompts = vec![texts[0][..3].to_vec(), texts[1][..2].to_vec()];
        let mut writer = trunk.write(&parameters, "text", None, prompts);
        // Which text each goes on from; then which of `texts` it is, and how long now.
        type Step<'a> = (&'a [u32], &'a [(usize, usize)]);
        let steps: [Step<'_>; 4] = [
            (&[0, 1], &[(0, 3), (1, 2)]),
            (&[1, 0, 0], &[(1, 3), (0, 4), (2, 4)]),
            (&[1, 2], &[(0, 5), (2, 5)]),
            (&[1, 0], &[(2, 6), (0, 6)]),
        ];
        for (from, now) in steps {
            let ids: Vec<u32> = now.iter().map(|(text, length)| texts[*text][length - 1]).collect();
            let found: Vec<f32> = writer.step(from, &ids).into_data().try_into_vec().unwrap();
            for (found, (text, length)) in found.chunks(trunk.spec().vocabulary).zip(now) {
                let far = largest_difference(found, &whole(&texts[*text][..*length]));
                assert!(far < 1e-4, "{name}, text {text} of {length} tokens: {far}");
            }
        }
    }
}

/// Chat models end with more tokens than their config.json says.
#[test]
fn texts_end_with_the_tokens_of_the_generation_config() {
    let dir = tempfile::tempdir().unwrap();
    copy(&at("qwen2"), dir.path());
    let ends = |dir: &Path| opened(dir).0.spec().language_model.as_ref().unwrap().eos_token_ids.clone();
    assert_eq!(ends(dir.path()), [2]);
    std::fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id": [7, 2]}"#).unwrap();
    assert_eq!(ends(dir.path()), [7, 2]);
    // What is saved ends with them, too.
    let (trunk, parameters) = opened(dir.path());
    let saved = tempfile::tempdir().unwrap();
    save(saved.path(), &trunk, &parameters).unwrap();
    assert_eq!(ends(saved.path()), [7, 2]);
}

fn refused(change: impl Fn(&mut Value)) -> String {
    let dir = tempfile::tempdir().unwrap();
    copy(&at("qwen2"), dir.path());
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
    let device = burn::tensor::Device::flex();
    match open(dir.path(), &mut Parameters::new(&device, 1), None) {
        Err(error @ ModelError::Config { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened: {config}"),
    }
}

#[test]
fn settings_that_are_not_supported_are_refused_with_their_key() {
    let changes: [(&str, Value); 22] = [
        ("model_type", json!("mixtral")),
        ("quantization_config", json!({"bits": 4})),
        ("partial_rotary_factor", json!(0.5)),
        ("final_logit_softcapping", json!(30.0)),
        ("hidden_act", json!("relu")),
        ("num_key_value_heads", json!(3)),
        ("num_attention_heads", json!(0)),
        ("head_dim", json!(7)),
        ("rms_norm_eps", json!(3.0)),
        ("layer_types", json!(["full_attention"])),
        ("layer_types", json!(["full_attention", "chunked_attention"])),
        ("sliding_window", json!(0)),
        ("use_sliding_window", json!("yes")),
        ("tie_word_embeddings", json!(1)),
        ("eos_token_id", json!(50)),
        ("eos_token_id", json!([1, "x"])),
        ("rope_parameters", json!({"rope_type": "longrope", "rope_theta": 1000.0})),
        ("rope_parameters", json!({"rope_type": 3})),
        ("rope_parameters", json!({"rope_type": "linear"})),
        ("rope_parameters", json!({"rope_type": "linear", "factor": -1.0})),
        ("rope_parameters", json!({"rope_type": "default", "short_factor": [1.0]})),
        ("rope_scaling", json!({"type": "linear", "factor": 2.0})),
    ];
    for (key, value) in changes {
        let message = refused(|config| config[key] = value.clone());
        assert!(message.contains(key), "{key} = {value}: {message}");
    }
    assert!(refused(|config| config["sliding_window"] = Value::Null).contains("sliding_window"));
}
