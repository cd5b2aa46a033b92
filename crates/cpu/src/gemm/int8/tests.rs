use super::*;

fn numbers(len: usize, seed: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * seed).sin()).collect()
}

/// The same by the definition: quantized inputs times quantized weights, in 64 bits.
fn plain(x: &[f32], w: &Int8Matrix, n: usize, bias: &[f32]) -> Vec<f32> {
    let [outputs, inputs] = w.shape();
    let numbers = w.numbers(0..outputs);
    let mut y = Vec::new();
    for row in 0..n {
        let x = &x[row * inputs..][..inputs];
        let (least, most) = x.iter().fold((0.0f32, 0.0f32), |(a, b), x| (a.min(*x), b.max(*x)));
        let scale = (most / 255.0 - least / 255.0).max(1e-30 / 255.0);
        let zero = (-least / scale).round_ties_even();
        let q = |x: f32| ((x * (1.0 / scale) + zero).clamp(0.0, 255.0).round_ties_even() - zero) as i64;
        for output in 0..outputs {
            let weights = &numbers[output * inputs..][..inputs];
            let sum: i64 = x.iter().zip(weights).map(|(x, w)| q(*x) * i64::from(*w)).sum();
            y.push(sum as f32 * scale * w.scales()[output] + bias[output]);
        }
    }
    y
}

#[test]
fn products_are_those_of_plain_integers_by_every_instruction_set() {
    for [n, k, outputs] in [
        [1, 1, 1],
        [3, 70, 9],
        [6, 64, 64],
        [7, 33, 65],
        [13, 16, 131],
        [100, 30, 80],
        [151, 5, 17],
        [4, 0, 3],
    ] {
        let x: Vec<f32> = numbers(n * k, 0.37).iter().map(|x| 3.0 * x + 0.7).collect();
        let (w, bias) = (numbers(outputs * k, 0.91), numbers(outputs, 0.5));
        let w = Int8Matrix::quantize(&w, [outputs, k]);
        let right = if k > 0 { plain(&x, &w, n, &bias) } else { bias.repeat(n) };
        for unit in Int8Backend::best_first() {
            let y = w.product_by(unit, &x, n, 0..outputs, (&bias, Finish::Bias));
            assert_eq!(y, right, "{unit:?} {n} {k} {outputs}");
            let part = w.product_by(unit, &x, n, outputs / 3..outputs, (&bias, Finish::Bias));
            let of_right = right.chunks(outputs).flat_map(|row| &row[outputs / 3..]).copied();
            assert_eq!(part, of_right.collect::<Vec<f32>>(), "{unit:?} {n} {k} {outputs}");
            let active = w.product_by(unit, &x, n, 0..outputs, (&bias, Finish::Gelu));
            let mut right = right.clone();
            crate::activation::gelu::forward(&mut right, &vec![0.0; outputs]);
            assert_eq!(active, right, "{unit:?} {n} {k} {outputs}");
        }
    }
}

#[test]
fn the_largest_numbers_do_not_saturate() {
    // Every byte at an end of its range: of inputs 0 and 255, of weights 127 and -127.
    for (sign, low) in [(1.0f32, 0.0f32), (-1.0, 0.0), (1.0, -1.0), (-1.0, -1.0)] {
        let k = 4 * 31;
        let x: Vec<f32> = (0..k).map(|i| if i < 2 { [low, 1.0][i] } else { 1.0 + low * 2.0 }).collect();
        let w = Int8Matrix::quantize(&vec![sign; k * 20], [20, k]);
        let right = plain(&x, &w, 1, &[0.0; 20]);
        for unit in Int8Backend::best_first() {
            assert_eq!(w.product_by(unit, &x, 1, 0..20, (&[0.0; 20], Finish::Bias)), right, "{unit:?}");
        }
    }
}

#[test]
fn quantized_products_are_close_to_exact_ones() {
    let (n, k, outputs) = (20, 200, 50);
    let (x, w) = (numbers(n * k, 0.37), numbers(outputs * k, 0.91));
    let y =
        Int8Matrix::quantize(&w, [outputs, k]).product(&x, n, 0..outputs, &vec![0.0; outputs], Finish::Bias);
    for (at, y) in y.iter().enumerate() {
        let (i, j) = (at / outputs, at % outputs);
        let right: f32 = (0..k).map(|at| x[i * k + at] * w[j * k + at]).sum();
        // Steps of 1/127 and 2/255, of which sums of 200 random errors are far from all adding up.
        assert!((y - right).abs() < 0.15, "{y} {right}");
    }
}

#[test]
fn a_weight_comes_back_as_it_was() {
    let w = numbers(37 * 11, 0.91);
    let packed = Int8Matrix::quantize(&w, [37, 11]);
    let again = Int8Matrix::new(&packed.numbers(0..37), packed.scales().to_vec(), [37, 11]);
    assert_eq!(packed, again);
    let rows = packed.rows(5..9);
    for (at, value) in rows.iter().enumerate() {
        assert!((value - w[55 + at]).abs() <= packed.scales()[5 + at / 11] * 0.5001);
    }
}

#[test]
fn what_is_not_finite_is_not_hidden() {
    let w = Int8Matrix::quantize(&[1.0, f32::NAN, 0.5, 2.0], [2, 2]);
    assert!(w.rows(0..1).iter().all(|x| x.is_nan()));
    for bad in [f32::NAN, f32::INFINITY] {
        for unit in Int8Backend::best_first() {
            let y = w.product_by(unit, &[bad, 1.0, 1.0, 1.0], 2, 1..2, (&[0.0; 2], Finish::Bias));
            assert!(y[0].is_nan() && (y[1] - 2.5).abs() < 0.02, "{y:?}");
        }
    }
    let w = Int8Matrix::quantize(&[1.0, -1.0], [1, 2]);
    assert_eq!(w.product(&[0.0, 0.0], 1, 0..1, &[3.0], Finish::Bias), [3.0]);
    // The range of a row may be larger than any number.
    let y = w.product(&[3e38, -3e38], 1, 0..1, &[0.0], Finish::Bias);
    assert!(y[0] > 3e38, "{y:?}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (x, w, bias) = (numbers(200 * 150, 0.37), numbers(150 * 100, 0.91), numbers(100, 0.5));
    let w = Int8Matrix::quantize(&w, [100, 150]);
    let run = |threads, n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| w.product(&x[..n * 150], n, 0..100, &bias, Finish::Bias))
    };
    for n in [3, 200] {
        assert!(run(1, n) == run(2, n) && run(1, n) == run(5, n));
    }
}
