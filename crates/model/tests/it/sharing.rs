//! What holds of every sharing scheme, on every backbone: each is in the catalogue, and so in these tests.

use burn::tensor::{Device, Tensor};
use kernels::RowOffsets;
use polytask_model::{
    EncoderInput, FromScratch, Init, Lanes, LayerContext, Map, Owner, PackOffset, ParameterSpec,
    ParameterTensor, Parameters, Precision, Role, SHARING_CATALOGUE, SharingConfig, Site, SiteWeight, Trunk,
    TrunkPass, TrunkShape, build, load_sharing, open, save,
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
    ];
    let variants = variants.into_iter().map(|variant| serde_json::from_value(variant).unwrap());
    SharingConfig::all().into_iter().chain(variants).collect()
}

/// Whether a scheme names only maps that a backbone has.
fn fits(scheme: &SharingConfig, backbone: &FromScratch) -> bool {
    let config = serde_json::to_value(scheme).unwrap();
    config[scheme.name()]["maps"].is_null() || backbone.name() != "bag"
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

/// The slopes along two directions of every parameter of a scheme, against the change of the loss.
#[test]
fn gradients_are_those_of_differences() {
    for (backbone, scheme) in cases() {
        // No gradient goes through the lengths of DoRA's rows: `dora.rs` compares its gradients with PyTorch's.
        let detached = serde_json::to_value(&scheme).unwrap()["lora"]["use_dora"] == true;
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        let loss = |parameters: &Parameters| {
            let states = states(&own, parameters, &lanes(&own));
            let weights: Vec<f32> = (0..9 * 8).map(|i| (i as f32 * 1.3).cos()).collect();
            let weights = Tensor::from_data(burn::tensor::TensorData::new(weights, [9, 8]), &states.device());
            (states * weights).sum()
        };
        let gradients = loss(&parameters).backward();
        let of = |parameters: &Parameters| f64::from(loss(parameters).into_scalar::<f32>());
        for index in 0..parameters.len() {
            let parameter = parameters.parameter(index);
            // One task and one layer stand for all.
            let one = parameter.owner != Owner::task("b.c") && parameter.is_in_prefix(1);
            if parameter.is_base() || !parameter.trainable || detached || !one {
                continue;
            }
            let gradient: Vec<f32> = match parameter.value() {
                ParameterTensor::Vector(t) => t.grad(&gradients).unwrap().into_data().try_into_vec().unwrap(),
                ParameterTensor::Matrix(t) => t.grad(&gradients).unwrap().into_data().try_into_vec().unwrap(),
            };
            let size = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
            for turn in [0.37f32, 1.91] {
                let direction: Vec<f32> =
                    (0..gradient.len()).map(|i| (i as f32 * turn + 0.4).sin()).collect();
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
}

/// The weights with a task's updates folded in, in a network without the scheme.
#[test]
fn merged_weights_give_the_same_states() {
    for (backbone, scheme) in cases() {
        let (own, mut parameters) = trunk(&backbone, &scheme);
        stir(&mut parameters);
        stir_biases(&mut parameters);
        let (hard, mut of_hard) = trunk(&backbone, &SharingConfig::default());
        stir_biases(&mut of_hard);
        for (task, rows) in tasks().iter().zip([0..5, 5..9]) {
            let Some(merged) = own.sharing().merged(task, &parameters) else {
                assert_eq!(scheme.name(), "hydra_lora");
                continue;
            };
            let mut folded = of_hard.clone();
            merged.into_iter().for_each(|(index, tensor)| folded.put(index, tensor));
            let width = hard.hidden();
            let part = |states: Tensor<2>| values(states.slice([rows.clone(), 0..width]));
            let found = part(states(&own, &parameters, &lanes(&own)));
            let expected = part(states(&hard, &folded, Lanes::NONE));
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
    let [bag, bert, _] = &backbones();
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
        let shape = TrunkShape { hidden: 3, layers: vec![vec![map]] };
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
