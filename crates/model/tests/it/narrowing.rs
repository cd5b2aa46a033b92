//! The last layer for selected tokens alone gives the states, and the gradients, that it gives among all tokens.

use crate::fixture::{Network, devices, largest_difference, pass, positions};
use burn::tensor::{Device, Tensor, TensorData};
use polytask_model::{
    BagConfig, BertConfig, DebertaConfig, EncoderInput, FromScratch, LlamaConfig, ModernBertConfig,
    PackOffset, Parameter, ParameterTensor, Parameters, Stack, T5Config, TokenSelection, Trunk,
};
use std::sync::Arc;

/// Four sequences of different lengths.
const IDS: [u32; 13] = [4, 8, 49, 0, 7, 7, 3, 21, 30, 5, 12, 1, 40];
const SEGMENTS: [u32; 13] = [0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0];
const OFFSETS: [usize; 5] = [0, 5, 6, 10, 13];

/// Selected tokens, and where each sequence begins among them: one a sequence, none of some, a single one, and all.
const SELECTIONS: [(&[u32], [usize; 5]); 4] = [
    (&[2, 5, 6, 12], [0, 1, 2, 3, 4]),
    (&[0, 3, 4, 11], [0, 3, 3, 3, 4]),
    (&[9], [0, 0, 0, 1, 1]),
    (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], OFFSETS),
];

fn networks() -> Vec<Network> {
    let bag = BagConfig { width: 16, window: 2, ..Default::default() };
    let bert = BertConfig { layers: 2, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    let t5 = T5Config { layers: 2, hidden: 16, heads: 2, ..Default::default() };
    let modern =
        ModernBertConfig { layers: 2, hidden: 16, heads: 2, local_attention: 4, ..Default::default() };
    let deberta = DebertaConfig { layers: 2, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    let llama = LlamaConfig { layers: 2, hidden: 16, heads: 4, kv_heads: Some(2), ..Default::default() };
    Network::all(vec![
        FromScratch::Bag(bag),
        FromScratch::Bert(bert),
        FromScratch::Deberta(deberta),
        FromScratch::ModernBert(modern),
        FromScratch::Llama(llama),
        FromScratch::T5(t5),
    ])
}

fn make(network: &Network, device: &Device) -> (Trunk, Parameters) {
    let (trunk, mut parameters) = network.make(device);
    // T5's bias by distance begins as zeros, which would hide a query at a wrong position.
    if let (Some(bias), Network::Scratch(_)) = (parameters.find("backbone.embeddings.distances"), network) {
        let values = numbers(parameters.parameter(bias).size());
        parameters.set_data(bias, values).unwrap();
    }
    (trunk, parameters)
}

/// Numbers within -1..1 that look random.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 2.4).sin()).collect()
}

fn states(trunk: &Trunk, parameters: &Parameters, selection: Option<&TokenSelection<'_>>) -> Tensor<2> {
    let offsets: kernels::RowOffsets = Arc::from(OFFSETS);
    let input = EncoderInput {
        ids: &IDS,
        positions: &positions(&offsets),
        segments: &SEGMENTS,
        offsets: &offsets,
        datasets: &[],
        offset: PackOffset::default(),
    };
    let pass = pass(parameters, input, None);
    let below = trunk.lower(&pass);
    let states = trunk.middle(&pass, below);
    trunk.last(&pass, states, selection)
}

/// Of the sum of all states, each times a number, by every parameter; `None` for those that the states do not depend on.
fn gradients(parameters: &Parameters, states: Tensor<2>) -> Vec<Option<Vec<f32>>> {
    let [tokens, hidden] = states.dims();
    let weights = TensorData::new(numbers(tokens * hidden), [tokens, hidden]);
    let weights = Tensor::<2>::from_data(weights, parameters.device());
    let gradients = (states * weights).sum().backward();
    let of = |value: &ParameterTensor| match value {
        ParameterTensor::Vector(t) => t.grad(&gradients).map(|g| g.into_data()),
        ParameterTensor::Matrix(t) => t.grad(&gradients).map(|g| g.into_data()),
    };
    parameters.iter().map(|p| of(p.value()).map(|data| data.try_into_vec().unwrap())).collect()
}

#[test]
fn selected_tokens_have_the_states_and_gradients_of_the_whole_pack() {
    for (device, network) in
        devices().iter().flat_map(|d| networks().into_iter().map(|n| (d.clone().autodiff(), n)))
    {
        for (tokens, offsets) in SELECTIONS {
            let what = format!("{} on {device:?}, tokens {tokens:?}", network.name());
            let (trunk, parameters) = make(&network, &device);
            let offsets: kernels::RowOffsets = Arc::from(offsets);
            let selection = TokenSelection { tokens, offsets: &offsets, offset: PackOffset::default() };
            let whole = kernels::gather_rows(states(&trunk, &parameters, None), tokens);
            let selected = states(&trunk, &parameters, Some(&selection));
            assert_eq!(selected.dims(), [tokens.len(), trunk.hidden()], "{what}");
            let values = |x: &Tensor<2>| x.clone().inner().into_data().try_into_vec::<f32>().unwrap();
            let difference = largest_difference(&values(&whole), &values(&selected));
            assert!(difference < 1e-5, "{what}: {difference}");

            let (whole, selected) = (gradients(&parameters, whole), gradients(&parameters, selected));
            let mut compared = 0;
            for (parameter, gradients) in parameters.iter().zip(whole.iter().zip(&selected)) {
                let name = &parameter.name;
                let (Some(whole), Some(selected)) = gradients else {
                    assert_eq!(gradients, (&None, &None), "{what}: {name}");
                    continue;
                };
                let size = whole.iter().fold(1.0f32, |size, g| size.max(g.abs()));
                let difference = largest_difference(whole, selected);
                assert!(difference < 1e-5 * size, "{what}, gradient of {name}: {difference}");
                compared += 1;
            }
            let in_encoder = |p: &&Parameter| p.depth.is_some_and(|depth| depth.stack == Stack::Encoder);
            assert_eq!(compared, parameters.iter().filter(in_encoder).count(), "{what}");
        }
    }
}
