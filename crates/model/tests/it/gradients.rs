//! Every trainable parameter gets a gradient, rows do not see each other, and the bag is what it says.

use crate::fixture::{Network, devices, pass, positions, states};
use burn::tensor::Device;
use polytask_model::{
    BagConfig, BertConfig, DebertaConfig, EncoderInput, FromScratch, LlamaConfig, ModernBertConfig,
    PackOffset, ParameterTensor, T5Config,
};
use std::sync::Arc;

fn networks() -> Vec<Network> {
    let bag = |window| FromScratch::Bag(BagConfig { width: 16, window, ..Default::default() });
    let bert = BertConfig { layers: 2, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    let t5 = T5Config { layers: 2, hidden: 16, heads: 2, ..Default::default() };
    let llama = LlamaConfig { layers: 2, hidden: 16, heads: 4, kv_heads: Some(2), ..Default::default() };
    let modern =
        ModernBertConfig { layers: 2, hidden: 16, heads: 2, local_attention: 4, ..Default::default() };
    let deberta = DebertaConfig { layers: 2, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    let (bert, deberta) = (FromScratch::Bert(bert), FromScratch::Deberta(deberta));
    Network::all(vec![
        bag(0),
        bag(2),
        bert,
        deberta,
        FromScratch::ModernBert(modern),
        FromScratch::Llama(llama),
        FromScratch::T5(t5),
    ])
}

#[test]
fn every_parameter_has_a_gradient() {
    for (device, network) in
        devices().into_iter().flat_map(|d| networks().into_iter().map(move |n| (d.clone().autodiff(), n)))
    {
        let (trunk, parameters) = network.make(&device);
        let (ids, offsets): (_, kernels::RowOffsets) = ([4, 8, 49, 0, 7, 7], Arc::from([0, 4, 6]));
        let input = EncoderInput {
            ids: &ids,
            positions: &positions(&offsets),
            segments: &[0; 6],
            offsets: &offsets,
            datasets: &[],
            offset: PackOffset::default(),
        };
        let states = trunk.states(&pass(&parameters, input, Some(3)));
        let mut sum = states.clone().powf_scalar(3.0).sum();
        if let Some(decoder) = trunk.generator() {
            let (ids, text): (_, kernels::RowOffsets) = ([0, 9, 11, 0, 12], Arc::from([0, 3, 5]));
            let logits = decoder.logits(&parameters, (&ids, &text), (states, &offsets), None, Some(4));
            sum = sum + logits.powf_scalar(3.0).sum();
        }
        let gradients = sum.backward();
        for p in parameters.iter() {
            let gradient = match p.value() {
                ParameterTensor::Vector(t) => t.grad(&gradients).map(|g| g.into_data()),
                ParameterTensor::Matrix(t) => t.grad(&gradients).map(|g| g.into_data()),
            };
            let values =
                gradient.unwrap_or_else(|| panic!("{} has none", p.name)).try_into_vec::<f32>().unwrap();
            assert!(values.iter().all(|g| g.is_finite()) && values.iter().any(|g| *g != 0.0), "{}", p.name);
        }
    }
}

#[test]
fn rows_of_a_pack_do_not_see_each_other() {
    for network in networks() {
        let (trunk, parameters) = network.make(&Device::flex());
        let rows: [&[u32]; 3] = [&[4, 8, 49, 0], &[7], &[1, 2, 3]];
        let together = states(&trunk, &parameters, &rows.concat(), &[0, 4, 5, 8], None);
        let alone: Vec<f32> =
            rows.iter().flat_map(|row| states(&trunk, &parameters, row, &[0, row.len()], None)).collect();
        assert!(crate::fixture::largest_difference(&together, &alone) < 5e-6);
    }
}

#[test]
fn a_window_of_zero_is_the_classic_bag_and_a_window_of_two_reaches_two_words() {
    let networks = networks();
    let (trunk, parameters) = networks[0].make(&Device::flex());
    assert_eq!(parameters.len(), 1);
    let table = parameters.data(0);
    let found = states(&trunk, &parameters, &[3, 9], &[0, 2], None);
    assert_eq!(found, [&table[3 * 16..4 * 16], &table[9 * 16..10 * 16]].concat());

    let (trunk, parameters) = networks[1].make(&Device::flex());
    let row = |ids: [u32; 6]| states(&trunk, &parameters, &ids, &[0, 6], None);
    let (a, b) = (row([1, 2, 3, 4, 5, 6]), row([9, 2, 3, 4, 5, 6]));
    let changed: Vec<bool> = a.chunks(16).zip(b.chunks(16)).map(|(a, b)| a != b).collect();
    assert_eq!(changed, [true, true, true, false, false, false]);
}
