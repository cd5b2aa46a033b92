//! What holds of every sharing scheme, on every backbone: each is in the catalogue, and so in these tests.

use burn::tensor::{Device, Tensor};
use kernels::RowOffsets;
use polytask_model::{
    EncoderInput, FromScratch, Lanes, LoraConfig, PackOffset, ParameterTensor, Parameters, SHARING_CATALOGUE,
    SharingConfig, Trunk, TrunkPass, build, load_sharing, open, save,
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

/// The first two sequences are task a's, the third is the other's.
fn lanes(trunk: &Trunk) -> Lanes {
    match trunk.has_lanes() {
        true => Lanes::new(tasks().into_iter().zip([5, 4])),
        false => Lanes::default(),
    }
}

fn states(trunk: &Trunk, parameters: &Parameters, lanes: &Lanes) -> Tensor<2> {
    let offsets: RowOffsets = OFFSETS.into();
    let input = EncoderInput {
        ids: &IDS,
        positions: &POSITIONS,
        segments: &[0; 9],
        offsets: &offsets,
        datasets: &[],
        offset: PackOffset::default(),
    };
    trunk.states(&TrunkPass { parameters, input, lanes, dropout_seed: None })
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
    schemes
}

/// Whether a scheme names only maps that a backbone has.
fn fits(scheme: &SharingConfig, backbone: &FromScratch) -> bool {
    match scheme {
        SharingConfig::Lora(config) => config.maps.is_none() || backbone.name() != "bag",
        _ => true,
    }
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
        let (hard, of_hard) = trunk(&backbone, &SharingConfig::default());
        let (own, parameters) = trunk(&backbone, &scheme);
        let expected = values(states(&hard, &of_hard, Lanes::NONE));
        let found = values(states(&own, &parameters, &lanes(&own)));
        assert!(close(&found, &expected), "{} {scheme:?}", backbone.name());
    }
}

/// What a scheme's parameters do to one task's rows they do not do to another's.
#[test]
fn gradients_of_private_parameters_come_from_their_own_lane() {
    for (backbone, scheme) in cases() {
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let states = states(&own, &parameters, &lanes(&own));
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

/// The weights with a task's updates folded in, in a network without the scheme.
#[test]
fn merged_weights_give_the_same_states() {
    for (backbone, scheme) in cases() {
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let (hard, of_hard) = trunk(&backbone, &SharingConfig::default());
        for (task, rows) in tasks().iter().zip([0..5, 5..9]) {
            let Some(merged) = own.sharing().merged(task, &parameters) else { continue };
            let mut folded = of_hard.clone();
            for (weight, tensor) in merged {
                folded.put(weight.index(), ParameterTensor::Matrix(tensor));
            }
            let width = hard.hidden();
            let part = |states: Tensor<2>| values(states.slice([rows.clone(), 0..width]));
            let found = part(states(&own, &parameters, &lanes(&own)));
            let expected = part(states(&hard, &folded, Lanes::NONE));
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
        let expected = values(states(&own, &parameters, &lanes(&own)));
        let mut parameters = Parameters::new(&Device::flex().autodiff(), 6);
        let mut again = Trunk::new(open(dir.path(), &mut parameters, Some(0.0)).unwrap());
        again.set_sharing(scheme.build(), &tasks(), &mut parameters).unwrap();
        load_sharing(dir.path(), &again, &mut parameters).unwrap();
        assert_eq!(values(states(&again, &parameters, &lanes(&again))), expected, "{scheme:?}");
    }
}

#[test]
fn settings_that_do_not_fit_are_refused_with_the_key() {
    let bert = &backbones()[1];
    for (config, says) in [
        (json!({"rank": 9}), "sharing.lora.rank: found 9, expected from 1 to 8"),
        (json!({"rank": 0}), "sharing.lora.rank: found 0"),
        (json!({"rank": 2, "first_layer": 2}), "sharing.lora.first_layer: found 2, expected below 2"),
        (json!({"rank": 2, "alpha": 0.0}), "sharing.lora.alpha: found 0"),
        (json!({"rank": 2, "maps": ["ffn_gate"]}), "sharing.lora.maps: found ffn_gate"),
    ] {
        let scheme: SharingConfig = serde_json::from_value(json!({"lora": config})).unwrap();
        let mut parameters = Parameters::new(&Device::flex(), 5);
        let mut trunk = Trunk::new(build(bert, VOCABULARY, [0, 1], &mut parameters).unwrap());
        let error = trunk.set_sharing(scheme.build(), &tasks(), &mut parameters).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}
