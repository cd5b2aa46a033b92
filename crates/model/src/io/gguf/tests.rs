//! Files of `scripts/make_gguf_fixtures.py`, and broken ones.

use super::*;
use crate::io::SafetensorsReader;
use crate::parameters::Parameters;
use serde_json::json;
use std::path::PathBuf;

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf").join(name)
}

pub(super) const ARCHITECTURES: [&str; 4] = ["llama", "qwen2", "qwen3", "gemma3"];

#[test]
fn tensors_are_those_that_transformers_reads() {
    for name in ARCHITECTURES {
        let (reader, _) = GgufReader::open(&fixture(&format!("{name}.gguf"))).unwrap();
        let expected = SafetensorsReader::open_file(&fixture(&format!("{name}.safetensors"))).unwrap();
        let names: Vec<&str> = expected.names().collect();
        assert_eq!(TensorReader::names(&reader), names, "{name}");
        for tensor in names {
            let shape = &expected.info(tensor).unwrap().shape;
            assert_eq!(reader.check(tensor, shape), None, "{name}: {tensor}");
            let [mut found, mut wanted] = [vec![1.0], vec![1.0]];
            assert_eq!(reader.append(tensor, &mut found).unwrap(), None);
            expected.append(tensor, &mut wanted).unwrap();
            assert_eq!(found, wanted, "{name}: {tensor}");
        }
    }
}

/// Of any file, by hand: `GGUF=FILE EXPECTED=DIR cargo test ... -- --ignored`, with the tensors that the script writes for it.
#[test]
#[ignore = "needs a file that is not committed"]
fn a_real_file() {
    let [file, expected] = ["GGUF", "EXPECTED"].map(|name| PathBuf::from(std::env::var_os(name).unwrap()));
    let (reader, config) = GgufReader::open(&file).unwrap();
    println!("{config:#}");
    let expected = SafetensorsReader::open_file(&expected.join("tensors.safetensors")).unwrap();
    for tensor in TensorReader::names(&reader) {
        let [mut found, mut wanted] = [vec![], vec![]];
        assert_eq!(reader.append(tensor, &mut found).unwrap(), None);
        expected.append(tensor, &mut wanted).unwrap();
        assert!(found == wanted, "{tensor}");
    }
    println!("{} tensors are equal to the bit", TensorReader::names(&reader).len());
}

#[test]
fn the_config_is_that_of_the_model() {
    for name in ARCHITECTURES {
        let (_, config) = GgufReader::open(&fixture(&format!("{name}.gguf"))).unwrap();
        let expected = crate::io::read_json(&fixture(&format!("{name}.json"))).unwrap();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(config.get(key), Some(value), "{name}: {key}");
        }
        let beyond = |key: &&String| expected.get(key.as_str()).is_none();
        let beyond: Vec<&String> = config.as_object().unwrap().keys().filter(beyond).collect();
        assert_eq!(beyond, ["architectures"], "{name}");
    }
}

#[test]
fn other_llama_3_scalings_are_found_in_their_factors() {
    let (_, config) = GgufReader::open(&fixture("llama3.gguf")).unwrap();
    let scaling = &config["rope_scaling"];
    assert_eq!((&scaling["rope_type"], &scaling["factor"]), (&json!("llama3"), &json!(4.0)));
    let number = |key: &str| scaling[key].as_f64().unwrap();
    assert!((number("high_freq_factor") - 8.0).abs() < 1e-3, "{scaling}");
    assert!((number("original_max_position_embeddings") - 1024.0).abs() <= 1.0, "{scaling}");
}

#[test]
fn a_tensor_is_carried_as_f32() {
    let (reader, _) = GgufReader::open(&fixture("qwen3.gguf")).unwrap();
    let (dtype, shape, bytes) = reader.raw("model.norm.weight").unwrap();
    assert_eq!((dtype, shape, bytes.len()), (Dtype::F32, vec![32], 128));
    let problem = reader.check("model.norm.weight", &[31]).unwrap().to_string();
    assert_eq!(problem, "model.norm.weight: found shape [32], expected [31]");
}

/// A copy of a fixture with every such text replaced by one of the same length.
fn changed(name: &str, from: &str, to: &str) -> (tempfile::TempDir, PathBuf) {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(fixture(name)).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty(), "{from}");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    for (name, from, to, reason) in [
        (
            "qwen2.gguf",
            "qwen2",
            "bloom",
            r#"general.architecture: found "bloom", expected one of llama, qwen2, qwen3, gemma3"#,
        ),
        ("qwen2.gguf", "rope.scaling.factor", "rope.scaling.fastor", "qwen2.rope.scaling.factor: found None"),
        (
            "qwen2.gguf",
            "attention.head_count_kv",
            "attention.head_count_xy",
            "qwen2.attention.head_count_xy: found Unsigned(1), expected nothing: the key is not supported",
        ),
        (
            "qwen2.gguf",
            "qwen2.block_count",
            "qwen2.black_count",
            "qwen2.block_count: found nothing, expected a number",
        ),
        (
            "qwen2.gguf",
            "yarn",
            "warp",
            r#"qwen2.rope.scaling.type: found "warp", expected none, linear or yarn"#,
        ),
        (
            "qwen3.gguf",
            "attention.value_length",
            "attention.value_lehgth",
            "qwen3.attention.value_lehgth: found Unsigned(24)",
        ),
        (
            "qwen3.gguf",
            "blk.1.attn_v.weight",
            "blk.1.attn_x.weight",
            "blk.1.attn_x.weight: found with shape [24, 32]",
        ),
        ("qwen3.gguf", "blk.1.attn_v.weight", "blk.01.attn_v.weigh", "blk.01.attn_v.weigh: found with shape"),
    ] {
        let (_dir, path) = changed(name, from, to);
        let error = GgufReader::open(&path).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_missing_tensor_is_told_by_its_name_in_hugging_face_layout() {
    let (_dir, path) = changed("qwen3.gguf", "output_norm.weight", "output_norm.bias00");
    let error = GgufReader::open(&path).unwrap_err().to_string();
    assert!(error.contains("output_norm.bias00"), "{error}");
}

#[test]
fn factors_that_are_no_scaling_of_llama_3_are_refused() {
    let mut bytes = std::fs::read(fixture("llama3.gguf")).unwrap();
    let plain = 4f32.to_le_bytes();
    let at = (0..bytes.len() - 4).rev().find(|at| bytes[*at..].starts_with(&plain)).unwrap();
    bytes[at - 4..at].copy_from_slice(&0.5f32.to_le_bytes());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let error = GgufReader::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("rope_freqs.weight: found factors up to 4, expected the factors of Llama 3's"),
        "{error}"
    );
}

#[test]
fn a_file_is_opened_by_its_path_or_that_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, b"GGUF").unwrap();
    for given in [dir.path(), &path] {
        let mut parameters = Parameters::new(&Default::default(), 1);
        let error = crate::open(given, &mut parameters, None).unwrap_err().to_string();
        assert!(error.contains("model.gguf: found 4 bytes, expected at least 24"), "{error}");
    }
    std::fs::write(dir.path().join("other.gguf"), b"GGUF").unwrap();
    let error = crate::open(dir.path(), &mut Parameters::new(&Default::default(), 1), None).unwrap_err();
    assert!(error.to_string().contains("holds 2 GGUF files"), "{error}");
}

#[test]
fn rows_go_back_where_transformers_has_them() {
    // reshape(2, 2, 2, 1).swapaxes(1, 2) of rows 0..8.
    let mut rows = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
    unpermute(&mut rows, 8, 2);
    assert_eq!(rows, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
}
