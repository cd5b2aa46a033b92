//! A frozen lower part: no gradients, no dropout, and the same states as ever.

mod fixture;

use burn::tensor::{Device, Tensor};
use fixture::positions;
use polytask_model::{
    Backbone, BagConfig, Before, BertConfig, Freeze, Parameter, Parameters, Read, Scratch, T5Config, Tokens,
    Weight, build,
};
use std::sync::Arc;

const IDS: [u32; 6] = [4, 8, 49, 0, 7, 7];

fn backbones() -> [Scratch; 4] {
    let bag = |window| Scratch::Bag(BagConfig { width: 16, window, ..Default::default() });
    let bert = BertConfig { layers: 3, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    let t5 = T5Config { layers: 3, hidden: 16, heads: 2, ..Default::default() };
    [bag(0), bag(2), Scratch::Bert(bert), Scratch::T5(t5)]
}

fn make(scratch: &Scratch, layers: Option<usize>, device: &Device) -> (Box<dyn Backbone>, Parameters) {
    let mut parameters = Parameters::new(device, 5);
    let mut backbone = build(scratch, 50, [0, 1], &mut parameters).unwrap();
    if let Some(layers) = layers {
        Freeze { layers, cache: false }.apply(&mut *backbone, &mut parameters).unwrap();
    }
    (backbone, parameters)
}

fn with_tokens<T>(run: impl FnOnce(Tokens<'_>) -> T) -> T {
    let rows: kernels::Rows = Arc::from([0, 4, 6]);
    run(Tokens {
        ids: &IDS,
        positions: &positions(&rows),
        segments: &[0; 6],
        rows: &rows,
        corpora: &[],
        before: Before::default(),
    })
}

fn whole(backbone: &dyn Backbone, parameters: &Parameters, noise: Option<u64>) -> Vec<f32> {
    with_tokens(|tokens| backbone.states(parameters, tokens, noise).into_data().try_into_vec().unwrap())
}

/// The parameters that states are made of: all but a decoder's.
fn of_states(parameters: &Parameters) -> impl Iterator<Item = &Parameter> {
    parameters.iter().filter(|p| !p.name.starts_with("decoder."))
}

/// The last layer for some tokens only says of them what it says of them among all, and so do the gradients.
#[test]
fn some_tokens_are_read_alone() {
    let all_tokens = [0, 1, 2, 3, 4, 5];
    let some: [(&[u32], [usize; 3]); 4] =
        [(&[0, 4], [0, 1, 2]), (&[1, 2, 5], [0, 2, 3]), (&[3], [0, 1, 1]), (&all_tokens, [0, 4, 6])];
    for scratch in backbones() {
        let most = make(&scratch, None, &Device::flex()).0.layers();
        for layers in std::iter::once(None).chain((0..=most).map(Some)) {
            for (tokens_read, rows) in some {
                let (backbone, parameters) = make(&scratch, layers, &Device::flex().autodiff());
                let rows: kernels::Rows = Arc::from(rows);
                let (read, part) = with_tokens(|tokens| {
                    let below = || backbone.lower(&parameters, tokens, None);
                    let read = Read { tokens: tokens_read, rows: &rows, before: Before::default() };
                    let all = backbone.upper(&parameters, below(), tokens, None, None);
                    let part = backbone.upper(&parameters, below(), tokens, Some(read), None);
                    (kernels::pick(all, tokens_read), part)
                });
                let what = format!("{scratch:?}, {layers:?} frozen, {tokens_read:?}");
                assert_near(&values(read.clone()), &values(part.clone()), &what);
                if !of_states(&parameters).any(|p| p.trainable) {
                    continue;
                }
                let back = |states: Tensor<2>| states.powf_scalar(3.0).sum().backward();
                let (of_read, of_part) = (back(read), back(part));
                for p in of_states(&parameters).filter(|p| p.trainable) {
                    let gradient = |gradients| match p.value() {
                        Weight::Vector(t) => t.grad(gradients).map(|g| g.into_data()),
                        Weight::Matrix(t) => t.grad(gradients).map(|g| g.into_data()),
                    };
                    let numbers = |gradients| gradient(gradients).map(|g| g.try_into_vec::<f32>().unwrap());
                    match (numbers(&of_read), numbers(&of_part)) {
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
            let (backbone, parameters) = make(&scratch, Some(layers), &Device::flex().autodiff());
            assert_eq!((backbone.frozen(), all.frozen()), (Some(layers), None));
            let trained: Vec<bool> = of_states(&parameters).map(|p| p.trainable).collect();
            assert_eq!(trained.contains(&true), layers < all.layers(), "{scratch:?} {layers}");

            let lower = |noise| with_tokens(|tokens| backbone.lower(&parameters, tokens, noise));
            assert_eq!(values(lower(Some(3))), values(lower(None)));
            assert_ne!(
                layers == all.layers(),
                whole(&*backbone, &parameters, Some(3)) != whole(&*backbone, &parameters, None)
            );
            if layers == all.layers() {
                continue;
            }
            let states = with_tokens(|tokens| backbone.states(&parameters, tokens, Some(3)));
            let gradients = states.powf_scalar(3.0).sum().backward();
            for p in of_states(&parameters) {
                let found = match p.value() {
                    Weight::Vector(t) => t.grad(&gradients).is_some(),
                    Weight::Matrix(t) => t.grad(&gradients).is_some(),
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
        let right = whole(&*all, &parameters, None);
        for layers in 0..=all.layers() {
            let (frozen, parameters) = make(&scratch, Some(layers), &Device::flex());
            assert_eq!(whole(&*frozen, &parameters, None), right);
        }
    }
}

#[test]
fn more_layers_than_there_are_cannot_be_frozen() {
    let mut parameters = Parameters::new(&Device::flex(), 5);
    let mut backbone = build(&backbones()[2], 50, [0, 1], &mut parameters).unwrap();
    let error = Freeze { layers: 4, cache: false }.apply(&mut *backbone, &mut parameters).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model.freeze.layers: found 4, expected at most 3, the layers of the backbone"
    );
}
