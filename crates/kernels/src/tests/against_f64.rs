//! The tricky gradients against central differences of the plain mathematics in f64.

use super::{devices, numbers, relative, rows, run, vector};
use crate::{AttentionSettings, Dropout, Precision::F32};
use burn::tensor::Tensor;
use cpu::DropoutMask;

const DROPOUT: Option<Dropout> = Some(Dropout::new(0.25, 21));

/// Compares an operation with `f`, the same in f64, and its gradients with differences of `sum(f * weights)`.
fn check(
    name: &str,
    inputs: &[(Vec<f32>, [usize; 2])],
    operation: &dyn Fn(&[Tensor<2>]) -> Tensor<2>,
    f: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let mut x: Vec<Vec<f64>> =
        inputs.iter().map(|(x, _)| x.iter().map(|&x| f64::from(x)).collect()).collect();
    let right = f(&x);
    let weights = numbers(right.len(), 99);
    let sum = |x: &[Vec<f64>]| f(x).iter().zip(&weights).map(|(y, &w)| y * f64::from(w)).sum::<f64>();
    let mut d_right = vec![];
    for i in 0..x.len() {
        let mut differences = vec![];
        for j in 0..x[i].len() {
            let (at, step) = (x[i][j], 1e-5);
            x[i][j] = at + step;
            let above = sum(&x);
            x[i][j] = at - step;
            differences.push((above - sum(&x)) / (2.0 * step));
            x[i][j] = at;
        }
        d_right.push(differences);
    }
    for device in devices() {
        let (y, gradients) = run(&device, inputs, operation);
        let far = relative(&y, &right);
        assert!(far < 1e-6, "{name} on {device:?}: result {far:e}");
        for (i, (gradient, right)) in gradients.iter().zip(&d_right).enumerate() {
            let far = relative(gradient, right);
            assert!(far < 3e-6, "{name} on {device:?}: gradient {i} {far:e}");
        }
    }
}

fn factors(dropout: Option<Dropout>, len: usize) -> Vec<f64> {
    DropoutMask::of(dropout, 1)
        .map_or(vec![1.0; len], |mask| mask.factors(len).into_iter().map(f64::from).collect())
}

/// `dropout(y) + residual`
fn joined(y: &[f64], residual: &[f64]) -> Vec<f64> {
    let summands = y.iter().zip(factors(DROPOUT, y.len())).zip(residual);
    summands.map(|((y, keep), residual)| y * keep + residual).collect()
}

fn inputs_of(shapes: &[[usize; 2]]) -> Vec<(Vec<f32>, [usize; 2])> {
    shapes.iter().enumerate().map(|(i, &s)| (numbers(s[0] * s[1], i as u32), s)).collect()
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let most = z.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = z.iter().map(|z| (z - most).exp()).sum();
    z.iter().map(|z| (z - most).exp() / sum).collect()
}

/// Attention with dropout from `q` `[m, h]` to `kv` `[n, 2h]`, token by token.
fn attend(
    q: &[f64],
    kv: &[f64],
    [q_rows, kv_rows]: [&[usize]; 2],
    (heads, d): (usize, usize),
    causal: bool,
) -> Vec<f64> {
    let h = heads * d;
    let mut context = vec![0.0; q.len()];
    let rows = || q_rows.windows(2).zip(kv_rows.windows(2));
    let probabilities = rows().map(|(q, kv)| heads * (q[1] - q[0]) * (kv[1] - kv[0])).sum();
    let keep = factors(DROPOUT, probabilities);
    let mut before = 0;
    for (q_row, kv_row) in rows() {
        let (m, n) = (q_row[1] - q_row[0], kv_row[1] - kv_row[0]);
        for head in 0..heads {
            for i in 0..m {
                // Places from the end: the last query stands where the last key does.
                let sees = |j: usize| !causal || n - j >= m - i;
                let q = |c: usize| q[(q_row[0] + i) * h + head * d + c];
                let of_key =
                    |j: usize, part: usize, c: usize| kv[(kv_row[0] + j) * 2 * h + part * h + head * d + c];
                let score = |j| (0..d).map(|c| q(c) * of_key(j, 0, c)).sum::<f64>() / (d as f64).sqrt();
                let seen: Vec<usize> = (0..n).filter(|j| sees(*j)).collect();
                let p = softmax(&seen.iter().map(|j| score(*j)).collect::<Vec<_>>());
                for (j, p) in seen.into_iter().zip(p) {
                    let p = p * keep[before + (head * m + i) * n + j];
                    for c in 0..d {
                        context[(q_row[0] + i) * h + head * d + c] += p * of_key(j, 1, c);
                    }
                }
            }
        }
        before += heads * m * n;
    }
    context
}

#[test]
fn attention_with_dropout() {
    let (heads, d, offsets) = (2, 3, rows(&[5, 1, 3]));
    let h = heads * d;
    for causal in [false, true] {
        let math = |x: &[Vec<f64>]| {
            let (q, kv): (Vec<_>, Vec<_>) = x[0].chunks(3 * h).map(|token| token.split_at(h)).unzip();
            attend(&q.concat(), &kv.concat(), [&offsets, &offsets], (heads, d), causal)
        };
        let qkv: Vec<f32> = numbers(9 * 3 * h, 3).iter().map(|x| x * 2.0).collect();
        let settings = AttentionSettings { causal, dropout: DROPOUT, ..AttentionSettings::new(heads) };
        let fused = |x: &[Tensor<2>]| crate::attention(x[0].clone(), &offsets, settings);
        check("attention", &[(qkv, [9, 3 * h])], &fused, &math);
    }
}

#[test]
fn cross_attention_with_dropout() {
    let (heads, d) = (2, 3);
    let (h, q_rows, kv_rows) = (heads * d, rows(&[3, 0, 1, 4]), rows(&[2, 3, 5, 4]));
    for causal in [false, true] {
        let math = |x: &[Vec<f64>]| attend(&x[0], &x[1], [&q_rows, &kv_rows], (heads, d), causal);
        let q: Vec<f32> = numbers(8 * h, 3).iter().map(|x| x * 3.0).collect();
        let inputs = [(q, [8, h]), (numbers(14 * 2 * h, 4), [14, 2 * h])];
        let settings = AttentionSettings { causal, dropout: DROPOUT, ..AttentionSettings::new(heads) };
        let fused = |x: &[Tensor<2>]| {
            crate::cross_attention(x[0].clone(), x[1].clone(), [&q_rows, &kv_rows], None, settings)
        };
        check("cross_attention", &inputs, &fused, &math);
    }
}

#[test]
fn rms_norm_with_dropout() {
    let (n, h, eps) = (4, 11, 1e-3);
    let math = |x: &[Vec<f64>]| {
        let mut out = vec![];
        for z in joined(&x[0], &x[1]).chunks(h) {
            let square = z.iter().map(|z| z * z).sum::<f64>() / h as f64;
            let root = (square + f64::from(eps as f32)).sqrt();
            out.extend((0..h).map(|i| z[i] / root * x[2][i]));
        }
        out
    };
    let inputs = inputs_of(&[[n, h], [n, h], [1, h]]);
    let fused =
        |x: &[Tensor<2>]| crate::add_rms_norm(x[0].clone(), x[1].clone(), vector(&x[2]), eps as f32, DROPOUT);
    check("add_rms_norm", &inputs, &fused, &math);
}

#[test]
fn add_norm_with_dropout() {
    let (n, h, eps) = (4, 11, 1e-3);
    let math = |x: &[Vec<f64>]| {
        let mut out = vec![];
        for z in joined(&x[0], &x[1]).chunks(h) {
            let mean = z.iter().sum::<f64>() / h as f64;
            let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / h as f64;
            let root = (variance + f64::from(eps as f32)).sqrt();
            out.extend((0..h).map(|i| (z[i] - mean) / root * x[2][i] + x[3][i]));
        }
        out
    };
    let inputs = inputs_of(&[[n, h], [n, h], [1, h], [1, h]]);
    let fused = |x: &[Tensor<2>]| {
        crate::add_norm(x[0].clone(), x[1].clone(), vector(&x[2]), vector(&x[3]), eps as f32, DROPOUT)
    };
    check("add_norm", &inputs, &fused, &math);
}

#[test]
fn feed_forward() {
    let (n, h, f) = (3, 4, 9);
    // The normal distribution function by Simpson's rule: no relation to the kernel's polynomials.
    let below = |x: f64| {
        let phi = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let step = x / 400.0;
        let part = |i: i32| {
            let a = f64::from(i) * step;
            step / 6.0 * (phi(a) + 4.0 * phi(a + step / 2.0) + phi(a + step))
        };
        0.5 + (0..400).map(part).sum::<f64>()
    };
    let layer = |x: &[f64], w: &[f64], b: &[f64]| -> Vec<f64> {
        let inputs = w.len() / b.len();
        let row = |x: &[f64]| -> Vec<f64> {
            let sum = |o: usize| x.iter().zip(&w[o * inputs..]).map(|(x, w)| x * w).sum::<f64>() + b[o];
            (0..b.len()).map(sum).collect()
        };
        x.chunks(inputs).flat_map(row).collect()
    };
    let math = |x: &[Vec<f64>]| {
        let inner: Vec<f64> = layer(&x[0], &x[1], &x[2]).into_iter().map(|z| z * below(z)).collect();
        layer(&inner, &x[3], &x[4])
    };
    let inputs = inputs_of(&[[n, h], [f, h], [1, f], [h, f], [1, h]]);
    let fused = |x: &[Tensor<2>]| {
        crate::ffn(x[0].clone(), x[1].clone(), vector(&x[2]), x[3].clone(), vector(&x[4]), F32)
    };
    check("ffn", &inputs, &fused, &math);
}

#[test]
fn weighted_and_smoothed_cross_entropy() {
    let (n, count, smoothing) = (6, 5, 0.2f32);
    let target: Vec<u32> = vec![0, 4, 2, 2, 1, 4];
    let weight = [0.5f32, 2.0, 0.0, 1.25, 3.0];
    let math = |x: &[Vec<f64>]| {
        let (w, s) = (|c: usize| f64::from(weight[c]), f64::from(smoothing));
        let (mut loss, mut total) = (0.0, 0.0);
        for (z, &y) in x[0].chunks(count).zip(&target) {
            let p = softmax(z);
            loss -= (1.0 - s) * w(y as usize) * p[y as usize].ln();
            loss -= s / count as f64 * (0..count).map(|c| w(c) * p[c].ln()).sum::<f64>();
            total += w(y as usize);
        }
        vec![loss / total]
    };
    let logits: Vec<f32> = numbers(n * count, 8).iter().map(|x| x * 4.0).collect();
    let fused = |x: &[Tensor<2>]| {
        crate::cross_entropy(x[0].clone(), &target, Some(&weight), smoothing).reshape([1, 1])
    };
    check("cross_entropy", &[(logits, [n, count])], &fused, &math);
}

#[test]
fn soft_cross_entropy() {
    let (n, count) = (6, 5);
    let target: Vec<f32> = numbers(n * count, 3).iter().map(|t| (t + 1.0) / 4.0).collect();
    let weight = vec![0.5f32, 1.0, 0.0, 2.0, 1.0, 0.25];
    for temperature in [1.0f32, 2.5] {
        let math = |x: &[Vec<f64>]| {
            let t = f64::from(temperature);
            let rows = x[0].chunks(count).zip(target.chunks(count)).zip(&weight);
            let of_row = |((z, target), weight): ((&[f64], &[f32]), &f32)| {
                let p = softmax(&z.iter().map(|z| z / t).collect::<Vec<_>>());
                let each = target.iter().zip(p).map(|(target, p)| -f64::from(*target) * p.ln());
                f64::from(*weight) * t * t * each.sum::<f64>()
            };
            vec![rows.map(of_row).sum()]
        };
        let logits: Vec<f32> = numbers(n * count, 8).iter().map(|x| x * 4.0).collect();
        let fused = |x: &[Tensor<2>]| {
            crate::soft_cross_entropy(x[0].clone(), target.clone(), weight.clone(), temperature)
                .reshape([1, 1])
        };
        check("soft_cross_entropy", &[(logits, [n, count])], &fused, &math);
    }
}
