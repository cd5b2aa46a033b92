//! The matrix products of a step's layers and nothing else: no step of the same kernels can be faster.

use crate::median;
use crate::step::Sizes;
use kernels::matmul::{MatRef, Parallelism, product_into};
use serde_json::{Value, json};
use std::time::Instant;

/// Times the products of one layer: forward, input gradient and weight gradient of its four linear maps.
pub fn measure(sizes: Sizes, repeats: usize) -> Value {
    let (n, h, wide) = (sizes.tokens(), sizes.hidden, sizes.intermediate);
    let maps = [(h, 3 * h), (h, h), (h, wide), (wide, h)];
    let largest = n.max(h) * wide.max(3 * h);
    let numbers: Vec<f32> = (0..largest).map(|i| (i as f32 * 0.37).sin()).collect();
    let matrix = |rows: usize, columns: usize| MatRef::new(&numbers[..rows * columns], rows, columns);
    let mut out = vec![0.0; largest];
    let mut seconds = Vec::new();
    for _ in 0..repeats + 1 {
        let began = Instant::now();
        for (inputs, outputs) in maps {
            let (x, w, dy) = (matrix(n, inputs), matrix(outputs, inputs), matrix(n, outputs));
            for (a, b, width) in [(x, w.t(), outputs), (dy, w, inputs), (dy.t(), x, inputs)] {
                product_into(&mut out, width, a, b, 1.0, Parallelism::Parallel);
            }
        }
        seconds.push(began.elapsed().as_secs_f64());
    }
    let operations: usize = maps.iter().map(|(inputs, outputs)| 3 * 2 * n * inputs * outputs).sum();
    let rate = operations as f64 / median(seconds.split_off(1)) / 1e9;
    json!({ "gflops": rate, "threads": rayon::current_num_threads() })
}
