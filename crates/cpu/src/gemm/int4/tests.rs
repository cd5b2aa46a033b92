use super::*;
use serde::Deserialize;

/// What `scripts/make_int4_fixtures.py` wrote.
#[derive(Deserialize)]
struct Fixture {
    shape: [usize; 2],
    weight: Vec<f32>,
    hqq: Affines,
    gptq: Gptq,
}

#[derive(Deserialize)]
struct Affines {
    steps: Vec<f32>,
    zero: Vec<f32>,
}

#[derive(Deserialize)]
struct Gptq {
    inputs: Vec<f64>,
    codes: Vec<u8>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../../tests/fixtures/int4.json")).expect("a fixture")
}

fn numbers(len: usize, seed: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * seed).sin()).collect()
}

/// The codes one by one, in the order of their numbers.
fn unpacked(matrix: &Int4Matrix) -> Vec<u8> {
    let half = matrix.group / 2;
    let group = |bytes: &[u8]| bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4)).collect();
    matrix.bytes.chunks(half).flat_map(|bytes| -> Vec<u8> { group(bytes) }).collect()
}

fn gram(inputs: &[f64], width: usize) -> Vec<f64> {
    let mut gram = vec![0.0; width * width];
    for row in inputs.chunks(width) {
        for (i, x) in row.iter().enumerate() {
            gram[i * width..][..width].iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
        }
    }
    gram
}

#[test]
fn offsets_are_those_of_the_library_hqq() {
    let Fixture { weight, hqq: right, .. } = fixture();
    let found = hqq::solve(&weight, 64);
    assert_eq!(found.len(), right.zero.len());
    for ((found, steps), zero) in found.iter().zip(&right.steps).zip(&right.zero) {
        assert!((found.steps / steps - 1.0).abs() < 1e-6, "{} {steps}", found.steps);
        assert!((found.zero - zero).abs() < 1e-3, "{} {zero}", found.zero);
    }
}

#[test]
fn codes_with_inputs_are_those_of_gptq() {
    let Fixture { shape, weight, gptq: right, .. } = fixture();
    let gram = gram(&right.inputs, shape[1]);
    let errors = InputErrors::of_gram(&gram, shape[1]).expect("a Gram matrix");
    let found = Int4Matrix::gptq(&weight, shape, &errors);
    let codes = unpacked(&found);
    assert_eq!(codes.len(), right.codes.len());
    // Sums in f32 may take a number that lies between two codes to the other one, and what comes after it with it.
    let other = codes.iter().zip(&right.codes).filter(|(a, b)| a != b).count();
    assert!(other * 100 <= codes.len(), "{other} of {} codes differ", codes.len());
    // What it is for: the outputs are nearer than those of the nearest codes.
    let error = |matrix: &Int4Matrix| {
        let values = matrix.rows(0..shape[0]);
        let off: Vec<f64> = values.iter().zip(&weight).map(|(a, b)| f64::from(a - b)).collect();
        let of_row = |off: &[f64]| {
            let output = |x: &[f64]| x.iter().zip(off).map(|(x, e)| x * e).sum::<f64>().powi(2);
            right.inputs.chunks(shape[1]).map(output).sum::<f64>()
        };
        off.chunks(shape[1]).map(of_row).sum::<f64>()
    };
    let nearest = error(&Int4Matrix::quantize(&weight, shape, Int4Rounding::MinMax));
    assert!(error(&found) < 0.6 * nearest, "{} {nearest}", error(&found));
}

#[test]
fn half_quadratic_offsets_lose_less_than_the_range() {
    let Fixture { shape, weight, .. } = fixture();
    let error = |rounding| {
        let values = Int4Matrix::quantize(&weight, shape, rounding).rows(0..shape[0]);
        values.iter().zip(&weight).map(|(a, b)| (a - b).abs()).sum::<f32>()
    };
    assert!(error(Int4Rounding::Hqq) < error(Int4Rounding::MinMax));
}

#[test]
fn numbers_are_within_half_a_step_and_codes_come_back() {
    for (shape, group) in [([3, 64], 64), ([5, 96], 32), ([2, 192], 64)] {
        let values = numbers(shape[0] * shape[1], 0.91);
        let matrix = Int4Matrix::quantize(&values, shape, Int4Rounding::MinMax);
        assert_eq!(matrix.group, group);
        let found = matrix.rows(0..shape[0]);
        // A range of at most 2 in 15 steps, and scales and offsets of eight bits.
        assert!(found.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1.0 / 15.0 + 0.012));
        assert_eq!(matrix.rows(1..2), found[shape[1]..2 * shape[1]]);
        assert_eq!(Int4Matrix::rounded(&values, shape), found);
        let ([scales, offsets], bytes) = (matrix.grids(0..shape[0]), matrix.codes(0..shape[0]));
        let read = Int4Matrix::new(bytes.to_vec(), [scales.to_vec(), offsets.to_vec()], shape);
        assert_eq!(read, matrix);
    }
    assert_eq!([0, 31, 80, 312].map(Int4Matrix::group_size), [None; 4]);
}

#[test]
fn odd_groups_are_what_they_are() {
    let mut values = vec![0.75f32; 128];
    values[64..].fill(0.0);
    for rounding in [Int4Rounding::MinMax, Int4Rounding::Hqq] {
        assert_eq!(Int4Matrix::quantize(&values, [1, 128], rounding).rows(0..1), values);
        let mut bad = values.clone();
        bad[3] = f32::INFINITY;
        let found = Int4Matrix::quantize(&bad, [2, 64], rounding).rows(0..2);
        assert!(!found[0].is_finite() && found[64..].iter().all(|x| *x == 0.0));
    }
    assert!(InputErrors::of_gram(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
    assert!(InputErrors::of_gram(&[f64::NAN, 0.0, 0.0, 1.0], 2).is_none());
    assert!(InputErrors::of_gram(&[0.0; 4], 2).is_some());
}
