//! Every trainable parameter gets a gradient, rows do not see each other, and the bag is what it says.

mod fixture;

use burn::tensor::Device;
use fixture::{devices, positions, states};
use polytask_model::{
    Backbone, BagConfig, Before, BertConfig, Parameters, Scratch, T5Config, Tokens, Weight, build,
};
use std::sync::Arc;

fn scratches() -> [Scratch; 4] {
    let bag = |window| Scratch::Bag(BagConfig { width: 16, window, ..Default::default() });
    let bert = BertConfig { layers: 2, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    let t5 = T5Config { layers: 2, hidden: 16, heads: 2, ..Default::default() };
    [bag(0), bag(2), Scratch::Bert(bert), Scratch::T5(t5)]
}

fn make(scratch: &Scratch, device: &Device) -> (Box<dyn Backbone>, Parameters) {
    let mut parameters = Parameters::new(device, 5);
    let backbone = build(scratch, 50, [0, 1], &mut parameters).unwrap();
    (backbone, parameters)
}

#[test]
fn every_parameter_has_a_gradient() {
    for (device, scratch) in
        devices().into_iter().flat_map(|d| scratches().map(|s| (d.clone().autodiff(), s)))
    {
        let (backbone, parameters) = make(&scratch, &device);
        let (ids, rows): (_, kernels::Rows) = ([4, 8, 49, 0, 7, 7], Arc::from([0, 4, 6]));
        let tokens = Tokens {
            ids: &ids,
            positions: &positions(&rows),
            segments: &[0; 6],
            rows: &rows,
            corpora: &[],
            before: Before::default(),
        };
        let states = backbone.states(&parameters, tokens, Some(3));
        let mut sum = states.clone().powf_scalar(3.0).sum();
        if let Some(decoder) = backbone.decoder() {
            let (ids, text): (_, kernels::Rows) = ([0, 9, 11, 0, 12], Arc::from([0, 3, 5]));
            let scores = decoder.scores(&parameters, (&ids, &text), (states, &rows), None, Some(4));
            sum = sum + scores.powf_scalar(3.0).sum();
        }
        let gradients = sum.backward();
        for p in parameters.iter() {
            let gradient = match p.value() {
                Weight::Vector(t) => t.grad(&gradients).map(|g| g.into_data()),
                Weight::Matrix(t) => t.grad(&gradients).map(|g| g.into_data()),
            };
            let values =
                gradient.unwrap_or_else(|| panic!("{} has none", p.name)).try_into_vec::<f32>().unwrap();
            assert!(values.iter().all(|g| g.is_finite()) && values.iter().any(|g| *g != 0.0), "{}", p.name);
        }
    }
}

#[test]
fn rows_of_a_pack_do_not_see_each_other() {
    for scratch in scratches() {
        let (backbone, parameters) = make(&scratch, &Device::flex());
        let rows: [&[u32]; 3] = [&[4, 8, 49, 0], &[7], &[1, 2, 3]];
        let together = states(&*backbone, &parameters, &rows.concat(), &[0, 4, 5, 8], None);
        let alone: Vec<f32> =
            rows.iter().flat_map(|row| states(&*backbone, &parameters, row, &[0, row.len()], None)).collect();
        assert!(fixture::largest_difference(&together, &alone) < 1e-6);
    }
}

#[test]
fn a_window_of_zero_is_the_classic_bag_and_a_window_of_two_reaches_two_words() {
    let [classic, window, ..] = scratches();
    let (backbone, parameters) = make(&classic, &Device::flex());
    assert_eq!(parameters.len(), 1);
    let table = parameters.data(0);
    let found = states(&*backbone, &parameters, &[3, 9], &[0, 2], None);
    assert_eq!(found, [&table[3 * 16..4 * 16], &table[9 * 16..10 * 16]].concat());

    let (backbone, parameters) = make(&window, &Device::flex());
    let row = |ids: [u32; 6]| states(&*backbone, &parameters, &ids, &[0, 6], None);
    let (a, b) = (row([1, 2, 3, 4, 5, 6]), row([9, 2, 3, 4, 5, 6]));
    let changed: Vec<bool> = a.chunks(16).zip(b.chunks(16)).map(|(a, b)| a != b).collect();
    assert_eq!(changed, [true, true, true, false, false, false]);
}
