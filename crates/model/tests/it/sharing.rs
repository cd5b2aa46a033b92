//! What holds of every sharing scheme, on every backbone: each is in the catalogue, and so in these tests.

use burn::tensor::{Device, Tensor};
use kernels::RowOffsets;
use polytask_model::{
    EncoderInput, FromScratch, Lanes, LoraConfig, MtanConfig, PackOffset, ParameterTensor, Parameters,
    SHARING_CATALOGUE, ScalarMixConfig, SharingConfig, SluiceConfig, Trunk, TrunkPass, build, load_sharing,
    open, save,
};
use serde_json::json;

const VOCABULARY: usize = 20;
const IDS: [u32; 9] = [3, 7, 1, 4, 4, 9, 2, 11, 5];
const POSITIONS: [u32; 9] = [0, 1, 2, 0, 1, 0, 1, 2, 3];
const OFFSETS: [usize; 4] = [0, 3, 5, 9];

fn backbones() -> [FromScratch; 3] {
    [
        json!({"bag": {"width": 8, "window": 1, "dropout": 0.0}}),
        json!({"bert": {"layers": 2, "hidden": 8, "heads": 2, "dropout": 0.0}}),
        json!({"t5": {"layers": 2, "decoder_layers": 1, "hidden": 8, "heads": 2, "dropout": 0.0}}),
    ]
    .map(|config| serde_json::from_value(config).unwrap())
}

fn tasks() -> Vec<String> {
    vec!["a".into(), "b.c".into()]
}

fn trunk(backbone: &FromScratch, scheme: &SharingConfig) -> (Trunk, Parameters) {
    let mut parameters = Parameters::new(&Device::flex().autodiff(), 5);
    let mut trunk = Trunk::new(build(backbone, VOCABULARY, [0, 1], &mut parameters).unwrap());
    trunk.set_sharing(scheme.build(), &tasks(), &mut parameters).unwrap();
    (trunk, parameters)
}

/// The rows of each task: the first two sequences are task a's, the third is the other's.
const ROWS: [std::ops::Range<usize>; 2] = [0..2, 2..3];

/// Task a's tokens, and the other's.
const TOKENS: [std::ops::Range<usize>; 2] = [0..5, 5..9];

fn lanes(trunk: &Trunk) -> Lanes {
    match trunk.has_lanes() {
        true => Lanes::new(tasks().into_iter().zip([5, 4])),
        false => Lanes::default(),
    }
}

/// What the trunk gives.
fn states_of_trunk(trunk: &Trunk, parameters: &Parameters, lanes: &Lanes) -> Tensor<2> {
    let offsets: RowOffsets = OFFSETS.into();
    let input = EncoderInput {
        ids: &IDS,
        positions: &POSITIONS,
        segments: &[0; 9],
        offsets: &offsets,
        datasets: &[],
        offset: PackOffset::default(),
    };
    trunk.states(&TrunkPass { lanes, ..TrunkPass::evaluation(parameters, input) })
}

/// What each task reads of its rows.
fn states(trunk: &Trunk, parameters: &Parameters) -> Tensor<2> {
    let states = states_of_trunk(trunk, parameters, &lanes(trunk));
    if !trunk.sharing().reads_out() {
        return states;
    }
    let width = states.dims()[1];
    let read = |((task, rows), tokens): ((&String, std::ops::Range<usize>), std::ops::Range<usize>)| {
        let own = states.clone().slice([tokens, 0..width]);
        let offsets: RowOffsets =
            OFFSETS[rows.start..=rows.end].iter().map(|offset| offset - OFFSETS[rows.start]).collect();
        trunk.readout(Some(task), parameters, own, &offsets)
    };
    Tensor::cat(tasks().iter().zip(ROWS).zip(TOKENS).map(read).collect(), 0)
}

fn values(states: Tensor<2>) -> Vec<f32> {
    states.inner().into_data().try_into_vec().unwrap()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

/// Gives every parameter of a scheme other values.
fn stir(parameters: &mut Parameters) {
    for index in 0..parameters.len() {
        if !parameters.parameter(index).is_base() {
            let wave = |i: usize| ((i + 3 * index) as f32 * 0.7).sin() * 0.3;
            let values = (0..parameters.parameter(index).size()).map(wave).collect();
            parameters.set_data(index, values).unwrap();
        }
    }
}

fn schemes() -> Vec<SharingConfig> {
    let mut schemes = SharingConfig::all();
    // Ranks that fit these small networks, every map, and the shared variant.
    for shared in [false, true] {
        let config = LoraConfig { rank: 2, shared, freeze_base: false, ..LoraConfig::default() };
        schemes.push(SharingConfig::Lora(config));
    }
    let all = ["query", "key", "value", "attention_output", "ffn_in", "ffn_out"];
    let config = json!({"lora": {"rank": 3, "alpha": 6.0, "maps": all, "freeze_base": false}});
    schemes.push(serde_json::from_value(config).unwrap());
    let variants = [
        json!({"adapters": {"attention": true, "bottleneck": 3}}),
        json!({"adapters": {"parallel": true, "shared": true, "freeze_base": false}}),
        json!({"branch": {"first_layer": 0, "groups": [["b.c"], ["a"]]}}),
        json!({"branch": {"groups": [["a", "b.c"]]}}),
        json!({"cross_stitch": {"first_layer": 0, "own": 0.7}}),
        json!({"soft": {"penalty": "trace_norm", "strength": 0.1}}),
        json!({"sluice": {"first_layer": 0, "orthogonality": 0.1}}),
        json!({"sluice": {"subspaces": 4}}),
        json!({"mmoe": {"gate": "row", "experts": 3, "width": 5}}),
        json!({"mmoe": {"gate": "task"}}),
    ];
    schemes.extend(variants.map(|config| serde_json::from_value(config).unwrap()));
    schemes
}

/// Whether a scheme names only maps that a backbone has.
fn fits(scheme: &SharingConfig, backbone: &FromScratch) -> bool {
    match scheme {
        SharingConfig::Lora(config) => config.maps.is_none() || backbone.name() != "bag",
        SharingConfig::Adapters(config) => !config.attention || backbone.name() != "bag",
        _ => true,
    }
}

/// The scheme where it begins as hard sharing: some do so at the end of a range of settings alone, and some nowhere.
fn neutral(scheme: SharingConfig) -> Option<SharingConfig> {
    Some(match scheme {
        SharingConfig::ScalarMix(config) => {
            SharingConfig::ScalarMix(ScalarMixConfig { last: 30.0, ..config })
        }
        SharingConfig::Mtan(config) => SharingConfig::Mtan(MtanConfig { start: 30.0, ..config }),
        SharingConfig::Sluice(config) => SharingConfig::Sluice(SluiceConfig { last: 1.0, ..config }),
        scheme => scheme,
    })
}

fn cases() -> impl Iterator<Item = (FromScratch, SharingConfig)> {
    backbones().into_iter().flat_map(|backbone| {
        let own = schemes().into_iter().filter(|scheme| fits(scheme, &backbone)).collect::<Vec<_>>();
        own.into_iter().map(move |scheme| (backbone.clone(), scheme))
    })
}

#[test]
fn every_scheme_is_documented() {
    let names: Vec<&str> = SharingConfig::all().iter().map(SharingConfig::name).collect();
    assert_eq!(names, SHARING_CATALOGUE.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert!(SHARING_CATALOGUE.iter().all(|(_, source)| source.starts_with("//! ")));
}

#[test]
fn a_scheme_begins_as_hard_sharing() {
    for (backbone, scheme) in cases() {
        let Some(scheme) = neutral(scheme) else { continue };
        let (hard, of_hard) = trunk(&backbone, &SharingConfig::default());
        let (own, parameters) = trunk(&backbone, &scheme);
        let expected = values(states(&hard, &of_hard));
        let found = values(states(&own, &parameters));
        assert!(close(&found, &expected), "{} {scheme:?}", backbone.name());
    }
}

/// What a scheme's parameters do to one task's rows they do not do to another's.
#[test]
fn gradients_of_private_parameters_come_from_their_own_lane() {
    for (backbone, scheme) in cases() {
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let states = states(&own, &parameters);
        let width = states.dims()[1];
        let own = states.slice([0..5, 0..width]);
        let gradients = (own.clone() * own.clone() * own).sum().backward();
        for parameter in parameters.iter().filter(|p| p.trainable) {
            let gradient: Option<Vec<f32>> = match parameter.value() {
                ParameterTensor::Vector(t) => {
                    t.grad(&gradients).map(|g| g.into_data().try_into_vec().unwrap())
                }
                ParameterTensor::Matrix(t) => {
                    t.grad(&gradients).map(|g| g.into_data().try_into_vec().unwrap())
                }
            };
            let moved = gradient.is_some_and(|g| g.iter().any(|x| *x != 0.0));
            match parameter.owner.first_task() {
                Some("a") => assert!(moved, "{}: {scheme:?} {}", backbone.name(), parameter.name),
                Some(_) => assert!(!moved, "{}: {scheme:?} {}", backbone.name(), parameter.name),
                None => {}
            }
        }
    }
}

/// The gradient of every parameter of a scheme, in a few places, against the change of the result.
#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f32 = 5e-3;
    for (backbone, scheme) in cases() {
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let wave = |i: usize| (i as f32 * 1.3).cos();
        let weigh = |states: Tensor<2>| {
            let [n, width] = states.dims();
            let weights: Vec<f32> = (0..n * width).map(wave).collect();
            let weights = Tensor::<1>::from_floats(&weights[..], &states.device()).reshape([n, width]);
            (states * weights).sum()
        };
        let gradients = weigh(states(&own, &parameters)).backward();
        let result = |parameters: &Parameters| -> f32 {
            let states = states(&own, parameters).inner();
            let values: Vec<f32> = states.into_data().try_into_vec().unwrap();
            values.iter().enumerate().map(|(i, x)| f64::from(x * wave(i))).sum::<f64>() as f32
        };
        for index in (0..parameters.len()).filter(|i| own_of_scheme(&parameters, *i)) {
            let values = parameters.data(index);
            let gradient: Option<Vec<f32>> = match parameters.parameter(index).value() {
                ParameterTensor::Vector(t) => {
                    t.grad(&gradients).map(|g| g.into_data().try_into_vec().unwrap())
                }
                ParameterTensor::Matrix(t) => {
                    t.grad(&gradients).map(|g| g.into_data().try_into_vec().unwrap())
                }
            };
            for place in [0, values.len() / 2, values.len() - 1] {
                let moved = |by: f32| {
                    let (mut parameters, mut values) = (parameters.clone(), values.clone());
                    values[place] += by;
                    parameters.set_data(index, values).unwrap();
                    result(&parameters)
                };
                let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let found = gradient.as_ref().map_or(0.0, |gradient| gradient[place]);
                let (name, scale) = (&parameters.parameter(index).name, expected.abs().max(0.3));
                assert!(
                    (found - expected).abs() < 0.03 * scale,
                    "{} {scheme:?} {name} {place}: {found} for {expected}",
                    backbone.name()
                );
            }
        }
    }
}

/// The gradient of a penalty against the change of its value.
#[test]
fn gradients_of_penalties_are_those_of_finite_differences() {
    const STEP: f32 = 1e-2;
    let mut with_penalty = 0;
    for (backbone, scheme) in cases() {
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let Some(penalty) = own.sharing().penalty(&parameters) else { continue };
        with_penalty += 1;
        assert!(penalty.value > 0.0 && !penalty.gradients.is_empty(), "{scheme:?}");
        for (index, gradient) in penalty.gradients {
            let gradient: Vec<f32> = match gradient {
                ParameterTensor::Vector(of) => of.into_data().try_into_vec().unwrap(),
                ParameterTensor::Matrix(of) => of.into_data().try_into_vec().unwrap(),
            };
            let values = parameters.data(index);
            for place in [0, values.len() - 1] {
                let moved = |by: f32| {
                    let (mut parameters, mut values) = (parameters.clone(), values.clone());
                    values[place] += by;
                    parameters.set_data(index, values).unwrap();
                    own.sharing().penalty(&parameters).unwrap().value
                };
                let expected = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                let (found, name) = (f64::from(gradient[place]), &parameters.parameter(index).name);
                assert!((found - expected).abs() < 1e-3, "{scheme:?} {name}: {found} for {expected}");
            }
        }
    }
    assert!(with_penalty >= 6);
}

/// Whether a scheme has added a parameter that is trained.
fn own_of_scheme(parameters: &Parameters, index: usize) -> bool {
    let parameter = parameters.parameter(index);
    parameter.trainable && !parameter.is_base()
}

/// The weights with a task's updates folded in, in a network without the scheme.
#[test]
fn merged_weights_give_the_same_states() {
    for (backbone, scheme) in cases() {
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let (hard, of_hard) = trunk(&backbone, &SharingConfig::default());
        for (task, rows) in tasks().iter().zip(TOKENS) {
            let Some(merged) = own.sharing().merged(task, &parameters) else { continue };
            let mut folded = of_hard.clone();
            for (weight, tensor) in merged {
                folded.put(weight.index(), ParameterTensor::Matrix(tensor));
            }
            let width = hard.hidden();
            let part = |states: Tensor<2>| values(states.slice([rows.clone(), 0..width]));
            let found = part(states(&own, &parameters));
            let expected = part(states(&hard, &folded));
            assert!(close(&found, &expected), "{} {scheme:?} {task}", backbone.name());
        }
    }
}

#[test]
fn what_a_scheme_adds_is_saved_apart_and_read_again() {
    for (backbone, scheme) in cases() {
        let dir = tempfile::tempdir().unwrap();
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        save(dir.path(), &own, &parameters).unwrap();
        let expected = values(states(&own, &parameters));
        let mut parameters = Parameters::new(&Device::flex().autodiff(), 6);
        let mut again = Trunk::new(open(dir.path(), &mut parameters, Some(0.0)).unwrap());
        again.set_sharing(scheme.build(), &tasks(), &mut parameters).unwrap();
        load_sharing(dir.path(), &again, &mut parameters).unwrap();
        assert_eq!(values(states(&again, &parameters)), expected, "{scheme:?}");
    }
}

#[test]
fn settings_that_do_not_fit_are_refused_with_the_key() {
    let bert = &backbones()[1];
    for (config, says) in [
        (json!({"lora": {"rank": 9}}), "sharing.lora.rank: found 9, expected from 1 to 8"),
        (json!({"lora": {"rank": 0}}), "sharing.lora.rank: found 0"),
        (
            json!({"lora": {"rank": 2, "first_layer": 2}}),
            "sharing.lora.first_layer: found 2, expected below 2",
        ),
        (json!({"lora": {"rank": 2, "alpha": 0.0}}), "sharing.lora.alpha: found 0"),
        (json!({"lora": {"rank": 2, "maps": ["ffn_gate"]}}), "sharing.lora.maps: found ffn_gate"),
        (json!({"adapters": {"bottleneck": 0}}), "sharing.adapters.bottleneck: found 0"),
        (json!({"adapters": {"first_layer": 2}}), "sharing.adapters.first_layer: found 2"),
        (json!({"adapters": {"scale": 0.0}}), "sharing.adapters.scale: found 0"),
        (json!({"branch": {"first_layer": 2}}), "sharing.branch.first_layer: found 2"),
        (json!({"branch": {"groups": [["a"]]}}), "sharing.branch.groups: found no group with \"b.c\""),
        (
            json!({"branch": {"groups": [["a", "b.c"], ["a"]]}}),
            "sharing.branch.groups: found \"a\" more than once",
        ),
        (json!({"branch": {"groups": [["a", "b.c", "d"]]}}), "sharing.branch.groups: found \"d\""),
        (
            json!({"branch": {"levels": [
                {"first_layer": 0, "groups": [["a"], ["b.c"]]},
                {"first_layer": 1, "groups": [["a", "b.c"]]},
            ]}}),
            "sharing.branch.levels.groups: found a, b.c",
        ),
        (json!({"cross_stitch": {"own": 1.5}}), "sharing.cross_stitch.own: found 1.5"),
        (json!({"sluice": {"subspaces": 3}}), "sharing.sluice.subspaces: found 3"),
        (json!({"sluice": {"subspaces": 4, "orthogonality": 1.0}}), "sharing.sluice.orthogonality: found 1"),
        (json!({"learn_to_branch": {"temperature": 0.0}}), "sharing.learn_to_branch.temperature: found 0"),
        (json!({"scalar_mix": {"first_layer": 2}}), "sharing.scalar_mix.first_layer: found 2"),
        (json!({"mtan": {"width": 0}}), "sharing.mtan.width: found 0"),
        (json!({"mmoe": {"experts": 0}}), "sharing.mmoe.experts: found 0"),
        (json!({"mmoe": {"width": 0}}), "sharing.mmoe.width: found 0"),
    ] {
        let scheme: SharingConfig = serde_json::from_value(config).unwrap();
        let mut parameters = Parameters::new(&Device::flex(), 5);
        let mut trunk = Trunk::new(build(bert, VOCABULARY, [0, 1], &mut parameters).unwrap());
        let error = trunk.set_sharing(scheme.build(), &tasks(), &mut parameters).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}
