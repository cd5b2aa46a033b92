//! Ten steps of every optimizer against reference implementations (`scripts/make_optimizer_fixtures.py`).

use super::*;
use burn::tensor::TensorData;
use model::{DeviceName, Init, Owner, ParameterSpec, Role};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn a_task_may_have_its_own_rate() {
    let config = AdamWConfig { learning_rate: 1e-4, head_learning_rate: Some(1e-3), ..Default::default() };
    let rates = OptimizerConfig::AdamW(config).rates([("a".into(), None), ("b".into(), Some(5e-3))]);
    let mut parameters = Parameters::new(&Device::flex(), 1);
    parameters.add_matrix(linear("backbone.w", &[1, 1], Init::Zeros));
    for task in ["a", "b"] {
        parameters.head(task).vector("bias", 1, Init::Zeros);
    }
    assert_eq!(parameters.iter().map(|p| rates.of(p)).collect::<Vec<_>>(), [1e-4, 1e-3, 5e-3]);
}

#[test]
fn adapters_have_the_rate_of_heads_or_their_own() {
    let of = |adapter_learning_rate| {
        let config = AdamWConfig {
            learning_rate: 1e-4,
            head_learning_rate: Some(1e-3),
            adapter_learning_rate,
            ..Default::default()
        };
        let rates = OptimizerConfig::AdamW(config).rates([("b".into(), Some(5e-3))]);
        let mut parameters = Parameters::new(&Device::flex(), 1);
        for (owner, role) in
            [(Owner::Trunk, Role::Gate), (Owner::task("a"), Role::Adapter), (Owner::task("b"), Role::Adapter)]
        {
            let name = format!("sharing.{owner:?}").into();
            parameters.add_vector(ParameterSpec {
                name,
                shape: &[1],
                owner,
                role,
                depth: None,
                init: Init::Zeros,
            });
        }
        parameters.head("b").vector("bias", 1, Init::Zeros);
        parameters.iter().map(|p| rates.of(p)).collect::<Vec<_>>()
    };
    assert_eq!(of(None), [1e-3, 1e-3, 5e-3, 5e-3]);
    assert_eq!(of(Some(2e-3)), [2e-3, 2e-3, 2e-3, 5e-3]);
}

fn linear<'a>(name: &'a str, shape: &'a [usize], init: Init) -> ParameterSpec<'a> {
    let (owner, role) = (Owner::Trunk, Role::Linear);
    ParameterSpec { name: name.into(), shape, owner, role, depth: None, init }
}

#[derive(Deserialize)]
struct Fixture {
    parameters: Vec<Start>,
    scale: f64,
    factors: Vec<f64>,
    /// The rows of the table that each step looks up.
    rows: Vec<Vec<u32>>,
    gradients: Vec<BTreeMap<String, Option<Vec<f32>>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Start {
    name: String,
    shape: Vec<usize>,
    start: Vec<f32>,
}

#[derive(Deserialize)]
struct Case {
    config: OptimizerConfig,
    /// Every parameter after so many steps.
    steps: BTreeMap<usize, Values>,
    /// The weights that would be saved after the last, where these are others.
    averaged: Option<Values>,
}

/// Values by parameter.
type Values = BTreeMap<String, Vec<f64>>;

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../tests/fixtures/optimizers.json")).unwrap()
}

fn parameters(fixture: &Fixture, device: &Device) -> Parameters {
    let mut parameters = Parameters::new(&device.clone().autodiff(), 1);
    for Start { name, shape, start } in &fixture.parameters {
        let (owner, role) = match name.as_str() {
            name if name.starts_with("head") => (Owner::task("x"), Role::Head),
            name if name.contains("embedding") => (Owner::Trunk, Role::Embedding),
            _ if shape.len() == 1 => (Owner::Trunk, Role::Bias),
            _ => (Owner::Trunk, Role::Linear),
        };
        let (name, init) = (name.into(), Init::Zeros);
        let spec = ParameterSpec { name, shape, owner, role, depth: None, init };
        let index = match shape.len() {
            2 => parameters.add_matrix(spec).index(),
            _ => parameters.add_vector(spec).index(),
        };
        parameters.set_data(index, start.clone()).unwrap();
    }
    parameters
}

/// The gradients of a step; that of the table as `with_row_subset` gives it, or whole.
fn gradients(fixture: &Fixture, step: usize, device: &Device, rows_only: bool) -> Gradients {
    let mut gradients = Gradients::none(fixture.parameters.len());
    for (i, Start { name, shape, .. }) in fixture.parameters.iter().enumerate() {
        let Some(values) = &fixture.gradients[step][name] else { continue };
        let gradient = match filled(shape, values.clone(), device) {
            ParameterTensor::Vector(g) => Gradient::Vector(g),
            ParameterTensor::Matrix(g) if rows_only && name.contains("embedding") => {
                let rows = &fixture.rows[step];
                Gradient::Rows { rows: rows.clone().into(), of: kernels::gather_rows(g, rows) }
            }
            ParameterTensor::Matrix(g) => Gradient::Matrix(g),
        };
        gradients.set(i, gradient);
    }
    gradients
}

fn filled(shape: &[usize], values: Vec<f32>, device: &Device) -> ParameterTensor {
    match *shape {
        [rows, columns] => {
            ParameterTensor::Matrix(Tensor::from_data(TensorData::new(values, [rows, columns]), device))
        }
        _ => ParameterTensor::Vector(Tensor::from_data(TensorData::new(values, [shape[0]]), device)),
    }
}

#[test]
fn ten_steps_equal_the_references() {
    let fixture = fixture();
    let mut seen = BTreeSet::new();
    for name in DeviceName::BUILT {
        let device = name.open().unwrap();
        for (case, rows_only) in fixture.cases.iter().flat_map(|case| [(case, true), (case, false)]) {
            let mut parameters = parameters(&fixture, &device);
            let mut state = OptimizerState::new(parameters.len());
            let rates = case.config.rates([]);
            for (step, factor) in fixture.factors.iter().enumerate() {
                let gradients = gradients(&fixture, step, &device, rows_only);
                case.config.step(&mut parameters, gradients, &mut state, &rates, fixture.scale, *factor);
                let Some(expected) = case.steps.get(&(step + 1)) else { continue };
                near(&parameters, expected, &format!("{:?} after step {}", case.config, step + 1));
            }
            let averaged = case.config.averaged(&parameters, &state);
            assert_eq!(averaged.is_some(), case.averaged.is_some(), "{:?}", case.config);
            if let (Some(found), Some(expected)) = (averaged, &case.averaged) {
                near(&found, expected, &format!("the average of {:?}", case.config));
            }
            let config = serde_json::to_value(&case.config).unwrap();
            seen.extend(config.as_object().unwrap().keys().cloned());
        }
    }
    assert!(OptimizerConfig::all().iter().all(|config| seen.contains(config.name())), "{seen:?}");
    assert_eq!(OptimizerConfig::all().len(), CATALOGUE.len());
}

fn near(parameters: &Parameters, expected: &Values, what: &str) {
    for (i, parameter) in parameters.iter().enumerate() {
        let (name, found) = (&parameter.name, parameters.data(i));
        assert_eq!(found.len(), expected[name].len());
        for (found, expected) in found.iter().zip(&expected[name]) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= 1e-5 * expected.abs().max(0.1), "{what}, {name}: {found}, expected {expected}");
        }
    }
}

/// The warm-up of the package is counted from 1: it has no step without a learning rate.
#[test]
fn without_a_schedule_the_rate_rises_and_stays() {
    let config =
        OptimizerConfig::ScheduleFree(ScheduleFreeConfig { warmup_ratio: 0.4, ..Default::default() });
    let factors = [0, 1, 3, 4, 9].map(|step| config.builtin_schedule_factor(step, 10).unwrap());
    assert_eq!(factors, [0.25, 0.5, 1.0, 1.0, 1.0]);
    assert_eq!(OptimizerConfig::default().builtin_schedule_factor(0, 10), None);
    let mut settings = crate::Settings { optimizer: config, ..Default::default() };
    assert_eq!((settings.factor(0, 10), settings.errors()), (0.25, vec![]));
    settings.schedule = serde_json::from_str(r#"{"cosine": {}}"#).unwrap();
    let errors: Vec<String> = settings.errors().iter().map(ToString::to_string).collect();
    assert!(
        errors.len() == 1 && errors[0].starts_with("schedule.cosine: found cosine, expected no [schedule]")
    );
}

#[test]
fn the_state_has_the_shapes_that_are_announced() {
    let fixture = fixture();
    let device = Device::flex();
    for case in &fixture.cases {
        let mut parameters = parameters(&fixture, &device);
        let mut state = OptimizerState::new(parameters.len());
        let gradients = gradients(&fixture, 1, &device, true);
        case.config.step(&mut parameters, gradients, &mut state, &case.config.rates([]), 1.0, 1.0);
        for (parameter, state) in parameters.iter().zip(state.iter()) {
            let shapes = state.unwrap().slots.iter().map(|slot| match slot {
                ParameterTensor::Vector(t) => t.dims().to_vec(),
                ParameterTensor::Matrix(t) => t.dims().to_vec(),
            });
            assert_eq!(shapes.collect::<Vec<_>>(), case.config.state_shapes(parameter), "{:?}", case.config);
            assert_eq!(state.unwrap().step, 1);
        }
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let errors = |json: &str| -> Vec<String> {
        let config: OptimizerConfig = serde_json::from_str(json).unwrap();
        config.errors().iter().map(ToString::to_string).collect()
    };
    for (name, _) in CATALOGUE {
        assert_eq!(errors(&format!(r#"{{"{name}": {{}}}}"#)), [""; 0]);
        let of_adapters = errors(&format!(r#"{{"{name}": {{"adapter_learning_rate": -1}}}}"#));
        let expected = "adapter_learning_rate: found -1, expected a number above 0, such as 1e-3";
        assert_eq!(of_adapters, [format!("optimizer.{name}.{expected}")]);
        let settings = r#"{"learning_rate": 0, "weight_decay": -1, "layerwise_lr_decay": 2}"#;
        let wrong = errors(&format!(r#"{{"{name}": {settings}}}"#));
        let expected = [
            format!("optimizer.{name}.learning_rate: found 0, expected a number above 0, such as 5e-5"),
            format!("optimizer.{name}.head_learning_rate: found 0, expected a number above 0, such as 1e-3"),
            format!(
                "optimizer.{name}.layerwise_lr_decay: found 2, expected a number above 0 to 1, such as 0.9"
            ),
        ];
        assert_eq!(wrong[..3], expected);
        assert!(
            wrong.len() == 4 && wrong[3].starts_with(&format!("optimizer.{name}.weight_decay: found -1"))
        );
    }
    for json in [
        r#"{"sgd": {"momentum": 1}}"#,
        r#"{"lion": {"beta1": 1.5}}"#,
        r#"{"lion": {"beta2": -0.1}}"#,
        r#"{"adafactor": {"clip": 0}}"#,
        r#"{"muon": {"momentum": 1}}"#,
        r#"{"adamw": {"epsilon": 0}}"#,
        r#"{"schedule_free_adamw": {"beta": 0}}"#,
        r#"{"schedule_free_adamw": {"warmup_ratio": 1.5}}"#,
    ] {
        assert_eq!(errors(json).len(), 1, "{json}");
    }
}

/// Matrices large enough for products to be divided among threads.
#[test]
fn muon_has_the_same_bits_for_every_number_of_threads() {
    for shape in [[512, 384], [384, 1536], [1000, 16]] {
        let moved = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut parameters = Parameters::new(&Device::flex().autodiff(), 3);
                let w = parameters.add_matrix(linear("backbone.layer.0.w", &shape, Init::Normal(0.1)));
                let g = parameters.add_matrix(linear("backbone.layer.0.g", &shape, Init::Normal(1.0)));
                let mut gradients = Gradients::none(2);
                gradients.set(w.index(), Gradient::Matrix(parameters.matrix(g).inner()));
                let muon = OptimizerConfig::Muon(MuonConfig::default());
                muon.step(&mut parameters, gradients, &mut OptimizerState::new(2), &muon.rates([]), 1.0, 1.0);
                parameters.data(w.index()).iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
            })
        };
        let one = moved(1);
        for threads in [2, 3, 8] {
            assert!(moved(threads) == one, "{shape:?}, {threads} threads");
        }
    }
}
