//! What holds of every sharing scheme, on every backbone: each is in the catalogue, and so in these tests.

use burn::tensor::{Device, Tensor};
use kernels::RowOffsets;
use polytask_model::{
    EncoderInput, FromScratch, Init, Lanes, LayerContext, Map, MtanConfig, Owner, PackOffset, ParameterSpec,
    ParameterTensor, Parameters, Precision, Role, SHARING_CATALOGUE, ScalarMixConfig, SharingConfig, Site,
    SiteWeight, SluiceConfig, Trunk, TrunkPass, TrunkShape, build, load_sharing, open, save,
};
use serde_json::json;

const VOCABULARY: usize = 20;
const IDS: [u32; 9] = [3, 7, 1, 4, 4, 9, 2, 11, 5];
const POSITIONS: [u32; 9] = [0, 1, 2, 0, 1, 0, 1, 2, 3];
const OFFSETS: [usize; 4] = [0, 3, 5, 9];

fn backbones() -> [FromScratch; 6] {
    [
        json!({"bag": {"width": 8, "window": 1, "dropout": 0.0}}),
        json!({"bert": {"layers": 2, "hidden": 8, "heads": 2, "dropout": 0.0}}),
        json!({"deberta": {"layers": 2, "hidden": 8, "heads": 2, "max_length": 20, "dropout": 0.0}}),
        json!({"modernbert": {"layers": 2, "hidden": 8, "heads": 2, "local_attention": 2, "dropout": 0.0}}),
        json!({"llama": {"layers": 2, "hidden": 8, "heads": 2}}),
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
    let all = ["query", "key", "value", "attention_output", "ffn_in", "ffn_out"];
    // Settings that change what is computed, ranks that fit these small networks, every map, and shared variants.
    let variants = [
        json!({"lora": {"rank": 2, "freeze_base": false}}),
        json!({"lora": {"rank": 2, "shared": true, "freeze_base": false}}),
        json!({"lora": {"rank": 3, "alpha": 6.0, "maps": all, "freeze_base": false}}),
        json!({"lora": {"rank": 4, "use_rslora": true, "use_dora": true, "maps": all, "freeze_base": false}}),
        json!({"lora": {"rank": 2, "use_dora": true, "shared": true}}),
        json!({"mtl_lora": {"rank": 2, "maps": all, "transform": "full", "freeze_base": false}}),
        json!({"mtl_lora": {"rank": 3, "experts": 2, "temperature": 0.5}}),
        json!({"vera": {"rank": 5, "maps": all, "freeze_base": false}}),
        json!({"vera": {"rank": 16, "shared": true}}),
        json!({"ia3": {"maps": all, "freeze_base": false}}),
        json!({"ia3": {"shared": true}}),
        json!({"poly": {"rank": 2, "skills": 3, "splits": 2, "maps": all, "freeze_base": false}}),
        json!({"hydra_lora": {"rank": 2, "experts": 3, "maps": all, "freeze_base": false}}),
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
        json!({"moe": {"router": "task", "experts": 3, "top_k": 2, "first_layer": 0}}),
        json!({"mix_lora": {"router": "task", "experts": 3, "rank": 2, "freeze_base": false}}),
        json!({"adapter_fusion": {"fused": [
            {"name": "x", "bottleneck": 3, "scale": 1.0, "first_layer": 0},
            {"name": "y", "bottleneck": 2, "scale": 0.5, "first_layer": 0},
        ]}}),
        json!({"prefix": {"length": 3, "shared": true, "freeze_base": false}}),
        json!({"prompt": {"length": 2, "freeze_base": false}}),
        json!({"prompt": {"shared": true}}),
        json!({"bitfit": {"shared": true}}),
        json!({"conditional_norm": {"freeze_base": true}}),
        json!({"hyper_adapters": {"embedding": 5, "bottleneck": 3, "freeze_base": false}}),
        json!({"pals": {"width": 6, "heads": 2, "freeze_base": true}}),
        json!({"cgc": {"shared_experts": 1, "task_experts": 1, "gate": "row"}}),
        json!({"ple": {"levels": 3, "gate": "row", "width": 3}}),
        json!({"ple": {"levels": 1, "gate": "task"}}),
        json!({"dselect_k": {"gate": "row", "experts": 8, "select": 3}}),
    ];
    let variants = variants.into_iter().map(|variant| serde_json::from_value(variant).unwrap());
    // Without folders of adapters there is nothing to fuse: what a saved model says stands for them.
    let all = SharingConfig::all().into_iter().filter(|scheme| scheme.name() != "adapter_fusion");
    all.chain(variants).collect()
}

/// Whether a scheme names only maps that a backbone has.
fn fits(scheme: &SharingConfig, backbone: &FromScratch) -> bool {
    let config = serde_json::to_value(scheme).unwrap();
    let settings = &config[scheme.name()];
    let needs_attention = !settings["maps"].is_null() || settings["attention"] == true;
    match backbone.name() {
        "bag" => !needs_attention && scheme.name() != "prefix",
        "deberta" => scheme.name() != "prefix",
        "modernbert" | "t5" => !["bitfit", "prefix"].contains(&scheme.name()),
        "llama" => !["bitfit", "prefix"].contains(&scheme.name()) && !scheme.build().reads_all_tokens(),
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
        SharingConfig::Prefix(_) | SharingConfig::Prompt(_) => return None,
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

/// The slope along a direction of every parameter of a scheme, against the change of the loss.
#[test]
fn gradients_are_those_of_differences() {
    for (backbone, scheme) in cases() {
        // No gradient goes through the lengths of DoRA's rows: `dora.rs` compares its gradients with PyTorch's.
        let detached = serde_json::to_value(&scheme).unwrap()["lora"]["use_dora"] == true;
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let loss = |parameters: &Parameters| {
            let states = states(&own, parameters);
            let weights: Vec<f32> = (0..9 * 8).map(|i| (i as f32 * 1.3).cos()).collect();
            let weights = Tensor::from_data(burn::tensor::TensorData::new(weights, [9, 8]), &states.device());
            (states * weights).sum()
        };
        let gradients = loss(&parameters).backward();
        let of = |parameters: &Parameters| f64::from(loss(parameters).into_scalar::<f32>());
        for index in 0..parameters.len() {
            let parameter = parameters.parameter(index);
            // One task stands for all.
            let one = parameter.owner != Owner::task("b.c");
            if parameter.is_base() || !parameter.trainable || detached || !one {
                continue;
            }
            let gradient: Option<Vec<f32>> = match parameter.value() {
                ParameterTensor::Vector(t) => {
                    t.grad(&gradients).map(|g| g.into_data().try_into_vec().unwrap())
                }
                ParameterTensor::Matrix(t) => {
                    t.grad(&gradients).map(|g| g.into_data().try_into_vec().unwrap())
                }
            };
            // No token goes through some experts.
            let gradient = gradient.unwrap_or_else(|| vec![0.0; parameter.size()]);
            let size = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
            let direction: Vec<f32> = (0..gradient.len()).map(|i| (i as f32 * 0.37 + 0.4).sin()).collect();
            let length = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
            let step = 4e-3 / length;
            let moved = |by: f32| {
                let mut moved = parameters.clone();
                let values = moved.data(index).iter().zip(&direction).map(|(w, d)| w + by * d).collect();
                moved.set_data(index, values).unwrap();
                of(&moved)
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step * length);
            let expected = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum::<f32>() / length;
            let far = (slope - f64::from(expected)).abs();
            let told = format!("{} {scheme:?} {}: {slope} {expected}", backbone.name(), parameter.name);
            assert!(far < 5e-3 + 2e-2 * f64::from(size), "{told}");
        }
    }
}

/// Frozen layers have no dropout, also where a scheme reads their states; where it changes them they have.
#[test]
fn schemes_that_read_frozen_layers_leave_them_without_dropout() {
    let backbone = json!({"bert": {"layers": 2, "hidden": 8, "heads": 2, "dropout": 0.5}});
    let backbone: FromScratch = serde_json::from_value(backbone).unwrap();
    for (scheme, still) in [
        (json!({"hard": {}}), true),
        (json!({"scalar_mix": {}}), true),
        (json!({"mtan": {}}), true),
        (json!({"adapters": {"bottleneck": 2, "shared": true}}), false),
    ] {
        let (mut own, mut parameters) = trunk(&backbone, &serde_json::from_value(scheme.clone()).unwrap());
        own.freeze(2, &mut parameters);
        let offsets: RowOffsets = OFFSETS.into();
        let input = EncoderInput {
            ids: &IDS,
            positions: &POSITIONS,
            segments: &[0; 9],
            offsets: &offsets,
            datasets: &[],
            offset: PackOffset::default(),
        };
        let of = |dropout_seed| {
            let pass = TrunkPass { dropout_seed, ..TrunkPass::evaluation(&parameters, input) };
            values(own.states(&pass))
        };
        assert_eq!(of(Some(3)) == of(None), still, "{scheme}");
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

/// The schemes that are other weights of the same network.
const MERGED: &[&str] =
    &["hard", "lora", "branch", "soft", "mtl_lora", "vera", "ia3", "poly", "bitfit", "conditional_norm"];

/// The weights with a task's updates folded in, in a network without the scheme.
#[test]
fn merged_weights_give_the_same_states() {
    for (backbone, scheme) in cases() {
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        stir_biases(&mut parameters);
        let (hard, mut of_hard) = trunk(&backbone, &SharingConfig::default());
        stir_biases(&mut of_hard);
        for (task, rows) in tasks().iter().zip(TOKENS) {
            let Some(merged) = own.sharing().merged(task, &parameters) else {
                assert!(!MERGED.contains(&scheme.name()), "{scheme:?}");
                continue;
            };
            let mut folded = of_hard.clone();
            merged.into_iter().for_each(|(index, tensor)| folded.put(index, tensor));
            let width = hard.hidden();
            let part = |states: Tensor<2>| values(states.slice([rows.clone(), 0..width]));
            let found = part(states(&own, &parameters));
            let expected = part(states(&hard, &folded));
            assert!(close(&found, &expected), "{} {scheme:?} {task}", backbone.name());
        }
    }
}

/// Gives biases, which begin as zeros, other values: a scheme may multiply them.
fn stir_biases(parameters: &mut Parameters) {
    for index in 0..parameters.len() {
        if parameters.parameter(index).role == Role::Bias {
            let values = (0..parameters.parameter(index).size()).map(|i| (i as f32).cos() * 0.2).collect();
            parameters.set_data(index, values).unwrap();
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
    let [bag, bert, deberta, _, _, t5] = &backbones();
    let without_window = serde_json::from_value(json!({"bag": {"width": 8, "window": 0}})).unwrap();
    for (backbone, config, says) in [
        (bert, json!({"lora": {"rank": 9}}), "sharing.lora.rank: found 9, expected from 1 to 8"),
        (bert, json!({"lora": {"rank": 0}}), "sharing.lora.rank: found 0"),
        (
            bert,
            json!({"lora": {"rank": 2, "first_layer": 2}}),
            "sharing.lora.first_layer: found 2, expected below 2",
        ),
        (bert, json!({"lora": {"rank": 2, "alpha": 0.0}}), "sharing.lora.alpha: found 0"),
        (bert, json!({"lora": {"rank": 2, "maps": ["ffn_gate"]}}), "sharing.lora.maps: found ffn_gate"),
        (bert, json!({"lora": {"rank": 2, "maps": []}}), "sharing.lora.maps: found none"),
        (bert, json!({"lora": {"rank": 2, "dropout": 1.5}}), "sharing.lora.dropout: found 1.5"),
        (
            bag,
            json!({"ia3": {"maps": ["key"]}}),
            "sharing.ia3.maps: found key, expected maps of the backbone: ffn_in, ffn_out",
        ),
        (&without_window, json!({"lora": {"rank": 2}}), "sharing.lora.maps: found none in the backbone"),
        (bert, json!({"mtl_lora": {"rank": 9}}), "sharing.mtl_lora.rank: found 9"),
        (bert, json!({"mtl_lora": {"experts": 0}}), "sharing.mtl_lora.experts: found 0"),
        (bert, json!({"mtl_lora": {"temperature": 0.0}}), "sharing.mtl_lora.temperature: found 0"),
        (bert, json!({"vera": {"rank": 0}}), "sharing.vera.rank: found 0"),
        (bert, json!({"poly": {"splits": 3}}), "sharing.poly.splits: found 3, expected a divisor of 8 and 8"),
        (bert, json!({"poly": {"skills": 0}}), "sharing.poly.skills: found 0"),
        (bert, json!({"hydra_lora": {"experts": 0}}), "sharing.hydra_lora.experts: found 0"),
        (bert, json!({"hydra_lora": {"rank": 9}}), "sharing.hydra_lora.rank: found 9"),
        (
            bert,
            json!({"lora": {"init_from": {"c": "x"}}}),
            "sharing.lora.init_from: found c, expected a task: a, b.c",
        ),
        (
            bert,
            json!({"ia3": {"shared": true, "init_from": {"a": "x"}}}),
            "sharing.ia3.init_from: found a table of tasks",
        ),
        (bert, json!({"poly": {"init_from": {"a": "x"}}}), "sharing.poly.init_from: found a table of tasks"),
        (bert, json!({"adapters": {"bottleneck": 0}}), "sharing.adapters.bottleneck: found 0"),
        (bert, json!({"adapters": {"first_layer": 2}}), "sharing.adapters.first_layer: found 2"),
        (bert, json!({"adapters": {"scale": 0.0}}), "sharing.adapters.scale: found 0"),
        (bert, json!({"branch": {"first_layer": 2}}), "sharing.branch.first_layer: found 2"),
        (bert, json!({"branch": {"groups": [["a"]]}}), "sharing.branch.groups: found no group with \"b.c\""),
        (
            bert,
            json!({"branch": {"groups": [["a", "b.c"], ["a"]]}}),
            "sharing.branch.groups: found \"a\" more than once",
        ),
        (bert, json!({"branch": {"groups": [["a", "b.c", "d"]]}}), "sharing.branch.groups: found \"d\""),
        (
            bert,
            json!({"branch": {"levels": [
                {"first_layer": 0, "groups": [["a"], ["b.c"]]},
                {"first_layer": 1, "groups": [["a", "b.c"]]},
            ]}}),
            "sharing.branch.levels.groups: found a, b.c",
        ),
        (bert, json!({"cross_stitch": {"own": 1.5}}), "sharing.cross_stitch.own: found 1.5"),
        (bert, json!({"sluice": {"subspaces": 3}}), "sharing.sluice.subspaces: found 3"),
        (
            bert,
            json!({"sluice": {"subspaces": 4, "orthogonality": 1.0}}),
            "sharing.sluice.orthogonality: found 1",
        ),
        (
            bert,
            json!({"learn_to_branch": {"temperature": 0.0}}),
            "sharing.learn_to_branch.temperature: found 0",
        ),
        (bert, json!({"scalar_mix": {"first_layer": 2}}), "sharing.scalar_mix.first_layer: found 2"),
        (bert, json!({"mtan": {"width": 0}}), "sharing.mtan.width: found 0"),
        (bert, json!({"cgc": {"shared_experts": 0, "task_experts": 0}}), "sharing.cgc.task_experts: found 0"),
        (bert, json!({"ple": {"levels": 0}}), "sharing.ple.levels: found 0"),
        (bert, json!({"dselect_k": {"experts": 6}}), "sharing.dselect_k.experts: found 6"),
        (bert, json!({"dselect_k": {"select": 5}}), "sharing.dselect_k.select: found 5"),
        (bert, json!({"dselect_k": {"gate": "token"}}), "sharing.dselect_k.gate: found token"),
        (bert, json!({"bitfit": {"first_layer": 2}}), "sharing.bitfit.first_layer: found 2"),
        (t5, json!({"bitfit": {}}), "sharing.bitfit.first_layer: found 0, expected a backbone with biases"),
        (
            bert,
            json!({"conditional_norm": {"first_layer": 2}}),
            "sharing.conditional_norm.first_layer: found 2",
        ),
        (bert, json!({"task_embedding": {"first_layer": 2}}), "sharing.task_embedding.first_layer: found 2"),
        (bert, json!({"hyper_adapters": {"embedding": 0}}), "sharing.hyper_adapters.embedding: found 0"),
        (bert, json!({"pals": {"width": 5}}), "sharing.pals.width: found 5, expected a multiple of 4"),
        (
            bert,
            json!({"moe": {"experts": 2, "top_k": 3}}),
            "sharing.moe.top_k: found 3, expected from 1 to 2",
        ),
        (bert, json!({"moe": {"balance": -1.0}}), "sharing.moe.balance: found -1"),
        (bert, json!({"mix_lora": {"rank": 9}}), "sharing.mix_lora.rank: found 9"),
        (bert, json!({"prefix": {"length": 0}}), "sharing.prefix.length: found 0"),
        (deberta, json!({"prefix": {}}), "sharing.prefix.length: found 16, expected another scheme"),
        (t5, json!({"prefix": {}}), "sharing.prefix.length: found 16, expected another scheme"),
        (&without_window, json!({"prompt": {}}), "sharing.prompt.first_layer: found 0"),
        (bert, json!({"mmoe": {"experts": 0}}), "sharing.mmoe.experts: found 0"),
        (bert, json!({"mmoe": {"width": 0}}), "sharing.mmoe.width: found 0"),
    ] {
        let scheme: SharingConfig = serde_json::from_value(config).unwrap();
        let mut parameters = Parameters::new(&Device::flex(), 5);
        let mut trunk = Trunk::new(build(backbone, VOCABULARY, [0, 1], &mut parameters).unwrap());
        let error = trunk.set_sharing(scheme.build(), &tasks(), &mut parameters).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

/// Numbers that do not come from this code: the formulas in NumPy, checked against the authors' code.
#[test]
fn updates_of_one_map_are_those_of_the_formulas() {
    let a = vec![0.5, -0.25, 1.0, 0.2, 0.4, -0.6];
    let (b1, b2) = ([1.0, 0.5, -0.5, 2.0], [0.25, -1.0, 1.5, 0.5]);
    let stacked = [b1, b2].concat();
    // The rows of two matrices side by side.
    let side = vec![1.0, 0.5, 0.25, -1.0, -0.5, 2.0, 1.5, 0.5];
    let skills = vec![0.5, 0.2, -0.25, 0.4, 1.0, -0.6, 1.0, 0.0, 0.0, 1.0, 0.5, 0.5];
    let transposed = vec![1.0, -0.5, 0.5, 2.0, 0.25, 1.5, -1.0, 0.5];
    let mtl = |temperature: f64, transform: &str| json!({"mtl_lora": {"rank": 2, "alpha": 4.0, "experts": 2, "temperature": temperature, "transform": transform}});
    let of_mtl = |transform: Vec<f32>, mixture: Vec<f32>| {
        vec![("a", a.clone()), ("b", stacked.clone()), ("transform", transform), ("mixture", mixture)]
    };
    for (config, set, expected) in [
        (mtl(0.1, "diagonal"), of_mtl(vec![1.0, 1.0], vec![0.0, 0.0]), [2.325, -0.75]),
        (mtl(0.1, "diagonal"), of_mtl(vec![1.5, -0.5], vec![0.3, 0.1]), [4.386_766, 0.461_902]),
        (mtl(0.5, "diagonal"), of_mtl(vec![1.5, -0.5], vec![0.3, 0.1]), [3.053_799, 2.620_039]),
        (mtl(0.1, "full"), of_mtl(vec![1.0, 0.5, 0.0, 2.0], vec![0.3, 0.1]), [0.755_951, -7.105_652]),
        (
            json!({"poly": {"rank": 2, "skills": 2}}),
            vec![("a", skills), ("b", transposed), ("logits", vec![1.0, 0.5])],
            [0.576_180, -0.554_960],
        ),
        (
            json!({"hydra_lora": {"rank": 2, "alpha": 4.0, "experts": 2}}),
            vec![("a", a.clone()), ("b", side), ("router", vec![0.1, 0.2, 0.4, 0.3, -0.1, 0.0])],
            [2.390_545, 0.517_210],
        ),
    ] {
        let mut parameters = Parameters::new(&Device::flex(), 5);
        let weight = parameters.add_matrix(ParameterSpec {
            name: "backbone.w".into(),
            shape: &[2, 3],
            owner: Owner::Trunk,
            role: Role::Linear,
            depth: None,
            init: Init::Zeros,
        });
        let map = SiteWeight { map: Map::Query, weight, bias: None, rows: 0..2, inputs: 3 };
        let shape = TrunkShape { hidden: 3, layers: vec![vec![map]], takes_prefixes: false, causal: false };
        let scheme: SharingConfig = serde_json::from_value(config).unwrap();
        let mut sharing = scheme.build();
        sharing.build(&shape, &["t".to_owned()], &mut parameters).unwrap();
        for (part, values) in set {
            let index = parameters.iter().position(|p| p.name.ends_with(&format!(".{part}"))).unwrap();
            parameters.set_data(index, values).unwrap();
        }
        let x = Tensor::<2>::from_floats([[1.0, -2.0, 0.5]], &Device::flex());
        let y = match sharing.merged("t", &parameters) {
            Some(merged) => match &merged[..] {
                [(_, ParameterTensor::Matrix(w))] => x.matmul(w.clone().transpose()),
                _ => panic!("one weight"),
            },
            None => {
                let context = LayerContext::plain(&parameters, Precision::F32, None);
                let site = Site { layer: 0, map: Map::Query };
                sharing.linear(site, &context, &x, Tensor::zeros([1, 2], &Device::flex()), 0..2)
            }
        };
        let y = values(y);
        assert!(close(&y, &expected), "{scheme:?}: {y:?}");
    }
}

/// The table of docs/adapters.md.
#[test]
fn schemes_have_as_many_parameters_as_their_documentation_says() {
    let bert = serde_json::from_value(json!({"bert": {"layers": 3, "hidden": 16, "heads": 2}})).unwrap();
    // Two tasks; queries and values of three layers, of 16 by 16.
    let sites = 3 * 2;
    for (scheme, of_task, of_all) in [
        (json!({"lora": {"rank": 4}}), sites * 4 * 32, 0),
        (json!({"lora": {"rank": 4, "use_dora": true}}), sites * (4 * 32 + 16), 0),
        (json!({"lora": {"rank": 4, "shared": true}}), 0, sites * 4 * 32),
        (json!({"mtl_lora": {"rank": 4}}), sites * (4 + 3), sites * (4 * 16 + 3 * 4 * 16)),
        (
            json!({"mtl_lora": {"rank": 4, "transform": "full"}}),
            sites * (16 + 3),
            sites * (4 * 16 + 3 * 4 * 16),
        ),
        (json!({"vera": {"rank": 5}}), sites * (5 + 16), 5 * 32),
        (json!({"ia3": {}}), 3 * (16 + 16 + 64), 0),
        (json!({"poly": {"rank": 4, "splits": 2}}), sites * 2 * 4, sites * 4 * 4 * 32),
        (json!({"hydra_lora": {"rank": 4}}), 0, sites * (4 * 16 + 2 * (4 * 16 + 16))),
    ] {
        let scheme: SharingConfig = serde_json::from_value(scheme).unwrap();
        let (_, parameters) = trunk(&bert, &scheme);
        let size = |of: Option<&str>| -> usize {
            let own = parameters.iter().filter(|p| !p.is_base() && p.owner.first_task() == of);
            own.map(polytask_model::Parameter::size).sum()
        };
        assert_eq!(
            [size(Some("a")), size(Some("b.c")), size(None)],
            [of_task, of_task, of_all],
            "{scheme:?}"
        );
    }
}

/// ALBERT's layers have the same weights: tasks can have copies of all or of none, and each layer its own update.
#[test]
fn layers_with_the_same_weights_have_own_ones_together() {
    let checkpoint = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/albert");
    let on = |scheme: &SharingConfig| {
        let mut parameters = Parameters::new(&Device::flex().autodiff(), 5);
        let mut trunk = Trunk::new(open(&checkpoint, &mut parameters, Some(0.0)).unwrap());
        trunk.set_sharing(scheme.build(), &tasks(), &mut parameters).map(|()| (trunk, parameters))
    };
    let (hard, of_hard) = on(&SharingConfig::default()).unwrap();
    let expected = values(states(&hard, &of_hard));
    for scheme in SharingConfig::all() {
        let name = scheme.name();
        match (name, on(&scheme)) {
            ("branch" | "cross_stitch" | "sluice" | "learn_to_branch", Err(error)) => {
                let says = format!("sharing.{name}.first_layer: found");
                assert!(error.to_string().starts_with(&says), "{name}: {error}");
                assert!(
                    error.to_string().contains("0: this backbone's layers have the same weights"),
                    "{name}"
                );
            }
            ("adapter_fusion", Err(_)) => {}
            (_, Err(error)) => panic!("{name}: {error}"),
            (_, Ok((own, parameters))) => {
                if neutral(scheme.clone()) == Some(scheme.clone()) {
                    assert!(close(&values(states(&own, &parameters)), &expected), "{name}");
                }
            }
        }
    }
    for scheme in
        [json!({"branch": {"first_layer": 0}}), json!({"cross_stitch": {"first_layer": 0, "own": 0.7}})]
    {
        let (own, parameters) = on(&serde_json::from_value(scheme.clone()).unwrap()).unwrap();
        assert!(close(&values(states(&own, &parameters)), &expected), "{scheme}");
    }
}

/// Under every scheme on a decoder no token sees one after it, and a text that is written token by token gets the logits of the whole
/// text, whether keys and values are kept or not.
#[test]
fn on_a_decoder_texts_are_written_as_they_are_read() {
    let of_llama = cases().filter(|(backbone, _)| backbone.name() == "llama");
    let mut kept = 0;
    for (backbone, scheme) in of_llama {
        let (trunk, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let text = [3, 7, 1, 4, 9, 2, 11];
        let logits = |text: &[u32]| {
            let mut writer = trunk.write(&parameters, "b.c", None, vec![text.to_vec()]);
            values(writer.step(&[0], &text[text.len() - 1..]))
        };
        let mut writer = trunk.write(&parameters, "b.c", None, vec![text[..3].to_vec()]);
        kept += usize::from(writer.keeps_states());
        for length in 3..=text.len() {
            let found = values(writer.step(&[0], &text[length - 1..length]));
            assert!(close(&found, &logits(&text[..length])), "{scheme:?}, {length} tokens");
        }
        // What comes after a token leaves its state as it is.
        let states = |ids: &[u32; 9]| {
            let (offsets, lanes): (RowOffsets, _) = (OFFSETS.into(), lanes(&trunk));
            let input = EncoderInput {
                ids,
                positions: &POSITIONS,
                segments: &[0; 9],
                offsets: &offsets,
                datasets: &[],
                offset: PackOffset::default(),
            };
            let pass = TrunkPass { lanes: &lanes, ..TrunkPass::evaluation(&parameters, input) };
            let all = values(trunk.states(&pass));
            let width = all.len() / 9;
            [all[..2 * width].to_vec(), all[5 * width..8 * width].to_vec()].concat()
        };
        let mut other = IDS;
        (other[2], other[8]) = (17, 13);
        assert!(close(&states(&IDS), &states(&other)), "{scheme:?}");
    }
    assert!(kept > 20, "keys and values are kept under most schemes: {kept}");
}
