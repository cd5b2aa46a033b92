//! What gradient methods promise, over random gradients of chosen rank and scale; after TorchJD's suite of properties.

use polytask_balance::{BalancerConfig, Gramian, StepStatistics};
use serde_json::{Value, json};

/// (tasks, numbers a gradient, rank).
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (2, 5, 1),
    (2, 5, 2),
    (3, 7, 2),
    (4, 3, 1),
    (4, 3, 2),
    (4, 3, 3),
    (9, 11, 5),
    (9, 11, 9),
    (32, 40, 7),
    (32, 64, 32),
];
const SCALES: &[f64] = &[1.0, 1e-10, 1e3, 1e5, 1e10, 1e15];

/// SplitMix64, and from it numbers that are normal enough: the sum of twelve uniform ones.
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    fn matrix(&mut self, rows: usize, columns: usize) -> Vec<Vec<f64>> {
        (0..rows).map(|_| (0..columns).map(|_| self.normal()).collect()).collect()
    }
}

/// Gradients whose rank is at most `rank`.
fn rows(seed: u64, (tasks, length, rank): (usize, usize, usize), scale: f64) -> Vec<Vec<f64>> {
    let mut numbers = Numbers(seed);
    let (left, right) = (numbers.matrix(tasks, rank), numbers.matrix(rank, length));
    let entry = |i: usize, k: usize| scale * (0..rank).map(|r| left[i][r] * right[r][k]).sum::<f64>();
    (0..tasks).map(|i| (0..length).map(|k| entry(i, k)).collect()).collect()
}

/// Gradients of which a mean is 0 (`weakly`: only some take part in it), so that no direction lowers all losses.
fn stationary(seed: u64, tasks: usize, length: usize, weakly: bool) -> Vec<Vec<f64>> {
    let mut numbers = Numbers(seed);
    let mut rows = numbers.matrix(tasks, length);
    let part = if weakly { tasks / 2 } else { tasks };
    let shares: Vec<f64> = (0..part).map(|_| 0.5 + numbers.uniform()).collect();
    let sum = |k: usize| (1..part).map(|i| shares[i] * rows[i][k]).sum::<f64>() / -shares[0];
    rows[0] = (0..length).map(sum).collect();
    rows
}

fn gramian(rows: &[Vec<f64>]) -> Gramian {
    Gramian::of_rows(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn names(tasks: usize) -> Vec<String> {
    (0..tasks).map(|i| format!("task {i}")).collect()
}

fn weights_with(method: &Value, rows: &[Vec<f64>], importance: &[f64]) -> Vec<f64> {
    let method: BalancerConfig = serde_json::from_value(method.clone()).expect("a method");
    let names = names(rows.len());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut balancer = method.build(&names, importance).expect("valid");
    balancer.weights(&StepStatistics {
        losses: &vec![Some(1.0); rows.len()],
        gramian: Some(&gramian(rows)),
        ..StepStatistics::default()
    })
}

fn weights(method: &Value, rows: &[Vec<f64>]) -> Vec<f64> {
    weights_with(method, rows, &vec![1.0; rows.len()])
}

fn combine(rows: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    (0..rows[0].len()).map(|k| rows.iter().zip(weights).map(|(row, w)| w * row[k]).sum()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// Every matrix of the suite, with its name.
fn matrices() -> Vec<(String, Vec<Vec<f64>>)> {
    let mut out = Vec::new();
    for (seed, &shape) in (1..).zip(SHAPES) {
        for &scale in SCALES {
            out.push((format!("{shape:?} x {scale}"), rows(seed, shape, scale)));
        }
    }
    for length in [10, 100] {
        for weakly in [false, true] {
            out.push((format!("stationary 20 x {length}, {weakly}"), stationary(77, 20, length, weakly)));
        }
    }
    out
}

/// `J d >= 0`: no loss goes up, up to rounding, relative to the lengths, and what a regularization of 1e-4 of the trace
/// does: `<d, g_i> >= -1e-4 trace w_i`.
#[test]
fn the_direction_conflicts_with_no_gradient() {
    let methods = [
        (json!({ "upgrad": {} }), 1e-9),
        (json!({ "upgrad": { "regularization": 1e-4 } }), 1e-9),
        (json!({ "dualproj": {} }), 1e-9),
        (json!({ "dualproj": { "regularization": 1e-4 } }), 1e-9),
        (json!({ "mgda": {} }), 1e-9),
        (json!({ "mgda": { "normalize": "l2" } }), 1e-9),
        (json!({ "fairgrad": {} }), 1e-9),
        (json!({ "fairgrad": { "alpha": 0.5 } }), 1e-9),
        (json!({ "fairgrad": { "alpha": 3.0 } }), 1e-9),
        (json!({ "nash_mtl": {} }), 1e-9),
        (json!({ "cagrad": { "c": 1.0 } }), 1e-6),
        (json!({ "cagrad": { "c": 3.0 } }), 1e-6),
    ];
    for (name, rows) in matrices() {
        let trace: f64 = rows.iter().map(|row| dot(row, row)).sum();
        for (method, most) in &methods {
            let trace = if method.to_string().contains("regularization") { trace } else { 0.0 };
            let weights = weights(method, &rows);
            let direction = combine(&rows, &weights);
            let terms: f64 = rows.iter().zip(&weights).map(|(row, w)| w.abs() * norm(row)).sum();
            for (task, row) in rows.iter().enumerate() {
                let regularization = 1e-4 * trace * weights[task].abs();
                let (product, least) = (dot(&direction, row), -most * norm(row) * terms - regularization);
                assert!(product >= least, "{method}, {name}, task {task}: {product}, at least {least}");
            }
        }
    }
}

/// The optimum's conditions: on the simplex, `<d, g_i> >= ||d||^2`, equal where the weight is above 0.
#[test]
fn mgda_satisfies_its_conditions() {
    for (name, rows) in matrices() {
        let weights = weights(&json!({ "mgda": {} }), &rows);
        assert!(
            (weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && weights.iter().all(|&w| w >= 0.0),
            "{name}"
        );
        let direction = combine(&rows, &weights);
        let square = dot(&direction, &direction);
        let longest = rows.iter().map(|row| norm(row)).fold(0.0, f64::max);
        for (row, weight) in rows.iter().zip(&weights) {
            let above = dot(&direction, row) - square;
            assert!(above > -1e-11 * longest * longest, "{name}: {above}");
            assert!(weight * above < 1e-11 * longest * longest, "{name}: weight {weight}, {above}");
        }
        if name.starts_with("stationary") {
            assert!(square.sqrt() < 1e-6 * longest, "{name}: {square}");
        }
    }
}

/// Of gradients of which a mean with weights above 0 is 0, a direction that conflicts with none is 0.
#[test]
fn stationary_points_are_kept() {
    for seed in 0..4 {
        for length in [10, 100] {
            let rows = stationary(seed, 20, length, false);
            let longest = rows.iter().map(|row| norm(row)).fold(0.0, f64::max);
            for method in [
                json!({ "mgda": {} }),
                json!({ "upgrad": { "regularization": 0.0 } }),
                json!({ "dualproj": { "regularization": 0.0 } }),
                json!({ "cagrad": { "c": 1.5 } }),
            ] {
                let left = norm(&combine(&rows, &weights(&method, &rows)));
                assert!(left < 1e-5 * longest, "{method}, seed {seed}, {length} numbers: {left}");
            }
        }
    }
}

/// The direction does not depend on the order of the tasks (their names stay in place, so the solver sees another
/// order).
#[test]
fn the_direction_does_not_depend_on_the_order() {
    let methods =
        ["upgrad", "dualproj", "mgda", "imtl_g", "aligned_mtl", "config", "cagrad", "nash_mtl", "db_mtl"];
    for (name, rows) in matrices() {
        let mut turned = rows.clone();
        turned.rotate_left(rows.len() / 2);
        turned.swap(0, rows.len() / 3);
        for method in methods {
            let method = json!({ method: {} });
            let (ours, other) = (weights(&method, &rows), weights(&method, &turned));
            let terms: f64 = rows.iter().zip(&ours).map(|(row, w)| w.abs() * norm(row)).sum();
            let (ours, other) = (combine(&rows, &ours), combine(&turned, &other));
            let apart = norm(&ours.iter().zip(&other).map(|(a, b)| a - b).collect::<Vec<_>>());
            assert!(apart <= 1e-6 * terms, "{method}, {name}: {apart} of {terms}");
        }
    }
}

/// `A(diag(a c1 + b c2) J) = a A(diag(c1) J) + b A(diag(c2) J)`: each gradient's part is in proportion to its length.
#[test]
fn upgrad_and_config_are_linear_under_scaling() {
    for method in [json!({ "upgrad": {} }), json!({ "config": {} })] {
        for (seed, &shape) in (11..).zip(SHAPES) {
            let rows = rows(seed, shape, 1.0);
            let mut numbers = Numbers(seed + 100);
            let tasks = rows.len();
            let mut factors = || (0..tasks).map(|_| 0.5 + numbers.uniform()).collect::<Vec<_>>();
            let (first, second) = (factors(), factors());
            let (a, b) = (0.3, 1.2);
            let at = |factors: &[f64]| {
                let scaled: Vec<Vec<f64>> =
                    rows.iter().zip(factors).map(|(row, f)| row.iter().map(|x| f * x).collect()).collect();
                combine(&scaled, &weights(&method, &scaled))
            };
            let mixed: Vec<f64> = first.iter().zip(&second).map(|(x, y)| a * x + b * y).collect();
            let (whole, first, second) = (at(&mixed), at(&first), at(&second));
            let apart: Vec<f64> = (0..whole.len()).map(|k| whole[k] - a * first[k] - b * second[k]).collect();
            let size = norm(&whole) + a * norm(&first) + b * norm(&second);
            let longest = rows.iter().map(|row| norm(row)).fold(0.0, f64::max);
            assert!(norm(&apart) <= 1e-9 * (size + 1e-3 * longest), "{method}, {shape:?}: {}", norm(&apart));
        }
    }
}

#[test]
fn with_two_tasks_pcgrad_is_upgrad_summed() {
    for seed in 0..100 {
        let rows = rows(seed, (2, 3, 2), 1.0);
        let pcgrad = weights(&json!({ "pcgrad": {} }), &rows);
        let upgrad = weights_with(&json!({ "upgrad": { "regularization": 0.0 } }), &rows, &[2.0, 2.0]);
        for (p, u) in pcgrad.iter().zip(&upgrad) {
            assert!((p - u).abs() < 1e-9 * p.abs().max(1.0), "seed {seed}: {pcgrad:?}, {upgrad:?}");
        }
    }
}

/// Where no gradients conflict, the methods that only remove conflicts are plain sums and means.
#[test]
fn without_conflicts_nothing_is_removed() {
    let rows: Vec<Vec<f64>> = vec![vec![1.0, 0.0, 0.2], vec![0.3, 2.0, 0.0], vec![5.0, 0.1, 0.0]];
    assert_eq!(weights(&json!({ "pcgrad": {} }), &rows), [1.0; 3]);
    assert_eq!(weights(&json!({ "upgrad": {} }), &rows), [1.0 / 3.0; 3]);
    assert_eq!(weights(&json!({ "dualproj": {} }), &rows), [1.0 / 3.0; 3]);
}

/// A row of zeros is a task without a gradient: weight 0, and the others as if it were not there.
#[test]
fn zero_gradients_take_no_part() {
    for method in
        ["mgda", "pcgrad", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "upgrad", "config", "db_mtl"]
    {
        let method = json!({ method: {} });
        let zeros = vec![vec![0.0; 4]; 3];
        assert_eq!(weights(&method, &zeros), [0.0; 3], "{method}");
        let mut rows = rows(5, (3, 4, 3), 1.0);
        let two = [rows[0].clone(), rows[2].clone()];
        rows[1] = vec![0.0; 4];
        let (three, two) = (weights(&method, &rows), weights(&method, &two));
        assert_eq!([three[0], three[1], three[2]], [two[0], 0.0, two[1]], "{method}");
    }
}

/// Losses in another unit: `l_i` times `s_i`. Directions of these methods stay as they are.
#[test]
fn units_of_the_losses_do_not_matter_to_scale_free_methods() {
    for method in ["nash_mtl", "fairgrad", "imtl_g", "config", "db_mtl"] {
        for seed in 0..20 {
            let rows = rows(seed, (4, 8, 4), 1.0);
            let units = [1e-6, 1.0, 1e3, 1e9];
            let scaled: Vec<Vec<f64>> =
                rows.iter().zip(units).map(|(row, unit)| row.iter().map(|x| x * unit).collect()).collect();
            let at = |rows: &[Vec<f64>]| combine(rows, &weights(&json!({ method: {} }), rows));
            let (plain, other) = (at(&rows), at(&scaled));
            let cosine = dot(&plain, &other) / norm(&plain) / norm(&other);
            assert!((cosine.abs() - 1.0).abs() < 1e-9, "{method}, seed {seed}: {cosine}");
        }
    }
}

/// Pairwise products that no three gradients can have together pass the checks of a Gramian, as rounding may: every
/// method still ends, with finite weights.
#[test]
fn an_indefinite_matrix_is_survived() {
    let opposed =
        Gramian::new(3, vec![1.0, -1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, 1.0]).expect("pairwise possible");
    let mixed =
        Gramian::new(3, vec![4.0, 2.0, -2.0, 2.0, 1.0, 1.0, -2.0, 1.0, 1.0]).expect("pairwise possible");
    for gramian in [opposed, mixed] {
        for method in [
            json!({ "mgda": {} }),
            json!({ "pcgrad": {} }),
            json!({ "gradvac": {} }),
            json!({ "cagrad": {} }),
            json!({ "cagrad": { "c": 2.0 } }),
            json!({ "imtl_g": {} }),
            json!({ "nash_mtl": {} }),
            json!({ "fairgrad": { "alpha": 0.1 } }),
            json!({ "fairgrad": { "alpha": 20.0 } }),
            json!({ "aligned_mtl": {} }),
            json!({ "upgrad": {} }),
            json!({ "upgrad": { "regularization": 0.0 } }),
            json!({ "dualproj": { "regularization": 0.0 } }),
            json!({ "config": {} }),
            json!({ "db_mtl": {} }),
            json!({ "gradnorm": {} }),
        ] {
            let settings: BalancerConfig = serde_json::from_value(method.clone()).expect("a method");
            let mut balancer = settings.build(&["a", "b", "c"], &[1.0, 2.0, 1.0]).expect("valid");
            let weights = balancer.weights(&StepStatistics {
                losses: &[Some(1.0); 3],
                gramian: Some(&gramian),
                ..StepStatistics::default()
            });
            assert!(weights.iter().all(|weight| weight.is_finite()), "{method}: {weights:?}");
        }
    }
}
