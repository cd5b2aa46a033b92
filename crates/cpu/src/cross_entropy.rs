//! Cross-entropy of a softmax, with class weights and label smoothing.

use crate::matmul::{MatRef, Parallelism, add_product, product, product_into};
use crate::{ROWS, simd};
use rayon::prelude::*;
use std::sync::Arc;

/// Logits that [`forward_of_states`] holds at once, at most; but those of one row.
const LOGITS: usize = 1 << 24;

/// The targets of a cross-entropy and how they count.
#[derive(Clone, Debug)]
pub struct CrossEntropyTargets {
    /// The true class of each row.
    pub target: Arc<[u32]>,
    /// The weight of each class; 1 where not given.
    pub weight: Option<Arc<[f32]>>,
    /// The share of each target that is spread evenly over all classes.
    pub smoothing: f32,
}

impl CrossEntropyTargets {
    /// The weight of a class.
    pub fn weight_of(&self, class: usize) -> f32 {
        self.weight.as_ref().map_or(1.0, |weight| weight[class])
    }

    /// The targets' weights added up: what the loss is divided by.
    pub fn total(&self) -> f64 {
        self.target.iter().map(|&class| f64::from(self.weight_of(class as usize))).sum()
    }
}

/// The mean loss over rows of `logits` `[n, C]`, and, if asked for, its gradient.
pub fn forward(logits: &[f32], classes: &CrossEntropyTargets, keep: bool) -> (f32, Option<Vec<f32>>) {
    let (n, total) = (classes.target.len(), classes.total());
    let mut gradient = vec![0.0; if keep { logits.len() } else { 0 }];
    if n == 0 || total == 0.0 {
        return (0.0, keep.then_some(gradient));
    }
    let count = logits.len() / n;
    let scatter_add_rows = classes.smoothing / count as f32;
    let weights: Vec<f32> = (0..count).map(|class| classes.weight_of(class)).collect();
    let all_weights: f32 = weights.iter().sum();
    let chunk = ROWS.min(n) * count;
    let rows = logits.par_chunks(chunk).zip(classes.target.par_chunks(ROWS.min(n)));
    // Without a gradient to write there is nothing to cut; `chunks` has the same number of pieces either way.
    let mut pieces: Vec<&mut [f32]> = gradient.chunks_mut(chunk).collect();
    pieces.resize_with(n.div_ceil(ROWS.min(n)), Default::default);
    let parts = rows.zip(pieces).map(|((logits, target), mut gradient)| {
        let mut loss = 0.0;
        for (z, &target) in logits.chunks_exact(count).zip(target) {
            let target = target as usize;
            let most = simd::max(z);
            let log_sum = most + sum_exp(z, most).ln();
            let here = (1.0 - classes.smoothing) * weights[target];
            loss += f64::from(here * (log_sum - z[target]));
            if scatter_add_rows > 0.0 {
                loss += f64::from(scatter_add_rows) * spread_loss(z, &weights, log_sum);
            }
            if keep {
                let row;
                (row, gradient) = gradient.split_at_mut(count);
                // Every class gets its probability times all the target's weight, less its share of the target.
                let all = here + scatter_add_rows * all_weights;
                differentiate(row, z, &weights, log_sum, all, scatter_add_rows, 1.0 / total as f32);
                row[target] -= here / total as f32;
            }
        }
        loss
    });
    let loss: f64 = parts.collect::<Vec<f64>>().iter().sum();
    ((loss / total) as f32, keep.then_some(gradient))
}

/// States whose logits are made by a product with a table.
#[derive(Clone, Copy)]
pub struct States<'a> {
    /// `[n, h]`
    pub x: &'a [f32],
    /// `[C, h]`
    pub table: &'a [f32],
    /// The columns of both.
    pub h: usize,
}

impl<'a> States<'a> {
    fn rows(&self) -> usize {
        self.x.len().checked_div(self.h).unwrap_or(0)
    }

    fn classes(&self) -> usize {
        self.table.len().checked_div(self.h).unwrap_or(0)
    }

    fn table(&self) -> MatRef<'a> {
        MatRef::new(self.table, self.classes(), self.h)
    }

    /// Some rows at a time, so that their logits fit: what comes before, and these.
    fn chunks(self) -> impl Iterator<Item = (usize, MatRef<'a>)> {
        let rows = (LOGITS / self.classes().max(1)).max(1);
        let x = MatRef::new(self.x, self.rows(), self.h);
        (0..self.rows()).step_by(rows).map(move |first| (first, x.rows(first, rows.min(self.rows() - first))))
    }
}

/// [`forward`] of the logits `x table^T`, which are never held all at once. Gives the mean loss, and the gradients of `x` and of the table
/// where they are asked for.
pub fn forward_of_states(
    states: States<'_>,
    classes: &CrossEntropyTargets,
    keep: [bool; 2],
) -> (f32, [Option<Vec<f32>>; 2]) {
    let States { x, table, h } = states;
    let mut d_x = keep[0].then(|| vec![0.0; x.len()]);
    let mut d_table = keep[1].then(|| vec![0.0; table.len()]);
    let (total, mut loss) = (classes.total(), 0.0);
    for (first, chunk) in states.chunks() {
        let rows = chunk.shape()[0];
        let of_chunk =
            CrossEntropyTargets { target: classes.target[first..first + rows].into(), ..classes.clone() };
        // The loss of a chunk is a mean of its own.
        let part = of_chunk.total();
        if part == 0.0 {
            continue;
        }
        let logits = product(chunk, states.table().t());
        let (mean, gradient) = forward(&logits, &of_chunk, keep.contains(&true));
        loss += f64::from(mean) * part;
        let Some(gradient) = gradient else { continue };
        let (gradient, share) = (MatRef::new(&gradient, rows, states.classes()), (part / total) as f32);
        if let Some(d_x) = &mut d_x {
            let out = &mut d_x[first * h..(first + rows) * h];
            product_into(out, h, gradient, states.table(), share, Parallelism::Parallel);
        }
        if let Some(d_table) = &mut d_table {
            add_product(d_table, h, gradient.t(), chunk, share, Parallelism::Parallel);
        }
    }
    (if total == 0.0 { 0.0 } else { (loss / total) as f32 }, [d_x, d_table])
}

/// The negative log-likelihood of each row's target, and whether the target is the class with the greatest logit, of the logits `x table^T`.
pub fn likelihoods(states: States<'_>, target: &[u32]) -> Vec<(f32, bool)> {
    let mut found = Vec::with_capacity(target.len());
    for (first, chunk) in states.chunks() {
        let logits = product(chunk, states.table().t());
        let rows = logits.par_chunks(states.classes()).zip(&target[first..]);
        found.par_extend(rows.map(|(z, &target)| {
            let most = simd::max(z);
            let here = z[target as usize];
            (most + sum_exp(z, most).ln() - here, here >= most)
        }));
    }
    found
}

simd::simd! {
    fn sum_exp(z: &[f32], most: f32) -> f32 {
        let (chunks, rest) = z.as_chunks::<16>();
        let mut lanes = [0.0; 16];
        for chunk in chunks {
            for i in 0..16 {
                lanes[i] += simd::exp(chunk[i] - most);
            }
        }
        lanes.iter().sum::<f32>() + rest.iter().map(|&z| simd::exp(z - most)).sum::<f32>()
    }

    /// `sum_c w_c (-log p_c)`
    fn spread_loss(z: &[f32], weights: &[f32], log_sum: f32) -> f64 {
        z.iter().zip(weights).map(|(z, w)| f64::from(w * (log_sum - z))).sum()
    }

    /// `row := (p all - scatter_add_rows w) scale`
    fn differentiate(
        row: &mut [f32],
        z: &[f32],
        weights: &[f32],
        log_sum: f32,
        all: f32,
        scatter_add_rows: f32,
        scale: f32,
    ) {
        for ((row, z), w) in row.iter_mut().zip(z).zip(weights) {
            *row = (simd::exp(z - log_sum) * all - scatter_add_rows * w) * scale;
        }
    }
}
