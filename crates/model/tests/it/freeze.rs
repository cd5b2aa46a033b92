//! A frozen lower part: no gradients, no dropout, and the same states as ever.

use crate::fixture::{Network, pass, positions};
use burn::tensor::{Device, Tensor};
use polytask_model::{
    BagConfig, BertConfig, DebertaConfig, EncoderInput, Freeze, FromScratch, LlamaConfig, ModernBertConfig,
    PackOffset, Parameter, ParameterTensor, Parameters, Stack, T5Config, TokenSelection, Trunk, TrunkPass,
    build,
};
use std::sync::Arc;

const IDS: [u32; 6] = [4, 8, 49, 0, 7, 7];

fn backbones() -> [FromScratch; 7] {
    let bag = |window| FromScratch::Bag(BagConfig { width: 16, window, ..Default::default() });
    let bert = BertConfig { layers: 3, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    let t5 = T5Config { layers: 3, hidden: 16, heads: 2, ..Default::default() };
    let llama = LlamaConfig {
        layers: 3,
        hidden: 16,
        heads: 4,
        kv_heads: Some(2),
        dropout: 0.1,
        ..Default::default()
    };
    let modern =
        ModernBertConfig { layers: 3, hidden: 16, heads: 2, local_attention: 4, ..Default::default() };
    let deberta = DebertaConfig { layers: 3, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    [
        bag(0),
        bag(2),
        FromScratch::Bert(bert),
        FromScratch::Deberta(deberta),
        FromScratch::ModernBert(modern),
        FromScratch::Llama(llama),
        FromScratch::T5(t5),
    ]
}

fn make(scratch: &FromScratch, layers: Option<usize>, device: &Device) -> (Trunk, Parameters) {
    let mut parameters = Parameters::new(device, 5);
    let mut trunk = Trunk::new(build(scratch, 50, [0, 1], &mut parameters).unwrap());
    if let Some(layers) = layers {
        Freeze { layers, cache: false }.apply(&mut trunk, &mut parameters).unwrap();
    }
    (trunk, parameters)
}

fn with_input<T>(run: impl FnOnce(EncoderInput<'_>) -> T) -> T {
    let offsets: kernels::RowOffsets = Arc::from([0, 4, 6]);
    run(EncoderInput {
        ids: &IDS,
        positions: &positions(&offsets),
        segments: &[0; 6],
        offsets: &offsets,
        datasets: &[],
        offset: PackOffset::default(),
    })
}

fn whole(trunk: &Trunk, parameters: &Parameters, dropout_seed: Option<u64>) -> Vec<f32> {
    with_input(|input| values(trunk.states(&pass(parameters, input, dropout_seed))))
}

/// States above the frozen prefix from those of [`Trunk::lower`].
fn upper(
    trunk: &Trunk,
    pass: &TrunkPass<'_>,
    below: Tensor<2>,
    selection: Option<&TokenSelection<'_>>,
) -> Tensor<2> {
    let states = trunk.middle(pass, below);
    trunk.last(pass, states, selection)
}

/// The parameters that states are made of: all but a decoder's.
fn of_states(parameters: &Parameters) -> impl Iterator<Item = &Parameter> {
    parameters.iter().filter(|p| p.depth.is_some_and(|depth| depth.stack == Stack::Encoder))
}

/// The last layer of selected tokens alone gives the states that it gives them among all, and the same gradients.
#[test]
fn selected_tokens_have_the_states_and_gradients_of_all() {
    let all_tokens = [0, 1, 2, 3, 4, 5];
    let some: [(&[u32], [usize; 3]); 4] =
        [(&[0, 4], [0, 1, 2]), (&[1, 2, 5], [0, 2, 3]), (&[3], [0, 1, 1]), (&all_tokens, [0, 4, 6])];
    for scratch in backbones() {
        let most = make(&scratch, None, &Device::flex()).0.layers();
        for layers in std::iter::once(None).chain((0..=most).map(Some)) {
            for (tokens, offsets) in some {
                let (trunk, parameters) = make(&scratch, layers, &Device::flex().autodiff());
                let offsets: kernels::RowOffsets = Arc::from(offsets);
                let (gathered, selected) = with_input(|input| {
                    let pass = pass(&parameters, input, None);
                    let offset = PackOffset::default();
                    let selection = TokenSelection { tokens, offsets: &offsets, offset };
                    let all = upper(&trunk, &pass, trunk.lower(&pass), None);
                    let selected = upper(&trunk, &pass, trunk.lower(&pass), Some(&selection));
                    (kernels::gather_rows(all, tokens), selected)
                });
                let what = format!("{scratch:?}, {layers:?} frozen, {tokens:?}");
                assert_near(&values(gathered.clone()), &values(selected.clone()), &what);
                if !of_states(&parameters).any(|p| p.trainable) {
                    continue;
                }
                let back = |states: Tensor<2>| states.powf_scalar(3.0).sum().backward();
                let (of_gathered, of_selected) = (back(gathered), back(selected));
                for p in of_states(&parameters).filter(|p| p.trainable) {
                    let gradient = |gradients| match p.value() {
                        ParameterTensor::Vector(t) => t.grad(gradients).map(|g| g.into_data()),
                        ParameterTensor::Matrix(t) => t.grad(gradients).map(|g| g.into_data()),
                    };
                    let numbers = |gradients| gradient(gradients).map(|g| g.try_into_vec::<f32>().unwrap());
                    match (numbers(&of_gathered), numbers(&of_selected)) {
                        (Some(a), Some(b)) => assert_near(&a, &b, &format!("{what}: {}", p.name)),
                        (a, b) => assert_eq!(a, b, "{what}: {}", p.name),
                    }
                }
            }
        }
    }
}

/// Equal but for rounding.
fn assert_near(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let size = a.iter().fold(1e-3f32, |size, x| size.max(x.abs()));
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * size), "{what}: {a:?} {b:?}");
}

fn values(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

#[test]
fn what_is_frozen_has_no_gradient_and_no_dropout() {
    for scratch in backbones() {
        let (all, _) = make(&scratch, None, &Device::flex());
        for layers in 0..=all.layers() {
            let (trunk, parameters) = make(&scratch, Some(layers), &Device::flex().autodiff());
            assert_eq!((trunk.frozen(), all.frozen()), (Some(layers), None));
            let trained: Vec<bool> = of_states(&parameters).map(|p| p.trainable).collect();
            assert_eq!(trained.contains(&true), layers < all.layers(), "{scratch:?} {layers}");

            let lower = |dropout| with_input(|input| trunk.lower(&pass(&parameters, input, dropout)));
            assert_eq!(values(lower(Some(3))), values(lower(None)));
            assert_ne!(
                layers == all.layers(),
                whole(&trunk, &parameters, Some(3)) != whole(&trunk, &parameters, None)
            );
            if layers == all.layers() {
                continue;
            }
            let states = with_input(|input| trunk.states(&pass(&parameters, input, Some(3))));
            let gradients = states.powf_scalar(3.0).sum().backward();
            for p in of_states(&parameters) {
                let found = match p.value() {
                    ParameterTensor::Vector(t) => t.grad(&gradients).is_some(),
                    ParameterTensor::Matrix(t) => t.grad(&gradients).is_some(),
                };
                assert_eq!(found, p.trainable, "{} of {scratch:?} with {layers}", p.name);
            }
        }
    }
}

#[test]
fn states_are_those_of_the_whole_backbone() {
    for scratch in backbones() {
        let (all, parameters) = make(&scratch, None, &Device::flex());
        let right = whole(&all, &parameters, None);
        for layers in 0..=all.layers() {
            let (frozen, parameters) = make(&scratch, Some(layers), &Device::flex());
            assert_eq!(whole(&frozen, &parameters, None), right);
        }
    }
}

#[test]
fn more_layers_than_there_are_cannot_be_frozen() {
    let mut parameters = Parameters::new(&Device::flex(), 5);
    let mut trunk = Trunk::new(build(&backbones()[2], 50, [0, 1], &mut parameters).unwrap());
    let error = Freeze { layers: 4, cache: false }.apply(&mut trunk, &mut parameters).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model.freeze.layers: found 4, expected at most 3, the layers of the backbone"
    );
}

/// Layers that have the same weights are frozen together, or not at all.
#[test]
fn layers_with_the_same_weights_are_frozen_together() {
    for (name, most, apart) in [("albert", 4, vec![0, 4]), ("albert-groups", 6, vec![0, 4, 5, 6])] {
        for layers in 0..=most {
            let (mut trunk, mut parameters) = Network::Checkpoint(name).make(&Device::flex().autodiff());
            assert_eq!(trunk.layers(), most);
            let frozen = Freeze { layers, cache: false }.apply(&mut trunk, &mut parameters);
            if !apart.contains(&layers) {
                let says = format!("found {layers}: layers of this backbone above and below have the same");
                assert!(frozen.unwrap_err().to_string().contains(&says), "{name} {layers}");
                continue;
            }
            frozen.unwrap();
            let states = with_input(|input| trunk.states(&pass(&parameters, input, Some(3))));
            let trained: Vec<bool> = parameters.iter().map(|p| p.trainable).collect();
            assert_eq!(trained.contains(&true), layers < most);
            if layers == most {
                continue;
            }
            let gradients = states.powf_scalar(3.0).sum().backward();
            for p in parameters.iter() {
                let found = match p.value() {
                    ParameterTensor::Vector(t) => t.grad(&gradients).is_some(),
                    ParameterTensor::Matrix(t) => t.grad(&gradients).is_some(),
                };
                assert_eq!(found, p.trainable, "{} of {name} with {layers}", p.name);
            }
        }
    }
}
