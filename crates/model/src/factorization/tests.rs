use super::low_rank::{LowRank, of_table, of_weight};
use serde_json::Value;

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn f32s(of: &Value) -> Vec<f32> {
    numbers(of).into_iter().map(|x| x as f32).collect()
}

fn shape(case: &Value) -> [usize; 2] {
    let shape = numbers(&case["shape"]);
    [shape[0] as usize, shape[1] as usize]
}

fn multiplied(found: &LowRank, [rows, columns]: [usize; 2]) -> Vec<f64> {
    let at = |row: usize, column: usize| {
        (0..found.rank)
            .map(|k| f64::from(found.up[row * found.rank + k]) * f64::from(found.down[k * columns + column]))
            .sum()
    };
    (0..rows * columns).map(|i| at(i / columns, i % columns)).collect()
}

fn check(found: &LowRank, case: &Value) {
    let expected = numbers(&case["product"]);
    let product = multiplied(found, shape(case));
    let worst = product.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-4, "{worst}");
    let energy = case["energy"].as_f64().unwrap();
    for (found, key) in [(found.energy, "energy"), (found.lost, "lost")] {
        let expected = case[key].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5 * energy, "{key}: {found} {expected}");
    }
}

/// What numpy makes of them by the definition of the paper.
#[test]
fn factors_are_those_of_the_truncated_decomposition() {
    let cases: Value = serde_json::from_str(include_str!("fixture.json")).unwrap();
    for case in cases["weights"].as_array().unwrap() {
        let (rank, gram) = (case["rank"].as_u64().unwrap() as usize, numbers(&case["gram"]));
        check(&of_weight(&f32s(&case["weight"]), shape(case), &gram, rank).unwrap(), case);
    }
    for case in cases["tables"].as_array().unwrap() {
        let (rank, weights) = (case["rank"].as_u64().unwrap() as usize, numbers(&case["weights"]));
        check(&of_table(&f32s(&case["weight"]), shape(case), &weights, rank).unwrap(), case);
    }
}

/// The error on inputs is the sum of what was cut off, and no other matrix of the rank that was tried has less.
#[test]
fn the_error_is_what_was_cut_off() {
    let number = |at: usize| (kernels::splitmix(at as u64 + 5) >> 40) as f64 / (1u64 << 23) as f64 - 1.0;
    for [out, inputs] in [[10, 16], [24, 12]] {
        let x: Vec<f64> = (0..60 * inputs).map(|i| number(i) * (1.0 + (i % inputs) as f64)).collect();
        let w: Vec<f32> = (0..out * inputs).map(|i| number(i + 9000) as f32).collect();
        let of_rows = kernels::dense::transposed(&x, [60, inputs]);
        let gram = kernels::dense::product(&of_rows, &x, [inputs, 60, inputs]);
        let error = |product: &[f64]| {
            let wrong: Vec<f64> = product.iter().zip(&w).map(|(a, b)| a - f64::from(*b)).collect();
            let of_inputs = kernels::dense::product_transposed(&x, &wrong, [60, inputs, out]);
            of_inputs.iter().map(|x| x * x).sum::<f64>()
        };
        let found = of_weight(&w, [out, inputs], &gram, 5).unwrap();
        let best = error(&multiplied(&found, [out, inputs]));
        assert!((best - found.lost).abs() < 1e-5 * found.energy, "{best} {}", found.lost);
        // One that knows nothing of the inputs.
        let mut unit = vec![0.0; inputs * inputs];
        unit.iter_mut().step_by(inputs + 1).for_each(|x| *x = 1.0);
        let plain = of_weight(&w, [out, inputs], &unit, 5).unwrap();
        assert!(error(&multiplied(&plain, [out, inputs])) > 1.1 * best);
        let whole = of_weight(&w, [out, inputs], &gram, out.min(inputs)).unwrap();
        assert!(whole.kept_share() > 1.0 - 1e-9 && found.kept_share() < 1.0);
        let rest = multiplied(&whole, [out, inputs]);
        assert!(rest.iter().zip(&w).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-4), "{out}");
    }
}

/// Inputs that are all zero, the same everywhere, or weights of a lower rank than is asked for.
#[test]
fn degenerate_sums_and_weights_have_factors() {
    let w: Vec<f32> = (0..24).map(|i| (i / 4) as f32 * [1.0, -1.0, 0.5, 2.0][i % 4]).collect();
    for gram in [vec![0.0; 16], vec![3.0; 16]] {
        let found = of_weight(&w, [6, 4], &gram, 3).unwrap();
        assert!(multiplied(&found, [6, 4]).iter().zip(&w).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-3));
    }
    let zeros = of_weight(&[0.0; 12], [3, 4], &[1.0; 16], 2).unwrap();
    assert!(zeros.kept_share() == 1.0 && multiplied(&zeros, [3, 4]).iter().all(|x| *x == 0.0));
    assert!(of_weight(&w, [6, 4], &[f64::NAN; 16], 2).is_none());
    assert!(of_weight(&[f32::INFINITY; 12], [3, 4], &[1.0; 16], 2).is_none());
}
