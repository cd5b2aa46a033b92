//! Gates, experts and sums between trunks against numbers that do not come from this code: the formulas of the papers in f64 (NumPy).

use burn::tensor::{Device, Tensor, TensorData};
use kernels::RowOffsets;
use polytask_model::{FromScratch, Parameters, SharingConfig, Trunk, build};
use serde_json::{Value, json};

fn matrix<const N: usize, const M: usize>(rows: [[f32; M]; N]) -> Tensor<2> {
    Tensor::from_floats(rows, &Device::flex())
}

fn values(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

fn assert_close(found: Tensor<2>, expected: &[f32]) {
    let found = values(found);
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6), "{found:?} for {expected:?}");
}

/// A bag of two numbers a token with a scheme over two tasks, some of whose parameters are set by the end of their names.
fn trunk(scheme: Value, set: &[(&str, Vec<f32>)]) -> (Trunk, Parameters) {
    let backbone: FromScratch =
        serde_json::from_value(json!({"bag": {"width": 2, "window": 1, "dropout": 0.0}})).unwrap();
    let mut parameters = Parameters::new(&Device::flex(), 5);
    let mut trunk = Trunk::new(build(&backbone, 20, [0, 1], &mut parameters).unwrap());
    let scheme: SharingConfig = serde_json::from_value(scheme).unwrap();
    trunk.set_sharing(scheme.build(), &["a".into(), "b".into()], &mut parameters).unwrap();
    for (name, values) in set {
        let index = parameters.find(&format!("sharing.{}.{name}", scheme.name())).expect(name);
        parameters.set_data(index, values.clone()).unwrap();
    }
    (trunk, parameters)
}

/// What a task reads of one token with the state `x`.
fn readout(trunk: &Trunk, parameters: &Parameters, task: &str, x: [f32; 2]) -> Tensor<2> {
    let rows: RowOffsets = [0, 1].into();
    let states = trunk.over_states(parameters, matrix([x]), &rows);
    trunk.readout(Some(task), parameters, states, &rows)
}

/// The bias that lets an expert, which begins as the identity, give `out` for `x`.
fn giving(out: [f32; 2], x: [f32; 2]) -> Vec<f32> {
    vec![out[0] - x[0], out[1] - x[1]]
}

#[test]
fn experts_are_weighted_by_the_gate_of_the_task() {
    let x = [1.0, -0.5];
    let (trunk, parameters) = trunk(
        json!({"mmoe": {"experts": 3}}),
        &[
            (".expert.0.out.bias", giving([1.0, 2.0], x)),
            (".expert.1.out.bias", giving([0.0, -1.0], x)),
            (".expert.2.out.bias", giving([3.0, 0.5], x)),
            ("a.gate", vec![0.5, 0.1, -0.2, 0.3, 0.4, -0.6]),
        ],
    );
    assert_close(readout(&trunk, &parameters, "a", x), &[1.775_136, 0.802_195]);
}

#[test]
fn shared_and_own_experts_and_the_shared_path() {
    let x = [0.25, 0.5];
    let experts = |level: &str| {
        [
            (format!(".{level}expert.0.out.bias"), giving([1.0, 2.0], x)),
            (format!("a.{level}expert.0.out.bias"), giving([0.0, -1.0], x)),
            (format!("b.{level}expert.0.out.bias"), giving([3.0, 0.5], x)),
        ]
    };
    let set = |names: &[(String, Vec<f32>)], more: &[(&'static str, Vec<f32>)]| -> Vec<(String, Vec<f32>)> {
        names.iter().cloned().chain(more.iter().map(|(name, of)| ((*name).to_owned(), of.clone()))).collect()
    };
    let of = |scheme: Value, set: Vec<(String, Vec<f32>)>| {
        let set: Vec<(&str, Vec<f32>)> = set.iter().map(|(name, of)| (name.as_str(), of.clone())).collect();
        trunk(scheme, &set)
    };
    let own = [("a.gate", vec![1.0, 0.0]), ("b.gate", vec![0.0, 1.0])];
    let (cgc, parameters) =
        of(json!({"cgc": {"shared_experts": 1, "task_experts": 1, "gate": "task"}}), set(&experts(""), &own));
    assert_close(readout(&cgc, &parameters, "a", x), &[0.731_059, 1.193_176]);
    assert_close(readout(&cgc, &parameters, "b", x), &[2.462_117, 0.903_412]);
    // In the second level task a looks at the shared expert alone, which gives the shared path as it is.
    let path = [(".level.0.gate", vec![0.0, 0.5, 1.0]), ("a.level.1.gate", vec![40.0, 0.0])];
    let (ple, parameters) = of(
        json!({"ple": {"levels": 2, "shared_experts": 1, "task_experts": 1, "gate": "task"}}),
        set(&experts("level.0."), &path),
    );
    assert_close(readout(&ple, &parameters, "a", x), &[1.705_765, 0.318_692]);
}

#[test]
fn sums_between_trunks() {
    let states = matrix([[1.0, 2.0, -1.0, 0.5, 3.0, -1.0, 0.0, 2.0]]);
    let stitched = kernels::mix(states.clone(), matrix([[0.9, 0.1, 0.1, 0.9]]), 2);
    assert_close(stitched, &[1.2, 1.7, -0.9, 0.65, 2.8, -0.7, -0.1, 1.85]);
    // The first halves are mixed, the second ones are private.
    let weights = [[0.9, 0.0, 0.1, 0.0], [0.0, 1.0, 0.0, 0.0], [0.1, 0.0, 0.9, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let mixed = kernels::mix(states, matrix(weights).reshape([1, 16]), 4);
    assert_close(mixed, &[1.2, 1.7, -1.0, 0.5, 2.8, -0.7, 0.0, 2.0]);
}

#[test]
fn the_gradient_of_a_stitch_is_that_of_its_products() {
    let device = Device::flex().autodiff();
    let states = Tensor::<2>::from_floats([[1.0, 2.0, -1.0, 0.5, 3.0, -1.0, 0.0, 2.0]], &device);
    let weights = Tensor::<2>::from_floats([[0.9, 0.1, 0.1, 0.9]], &device).require_grad();
    let upstream = Tensor::<2>::from_floats([[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]], &device);
    let gradients = (kernels::mix(states, weights.clone(), 2) * upstream).sum().backward();
    assert_close(weights.grad(&gradients).unwrap(), &[1.0, 3.0, 1.0, -1.0]);
}

#[test]
fn sums_of_layers_and_masks() {
    let layers = matrix([[1.0, 0.0, 0.5, 1.0, 2.0, -1.0]]);
    assert_close(kernels::mix(layers.clone(), matrix([[0.05, 0.05, 0.9]]), 3), &[1.875, -0.85]);
    let scalar = kernels::softmax(matrix([[0.0, 0.0, 2.0]]));
    assert_close(scalar.clone(), &[0.106_507, 0.106_507, 0.786_986]);
    assert_close(kernels::mix(layers, scalar, 3), &[1.733_733, -0.680_479]);
    let masked = kernels::sigmoid_gate(matrix([[0.0, 2.0, -2.0]]), matrix([[1.0, 2.0, -1.0]]));
    assert_close(masked, &[0.5, 1.761_594, -0.119_203]);
}

/// Choices of a layer at three moments of a training.
#[test]
fn choices_grow_sharper() {
    let noisy = TensorData::new(vec![1.2f32, 0.6, 1.9], [1, 3]);
    for (progress, expected) in [
        (1.0 / 99.0, [0.326_492, 0.275_531, 0.397_977]),
        (24.0 / 99.0, [0.280_697, 0.154_050, 0.565_254]),
        (1.0, [0.186_693, 0.056_231, 0.757_076]),
    ] {
        let tau = 5.0 / (1.0 + 99.0 * progress as f32).sqrt();
        let soft = kernels::softmax(Tensor::from_data(noisy.clone(), &Device::flex()) / tau);
        assert_close(soft, &expected);
    }
}
