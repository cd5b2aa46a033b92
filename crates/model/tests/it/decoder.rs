//! A decoder says and writes what that of transformers does: small random checkpoints of T5, and of what came after it.

use crate::fixture::{Expected, devices, folder, largest_difference, opened, opened_on, states};
use burn::tensor::{Tensor, TensorData};
use polytask_model::{DecoderConfig, Generator, Parameters, Trunk};
use safetensors::SafeTensors;
use std::path::Path;
use std::sync::Arc;

/// What decoders are given, and the logits that they compute.
struct Reference {
    targets: Vec<u32>,
    rows: kernels::RowOffsets,
    logits: Vec<f32>,
}

impl Reference {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let words = |name: &str| -> Vec<[u8; 4]> { file.tensor(name).unwrap().data().as_chunks().0.to_vec() };
        let ints = |name: &str| -> Vec<u32> { words(name).into_iter().map(u32::from_le_bytes).collect() };
        Self {
            targets: ints("targets"),
            rows: ints("target_offsets").into_iter().map(|n| n as usize).collect(),
            logits: words("scores").into_iter().map(f32::from_le_bytes).collect(),
        }
    }
}

fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.inner().into_data().try_into_vec().unwrap()
}

/// The encoder's states as a tensor.
fn encoded(states: Vec<f32>, hidden: usize, parameters: &Parameters) -> Tensor<2> {
    let n = states.len() / hidden;
    Tensor::from_data(TensorData::new(states, [n, hidden]), parameters.device())
}

#[test]
fn logits_are_those_of_transformers() {
    for device in devices() {
        for name in ["t5", "t5-gated"] {
            let (trunk, parameters) = opened_on(&device, &folder(name));
            let expected = Expected::read(&folder(name).join("states.safetensors"));
            let right = Reference::read(&folder(name).join("scores.safetensors"));
            let states = states(&trunk, &parameters, &expected.ids, &expected.offsets, None);
            let states = encoded(states, trunk.hidden(), &parameters);
            let decoder = trunk.generator().unwrap();
            let read = (states, &expected.offsets);
            let found = decoder.logits(&parameters, (&right.targets, &right.rows), read, None, None);
            let difference = largest_difference(&numbers(found), &right.logits);
            println!("{name} on {device:?}: largest difference {difference:.1e}");
            assert!(difference < 1e-5, "{name} on {device:?}: {difference}");
        }
    }
}

/// Token by token, with keys and values kept, in another order of texts and one of them twice: the same logits.
#[test]
fn kept_keys_and_values_say_the_same() {
    let (trunk, parameters) = opened(&folder("t5-gated"));
    let expected = Expected::read(&folder("t5-gated/states.safetensors"));
    let hidden = trunk.hidden();
    let states =
        encoded(states(&trunk, &parameters, &expected.ids, &expected.offsets, None), hidden, &parameters);
    let decoder = trunk.generator().unwrap();
    same_step_by_step(&*decoder, &parameters, &states, &expected.offsets, None);
    let start = Tensor::from_data(
        TensorData::new((0..hidden).map(|i| i as f32 * 0.1).collect(), [1, hidden]),
        parameters.device(),
    );
    same_step_by_step(&*decoder, &parameters, &states, &expected.offsets, Some(start));
}

fn same_step_by_step(
    decoder: &dyn Generator,
    parameters: &Parameters,
    states: &Tensor<2>,
    rows: &kernels::RowOffsets,
    start: Option<Tensor<2>>,
) {
    // Three texts of four tokens, by the rows that they read.
    let texts = [(2, [0, 7, 9, 4]), (0, [0, 30, 8, 8]), (2, [0, 7, 12, 59])];
    let mut whole = Vec::new();
    for (row, text) in &texts {
        let tokens: Vec<u32> = (rows[*row] as u32..rows[row + 1] as u32).collect();
        let read = kernels::gather_rows(states.clone(), &tokens);
        let one: kernels::RowOffsets = Arc::from([0, tokens.len()]);
        let text_rows: kernels::RowOffsets = Arc::from([0, 4]);
        let found = decoder.logits(parameters, (text, &text_rows), (read, &one), start.clone(), None);
        whole.push(numbers(found));
    }
    let width = whole[0].len() / 4;
    let mut cache = decoder.start(parameters, states, rows);
    // The first and the last text begin as one; then they stand in another order than before.
    let steps: [(&[u32], &[usize]); 4] =
        [(&[0, 2], &[1, 0]), (&[1, 0], &[0, 1]), (&[0, 0, 1], &[0, 2, 1]), (&[0, 2, 1], &[0, 1, 2])];
    for (at, (from, which)) in steps.into_iter().enumerate() {
        let ids: Vec<u32> = which.iter().map(|text| texts[*text].1[at]).collect();
        let found = numbers(decoder.step(parameters, &mut cache, from, &ids, start.clone()));
        for (i, text) in which.iter().enumerate() {
            let right = &whole[*text][at * width..][..width];
            let difference = largest_difference(&found[i * width..][..width], right);
            assert!(difference < 1e-5, "step {at}, text {text}: {difference}");
        }
    }
}

#[test]
fn a_fresh_decoder_stands_on_a_bert_and_shares_its_table() {
    let (trunk, mut parameters) = opened(&folder("bert"));
    let before = parameters.len();
    let config = DecoderConfig { layers: 2, heads: Some(4), ..DecoderConfig::default() };
    let decoder = config.build(&trunk, [2, 3], &mut parameters).unwrap();
    assert!(parameters.find("decoder.embeddings.output").is_none() && parameters.len() > before);
    let expected = Expected::read(&folder("bert/states.safetensors"));
    let states = encoded(expected.states.clone(), 32, &parameters);
    let ids = [2, 5, 6, 2, 9, 2, 2, 2];
    let rows: kernels::RowOffsets = Arc::from([0, 3, 5, 6, 7, 8]);
    let logits = decoder.logits(&parameters, (&ids, &rows), (states, &expected.offsets), None, None);
    assert_eq!(logits.dims(), [8, trunk.spec().vocabulary]);

    let wrong = |config: DecoderConfig| {
        let (trunk, mut parameters) = opened(&folder("bert"));
        config.build(&trunk, [2, 3], &mut parameters).unwrap_err().to_string()
    };
    let found = wrong(DecoderConfig { heads: Some(5), ..DecoderConfig::default() });
    assert_eq!(
        found,
        "model.decoder.heads: found 5, expected a divisor of 32, the width of the backbone's states"
    );
    let (trunk, mut parameters) = opened(&folder("t5"));
    let found = DecoderConfig::default().build(&trunk, [0, 1], &mut parameters).unwrap_err().to_string();
    assert_eq!(found, "model.decoder: found t5 has one of its own, expected a backbone without a decoder");
}

#[test]
fn a_fresh_decoder_is_saved_and_read() {
    let build = |seed| {
        let mut parameters = Parameters::new(&burn::tensor::Device::flex(), seed);
        let trunk = Trunk::new(polytask_model::open(&folder("bert"), &mut parameters, None).unwrap());
        let decoder = DecoderConfig::default().build(&trunk, [2, 3], &mut parameters).unwrap();
        (decoder, parameters)
    };
    let (decoder, parameters) = build(1);
    let dir = tempfile::tempdir().unwrap();
    polytask_model::save_decoder(dir.path(), &decoder.names(), &parameters).unwrap();
    let (decoder, mut other) = build(2);
    let q = other.find("decoder.layer.1.cross.kv").unwrap();
    assert_ne!(other.data(q), parameters.data(q));
    polytask_model::load_decoder(dir.path(), &decoder.names(), &mut other).unwrap();
    for index in 0..other.len() {
        assert_eq!(other.data(index), parameters.data(index), "{}", other.parameter(index).name);
    }
}
