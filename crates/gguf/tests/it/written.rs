//! What is written is what the package gguf makes of the same numbers, byte for byte, and reads back as it was.

use crate::{fixture, open};
use polytask_gguf::{Gguf, TensorType, Value, Writer};
use std::path::{Path, PathBuf};

/// A file with one tensor `x` `[rows, columns]`.
fn written(dir: &Path, kind: TensorType, numbers: &[f32], columns: usize) -> PathBuf {
    let mut writer = Writer::new();
    writer.set("general.architecture", Value::String("none".into()));
    writer.tensor("x", &[numbers.len() / columns, columns], kind);
    let mut bytes = Vec::new();
    writer.write(&mut bytes, |_| Ok(numbers.to_vec())).unwrap();
    let path = dir.join("x.gguf");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The bytes of a tensor.
fn bytes(path: &Path, name: &str) -> Vec<u8> {
    let file = Gguf::open(path).unwrap();
    let info = &file.tensors()[name];
    std::fs::read(path).unwrap()[info.offset as usize..][..info.bytes as usize].to_vec()
}

fn numbers(file: &Gguf, name: &str) -> Vec<f32> {
    let mut numbers = Vec::new();
    file.read_f32(name, &mut numbers).unwrap();
    numbers
}

#[test]
fn blocks_are_those_of_the_package_gguf() {
    let source = numbers(&open("written.gguf"), "f32");
    let dir = tempfile::tempdir().unwrap();
    for (name, kind) in [
        ("f32", TensorType::F32),
        ("f16", TensorType::F16),
        ("q8_0", TensorType::Q8_0),
        ("q4_0", TensorType::Q4_0),
        ("q5_0", TensorType::Q5_0),
    ] {
        let own = written(dir.path(), kind, &source, 256);
        assert!(bytes(&own, "x") == bytes(&fixture("written.gguf"), name), "{name}");
    }
}

#[test]
fn q4_k_is_nearer_than_quants_between_the_extremes() {
    let source = numbers(&open("written.gguf"), "f32");
    let dir = tempfile::tempdir().unwrap();
    let own = Gguf::open(&written(dir.path(), TensorType::Q4_K, &source, 256)).unwrap();
    let found = numbers(&own, "x");
    // Row 3 has parts of zeros alone; the numbers of row 5 are of very different size.
    assert!(found[3 * 256..3 * 256 + 64].iter().all(|x| *x == 0.0));
    for row in [0, 2, 3, 4] {
        let (mut error, mut plain) = (0.0, 0.0);
        for part in (row * 256..(row + 1) * 256).step_by(32) {
            let x = &source[part..part + 32];
            let (low, high) = x.iter().fold((0.0f32, f32::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
            let step = ((high - low) / 15.0).max(1e-9);
            for (x, found) in x.iter().zip(&found[part..]) {
                error += (x - found).powi(2);
                plain += (x - (((x - low) / step).round() * step + low)).powi(2);
            }
        }
        assert!(error < plain * 1.01, "row {row}: {error} and {plain}");
    }
}

#[test]
fn a_file_reads_back_as_it_was() {
    let source = open("quants.gguf");
    let mut writer = Writer::new();
    source.metadata().iter().for_each(|(key, value)| writer.set(key, value.clone()));
    writer.set("a.u8", Value::Unsigned(7));
    assert!(writer.has("a.bool") && !writer.has("a.none"));
    let readable: Vec<&String> =
        source.tensors().iter().filter(|(_, info)| info.kind.is_readable()).map(|(name, _)| name).collect();
    readable.iter().for_each(|name| writer.tensor(*name, &source.tensors()[*name].shape, TensorType::F32));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("again.gguf");
    let mut file = std::fs::File::create(&path).unwrap();
    writer.write(&mut file, |at| Ok(numbers(&source, readable[at]))).unwrap();
    let again = Gguf::open(&path).unwrap();
    let mut metadata = source.metadata().clone();
    metadata.insert("a.u8".into(), Value::Unsigned(7));
    assert_eq!(*again.metadata(), metadata);
    assert_eq!(again.tensors().len(), readable.len());
    for name in readable {
        assert_eq!(again.tensors()[name].shape, source.tensors()[name].shape);
        assert_eq!(numbers(&again, name), numbers(&source, name), "{name}");
    }
}

#[test]
fn a_wrong_number_of_numbers_is_an_error() {
    let mut writer = Writer::new();
    writer.tensor("x", &[2, 32], TensorType::Q8_0);
    let error = writer.write(&mut Vec::new(), |_| Ok(vec![0.0; 32])).unwrap_err();
    assert_eq!(error.to_string(), "x: 32 numbers for [2, 32]");
    assert!(!TensorType::Q4_K.takes_rows_of(576) && !TensorType::Q6_K.takes_rows_of(256));
    assert!(TensorType::Q8_0.takes_rows_of(576));
}
