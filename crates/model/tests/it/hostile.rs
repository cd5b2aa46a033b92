//! Broken and hostile checkpoints: every one is an error that names the file and what to do, and none panics.

use crate::fixture::{copy, folder};
use burn::tensor::Device;
use polytask_model::{Parameters, Trunk, open};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The error that opening a fixture gives after `spoil` had its way with a copy of it.
fn error_of(name: &str, spoil: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    copy(&folder(name), dir.path());
    spoil(dir.path());
    let mut parameters = Parameters::new(&Device::flex(), 1);
    let error = match open(dir.path(), &mut parameters, None) {
        Ok(_) => panic!("opened a broken model"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(dir.path().to_str().unwrap()), "names the file: {error}");
    error
}

fn config(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("config.json");
    let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn weights(dir: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = dir.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Tensors = file
        .iter()
        .map(|(n, v)| (n.to_owned(), (v.dtype(), v.shape().to_vec(), v.data().to_vec())))
        .collect();
    change(&mut all);
    let views = all.iter().map(|(name, (d, s, b))| (name, TensorView::new(*d, s.clone(), b).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[track_caller]
fn check(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn missing_misshapen_and_surplus_tensors_are_reported_at_once() {
    let error = error_of("bert", |dir| {
        weights(dir, |all| {
            all.remove("encoder.layer.1.attention.self.key.weight");
            all.remove("embeddings.LayerNorm.bias");
            let word = all.get_mut("embeddings.word_embeddings.weight").unwrap();
            *word = (Dtype::F32, vec![59, 32], word.2[..59 * 32 * 4].to_vec());
            all.insert("encoder.layer.3.output.dense.bias".into(), (Dtype::F32, vec![32], vec![0; 128]));
            all.insert("embeddings.extra".into(), (Dtype::F32, vec![1], vec![0; 4]));
            all.get_mut("encoder.layer.0.output.dense.bias").unwrap().0 = Dtype::I32;
        })
    });
    check(
        &error,
        &[
            "model.safetensors",
            "6 of the weights do not fit",
            "encoder.layer.1.attention.self.key.weight: missing, expected shape [32, 32]",
            "embeddings.LayerNorm.bias: missing, expected shape [32]",
            "embeddings.word_embeddings.weight: found shape [59, 32], expected [60, 32]",
            "encoder.layer.3.output.dense.bias: found with shape [32]",
            "embeddings.extra",
            "encoder.layer.0.output.dense.bias: found numbers of type I32, expected F32, F16 or BF16",
            "Try:",
        ],
    );
}

#[test]
fn a_config_of_another_model_is_an_error_that_stays_short() {
    let error = error_of("bert", |dir| config(dir, |json| json["num_hidden_layers"] = json!(900)));
    check(&error, &["encoder.layer.3.", "and 14332 more"]);
    assert!(error.lines().count() < 30);
    // Sizes for which no memory would do: nothing is reserved before the file is known to have them.
    let error = error_of("bert", |dir| {
        config(dir, |json| {
            json["hidden_size"] = json!(65536);
            json["vocab_size"] = json!(2_000_000_000);
        })
    });
    check(&error, &["expected [2000000000, 65536]"]);
}

#[test]
fn numbers_that_are_not_finite_are_named() {
    for (bad, text) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let error = error_of("roberta", |dir| {
            weights(dir, |all| {
                all.get_mut("encoder.layer.1.output.dense.weight").unwrap().2[40..44]
                    .copy_from_slice(&bad.to_le_bytes());
            })
        });
        check(&error, &["encoder.layer.1.output.dense.weight", &format!("found {text} at index 10")]);
    }
}

#[test]
fn every_truncation_and_every_header_is_survived() {
    let whole = std::fs::read(folder("bert-f16/model.safetensors")).unwrap();
    for length in [0, 1, 7, 8, 9, 100, 2000, whole.len() - 1] {
        let error = error_of("bert-f16", |dir| {
            std::fs::write(dir.join("model.safetensors"), &whole[..length]).unwrap()
        });
        check(&error, &["model.safetensors", "Try: downloading or copying the file again"]);
    }
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let attacks = [
        huge,
        header("{}x"),
        header("[]"),
        header("{"),
        header("\u{feff}{}"),
        header(&"[".repeat(100_000)),
        header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#),
        header(r#"{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,0]}}"#),
        header(r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}}"#),
        header(r#"{"a":{"dtype":"F99","shape":[0],"data_offsets":[0,0]}}"#),
        header(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}"#),
    ];
    for attack in attacks {
        let error =
            error_of("bert-f16", |dir| std::fs::write(dir.join("model.safetensors"), &attack).unwrap());
        check(&error, &["model.safetensors", "Try:"]);
    }
    // A sound file with nothing in it: every tensor is missing.
    let error =
        error_of("bert-f16", |dir| std::fs::write(dir.join("model.safetensors"), header("{}")).unwrap());
    check(&error, &["embeddings.word_embeddings.weight: missing"]);
}

#[test]
fn flipped_bytes_never_panic() {
    let whole = std::fs::read(folder("bert-f16/model.safetensors")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy(&folder("bert-f16"), dir.path());
    for at in (0..whole.len().min(2600)).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let _ = open(dir.path(), &mut Parameters::new(&Device::flex(), 1), None);
    }
}

/// A key of config.json, a value that it may not have, and what the error says.
type Case<'a> = (&'a str, Value, &'a [&'a str]);

#[test]
fn config_json_is_checked() {
    let cases: [Case<'_>; 13] = [
        (
            "model_type",
            json!("gpt2"),
            &[
                "found \"gpt2\"",
                "bert, distilbert, roberta, xlm-roberta, electra, mpnet, albert, deberta-v2, llama",
                "modernbert, t5, mt5",
                "polytask-bag",
            ],
        ),
        ("model_type", Value::Null, &["expected one of", "bert"]),
        ("hidden_act", json!("silu"), &["found \"silu\"", "expected one of \"gelu\", \"gelu_python\""]),
        ("position_embedding_type", json!("relative_key"), &["expected \"absolute\""]),
        ("is_decoder", json!(true), &["only encoders"]),
        ("hidden_size", json!(0), &["expected a whole number from 1"]),
        ("hidden_size", json!("32"), &["found \"32\""]),
        ("hidden_size", json!(-1), &["found -1"]),
        ("num_attention_heads", json!(5), &["expected a divisor of hidden_size = 32"]),
        ("num_hidden_layers", json!(1e9), &["expected a whole number"]),
        ("layer_norm_eps", json!(7), &["expected a small positive number"]),
        ("hidden_dropout_prob", json!(1.0), &["expected a rate"]),
        ("pad_token_id", json!(60), &["expected an id below vocab_size = 60"]),
    ];
    let of_t5: [Case<'_>; 5] = [
        ("feed_forward_proj", json!("gated-silu"), &["found \"gated-silu\"", "\"gated-gelu\""]),
        ("relative_attention_num_buckets", json!(6), &["found 6", "a multiple of 4"]),
        ("relative_attention_max_distance", json!(4), &["relative_attention_num_buckets: found 8"]),
        ("eos_token_id", json!(60), &["expected an id below vocab_size = 60"]),
        ("d_kv", json!(0), &["expected a whole number from 1"]),
    ];
    let of_others: [(&str, Case<'_>); 31] = [
        ("electra", ("embedding_size", json!(0), &["expected a whole number from 1"])),
        ("electra", ("embedding_size", json!(16), &["embeddings_project.weight: found shape [32, 12]"])),
        ("electra", ("is_decoder", json!(true), &["only encoders"])),
        ("mpnet", ("relative_attention_num_buckets", json!(16), &["found 16", "32: transformers' code"])),
        ("mpnet", ("hidden_act", json!("swish"), &["found \"swish\""])),
        ("albert", ("num_hidden_groups", json!(5), &["expected a whole number from 1 to 4"])),
        ("albert", ("num_hidden_groups", json!(2), &["encoder.albert_layer_groups.1.albert_layers.0"])),
        ("albert", ("inner_group_num", json!(251), &["expected a whole number from 1 to 250"])),
        ("albert-groups", ("num_hidden_groups", json!(1), &["leave no place for it"])),
        ("deberta", ("conv_kernel_size", json!(3), &["found 3", "the convolution of DeBERTa-v2-xlarge"])),
        ("deberta", ("relative_attention", json!(false), &["attention without distances"])),
        ("deberta", ("pos_att_type", json!("p2p"), &["found \"p2p\"", "\"c2p\", \"p2c\" or both"])),
        ("deberta", ("pos_att_type", json!([3]), &["\"c2p\", \"p2c\" or both"])),
        ("deberta", ("norm_rel_ebd", json!("rms"), &["found \"rms\""])),
        ("deberta", ("embedding_size", json!(16), &["expected 32"])),
        ("deberta", ("attention_head_size", json!(4), &["expected 8"])),
        ("deberta", ("max_relative_positions", json!(5), &["position_buckets: found 8"])),
        ("deberta", ("position_buckets", json!(9), &["encoder.rel_embeddings.weight: found shape [16, 32]"])),
        ("modernbert", ("hidden_activation", json!("relu"), &["found \"relu\"", "\"gelu\", "])),
        ("modernbert", ("num_attention_heads", json!(32), &["a divisor of half of hidden_size = 32"])),
        ("modernbert", ("layer_types", json!(["full_attention"]), &["for each of the 4 layers"])),
        ("modernbert", ("layer_types", json!(["a", "b", "c", "d"]), &["\"sliding_attention\" for each"])),
        ("modernbert", ("local_attention", json!(0), &["expected a whole number from 1"])),
        ("modernbert", ("global_attn_every_n_layers", json!(0), &["expected a whole number from 1"])),
        ("modernbert", ("global_rope_theta", json!(-1), &["expected a number above 0"])),
        ("modernbert", ("rope_scaling", json!({"factor": 2}), &["expected null"])),
        ("modernbert", ("rope_parameters", json!({"rope_theta": 3.0}), &["with full_attention and sliding"])),
        (
            "modernbert",
            (
                "rope_parameters",
                json!({"full_attention": {"rope_type": "longrope"}}),
                &["rope_parameters.full_attention.rope_type: found \"longrope\""],
            ),
        ),
        ("modernbert", ("attention_bias", json!(true), &["layers.0.attn.Wqkv.bias: missing"])),
        ("modernbert-biases", ("norm_bias", json!(false), &["embeddings.norm.bias"])),
        ("deberta", ("share_att_key", json!("yes"), &["expected true or false"])),
    ];
    let cases = cases.map(|case| ("bert", case)).into_iter().chain(of_t5.map(|case| ("t5", case)));
    let cases = cases.chain(of_others);
    for (folder, (key, value, parts)) in cases {
        let error = error_of(folder, |dir| config(dir, |json| json[key] = value));
        check(&error, parts);
        check(&error, &["config.json"]);
    }
    let error =
        error_of("bert", |dir| config(dir, |json| drop(json.as_object_mut().unwrap().remove("vocab_size"))));
    check(&error, &["vocab_size: found nothing"]);
    let error = error_of("roberta", |dir| config(dir, |json| json["max_position_embeddings"] = json!(2)));
    check(&error, &["expected more than pad_token_id + 1 = 2"]);
    for text in ["", "{", "[]", "\"a\"", "\u{0}\u{1}", &"[".repeat(200_000)] {
        let error = error_of("bert", |dir| std::fs::write(dir.join("config.json"), text).unwrap());
        check(&error, &["config.json", "not valid JSON"]);
    }
}

#[test]
fn folders_without_a_model_say_what_is_missing() {
    let remove = |file: &'static str| move |dir: &Path| std::fs::remove_file(dir.join(file)).unwrap();
    check(&error_of("bert", remove("config.json")), &["the folder has no config.json", "hf:owner/name"]);
    check(
        &error_of("bert", remove("model.safetensors")),
        &["neither model.safetensors nor model.safetensors.index.json"],
    );
    let error = error_of("bert", |dir| {
        std::fs::rename(dir.join("model.safetensors"), dir.join("pytorch_model.bin")).unwrap();
    });
    check(&error, &["converting pytorch_model.bin once"]);
    let error =
        open(Path::new("no/such/folder"), &mut Parameters::new(&Device::flex(), 1), None).err().unwrap();
    check(&error.to_string(), &["no/such/folder", "there is no such folder"]);
}

#[test]
fn an_index_of_shards_is_checked() {
    let index = |change: fn(&mut Value)| {
        move |dir: &Path| {
            let path = dir.join("model.safetensors.index.json");
            let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            change(&mut json);
            std::fs::write(path, json.to_string()).unwrap();
        }
    };
    let name = "roberta.encoder.layer.0.output.dense.bias";
    let error = error_of(
        "xlm-roberta",
        index(|json| json["weight_map"]["roberta.encoder.layer.0.output.dense.bias"] = json!("../x")),
    );
    check(&error, &["index.json", name, "expected the name of a file beside the index"]);
    let error = error_of(
        "xlm-roberta",
        index(|json| json["weight_map"]["made.up"] = json!("model-00001-of-00003.safetensors")),
    );
    check(&error, &["made.up", "holds no tensor of that name"]);
    let error = error_of("xlm-roberta", index(|json| json["weight_map"] = json!(3)));
    check(&error, &["weight_map"]);
    let error = error_of(
        "xlm-roberta",
        index(|json| {
            drop(json["weight_map"].as_object_mut().unwrap().remove("roberta.embeddings.LayerNorm.bias"))
        }),
    );
    check(&error, &["embeddings.LayerNorm.bias: missing"]);
    let error = error_of("xlm-roberta", |dir| {
        std::fs::remove_file(dir.join("model-00002-of-00003.safetensors")).unwrap()
    });
    check(&error, &["model-00002-of-00003.safetensors", "cannot read"]);
}

#[test]
fn a_broken_bag_is_an_error_too() {
    let make = |change: fn(&mut Value)| {
        let dir = tempfile::tempdir().unwrap();
        let mut parameters = Parameters::new(&Device::flex(), 1);
        let scratch = polytask_model::FromScratch::Bag(Default::default());
        let trunk = Trunk::new(polytask_model::build(&scratch, 9, [0, 1], &mut parameters).unwrap());
        polytask_model::save(dir.path(), &trunk, &parameters).unwrap();
        config(dir.path(), change);
        open(dir.path(), &mut Parameters::new(&Device::flex(), 1), None).err().unwrap().to_string()
    };
    check(&make(|json| json["width"] = json!(64)), &["embeddings: found shape [9, 128], expected [9, 64]"]);
    check(&make(|json| json["width"] = json!(0)), &["config.json", "expected a number from 1 to 65536"]);
    check(&make(|json| json["vocab_size"] = json!("many")), &["vocab_size", "expected a whole number"]);
    check(&make(|json| json["window"] = json!(0)), &["window.weight: found with shape [128, 640]"]);
    check(&make(|json| json["sizes"] = json!(1)), &["unknown field `sizes`"]);
}
