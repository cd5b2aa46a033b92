//! Metadata and numbers are those of the package gguf, to the bit.

use crate::{fixture, open};
use polytask_gguf::{Array, Gguf, GgufError, TensorType, Value};

const TYPES: [&str; 11] =
    ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"];

#[test]
fn every_type_has_the_numbers_of_the_package_gguf() {
    let (quants, plain) = (open("quants.gguf"), open("quants_f32.gguf"));
    for name in TYPES {
        let info = &quants.tensors()[name];
        assert_eq!((info.shape.as_slice(), info.kind.name().to_lowercase().as_str()), (&[3, 256][..], name));
        let [mut found, mut expected] = [vec![7.0], vec![7.0]];
        quants.read_f32(name, &mut found).unwrap();
        plain.read_f32(name, &mut expected).unwrap();
        let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&expected), "{name}");
        assert_eq!(found.len(), 1 + 3 * 256);
    }
}

#[test]
fn shapes_are_those_of_pytorch() {
    let quants = open("quants.gguf");
    assert_eq!(quants.tensors()["cube"].shape, [2, 3, 4]);
    assert_eq!(quants.tensors()["vector"].shape, [5]);
    let mut numbers = Vec::new();
    quants.read_f32("vector", &mut numbers).unwrap();
    assert_eq!(numbers, [0.0, 1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn values_of_every_type_are_read() {
    let quants = open("quants.gguf");
    let get = |key| quants.get(key).unwrap();
    assert_eq!(get("general.architecture").as_str(), Some("llama"));
    assert_eq!(*get("a.u8"), Value::Unsigned(200));
    assert_eq!(*get("a.i8"), Value::Signed(-100));
    assert_eq!(*get("a.u16"), Value::Unsigned(60_000));
    assert_eq!(*get("a.i16"), Value::Signed(-30_000));
    assert_eq!(*get("a.u32"), Value::Unsigned(4_000_000_000));
    assert_eq!(*get("a.i32"), Value::Signed(-2_000_000_000));
    assert_eq!(*get("a.u64"), Value::Unsigned(1 << 63));
    assert_eq!(*get("a.i64"), Value::Signed(-(1 << 62)));
    assert_eq!(*get("a.f32"), Value::F32(1e-5));
    assert_eq!(get("a.f32").as_f64(), Some(1e-5), "the decimal that was meant");
    assert_eq!(*get("a.f64"), Value::F64(0.1));
    assert_eq!(get("a.bool").as_bool(), Some(true));
    assert_eq!(get("a.string").as_str(), Some("grüße 🙂"));
    assert_eq!(get("a.strings").as_array().unwrap().as_strings().unwrap(), ["Ġthe", "", "▁a"]);
    assert_eq!(get("a.floats").as_array().unwrap().as_f32().unwrap(), [0.5, -1.5]);
    assert_eq!(*get("a.bools"), Value::Array(Array::Bool(vec![true, false])));
    assert_eq!(get("a.ints").as_array().unwrap().to_i64().unwrap(), [1, -2, 3]);
    assert_eq!(get("a.u8").as_str(), None);
}

#[test]
fn other_types_are_refused_by_name() {
    let quants = open("quants.gguf");
    assert_eq!(quants.tensors()["q2_k"].kind, TensorType::Q2_K);
    let mut numbers = vec![1.0];
    let error = quants.read_f32("q2_k", &mut numbers).unwrap_err();
    assert!(matches!(error, GgufError::Type { .. }));
    assert!(
        error.to_string().contains("q2_k: found numbers of type Q2_K, expected one of F32, F16, Q4_0"),
        "{error}"
    );
    assert_eq!(numbers, [1.0]);
    let error = quants.read_f32("none", &mut numbers).unwrap_err();
    assert!(error.to_string().contains("none: no such tensor"), "{error}");
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Gguf::open(fixture("quants.gguf").parent().unwrap()).unwrap_err();
    assert!(folder.to_string().contains("it is no regular file"), "{folder}");
    assert!(matches!(Gguf::open(&fixture("absent.gguf")), Err(GgufError::Io { .. })));
}
