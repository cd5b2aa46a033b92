//! Soft sharing: a trunk for each task, drawn together by a penalty on how the trunks differ.
//!
//! ```text
//! l2:          loss + strength sum_t |w_t - mean(w)|^2           w_t: the weights that task t has for itself
//! trace_norm:  loss + strength sum |W|_*                         W: for each matrix or vector, a row for each task
//! ```
//!
//! |W|_* is the sum of the singular values: few of them are large where the tasks' weights are combinations of few.
//! All trunks begin as the checkpoint: the network begins as hard sharing. The embeddings are one for all tasks.
//! Defaults: every layer (`first_layer = 0`), `penalty = "l2"`, strength 1e-3. The penalty moves only what a step has a gradient for: the
//! weights of a task that is absent stay where they are.
//! Parameters: (tasks - 1) times those of the layers from `first_layer` on.
//! Cost: none for rows of one task, a row that several tasks read goes through the trunk once for each; the penalty reads the weights of
//! all tasks once a step. Memory: weights, gradients and optimizer state of all trunks.
//! When to use: when hard sharing hurts a task and `compare` finds that a model for each task loses what tasks have in common.
//! Errors: a strength below 0, a layer that the backbone does not have, frozen layers above `first_layer`.
//! Papers: Duong et al. 2015, "Low resource dependency parsing: cross-lingual parameter sharing in a neural network parser" (l2); Yang and
//! Hospedales 2017, "Trace norm regularised deep multi-task learning".

use super::build::check_own_layers;
use super::copies::{WeightCopies, parameters_from};
use super::targets::refused;
use super::{LanePolicy, LayerPass, Penalty, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::parameters::{Level, Owner, ParameterTensor, Parameters};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[sharing.soft]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftConfig {
    /// How the difference of the trunks is measured.
    pub penalty: SoftPenalty,
    /// What the penalty is multiplied by.
    #[schemars(range(min = 0.0))]
    pub strength: f64,
    /// The lowest layer that each task has for itself, from 0; all by default.
    pub first_layer: usize,
}

impl Default for SoftConfig {
    fn default() -> Self {
        Self { penalty: SoftPenalty::L2, strength: 1e-3, first_layer: 0 }
    }
}

/// How the difference of the trunks is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SoftPenalty {
    /// The squared distance from the mean.
    #[default]
    L2,
    /// The sum of the singular values.
    TraceNorm,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Soft {
    config: SoftConfig,
    copies: WeightCopies,
}

const NAME: &str = "soft";

impl Soft {
    pub(super) fn new(config: SoftConfig) -> Self {
        Soft { config, copies: WeightCopies::default() }
    }

    /// The value of the penalty of one parameter, and what each task's gradient is made of: `gradient_t = sum_u m[t][u] w_u`. From
    /// the inner products of the tasks' weights.
    fn of_products(&self, products: &[f64], tasks: usize) -> (f64, Vec<f64>) {
        let strength = self.config.strength;
        match self.config.penalty {
            SoftPenalty::L2 => {
                let trace: f64 = (0..tasks).map(|t| products[t * tasks + t]).sum();
                let mean = products.iter().sum::<f64>() / tasks as f64;
                let own = |at: usize| if at / tasks == at % tasks { 1.0 } else { 0.0 };
                let factor = |at: usize| 2.0 * strength * (own(at) - 1.0 / tasks as f64);
                (strength * (trace - mean).max(0.0), (0..tasks * tasks).map(factor).collect())
            }
            SoftPenalty::TraceNorm => {
                let (norm, inverse) = inverse_root(products, tasks);
                (strength * norm, inverse.into_iter().map(|x| strength * x).collect())
            }
        }
    }
}

impl Sharing for Soft {
    fn config(&self) -> SharingConfig {
        SharingConfig::Soft(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let SoftConfig { strength, first_layer, .. } = self.config;
        check_own_layers(NAME, first_layer, trunk)?;
        if !(strength.is_finite() && strength >= 0.0) {
            return Err(refused(NAME, "strength", strength, "a number, 0 or more"));
        }
        let Some((first, others)) = tasks.split_first() else { return Ok(()) };
        let own = parameters_from(first_layer, trunk, parameters);
        for task in others {
            self.copies.add(NAME, std::slice::from_ref(task), &own, parameters);
        }
        own.iter().for_each(|index| parameters.set_owner(*index, Owner::task(first.clone())));
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        LanePolicy::PerTask
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn layer_pass(&self, _level: Level) -> LayerPass {
        LayerPass::PerLane
    }

    fn copies(&self) -> Option<&WeightCopies> {
        Some(&self.copies)
    }

    fn penalty(&self, parameters: &Parameters) -> Option<Penalty> {
        let mut penalty = Penalty { value: 0.0, gradients: Vec::new() };
        for (base, copies) in self.copies.by_parameter() {
            let of_tasks: Vec<usize> = std::iter::once(base).chain(copies).collect();
            let tasks = of_tasks.len();
            let value = |index: &usize| parameters.parameter(*index).value();
            let gradients = match value(&base) {
                ParameterTensor::Matrix(_) => {
                    let of = |index: &usize| match value(index) {
                        ParameterTensor::Matrix(matrix) => Some(matrix.clone().inner()),
                        ParameterTensor::Vector(_) => None,
                    };
                    let rows: Vec<Tensor<2>> = of_tasks.iter().filter_map(of).collect();
                    let mut products = vec![0.0; tasks * tasks];
                    kernels::accumulate_gramian(&rows, &mut products);
                    let (value, factors) = self.of_products(&products, tasks);
                    penalty.value += value;
                    combined(&rows, &factors).into_iter().map(ParameterTensor::Matrix).collect::<Vec<_>>()
                }
                ParameterTensor::Vector(_) => {
                    let of = |index: &usize| match value(index) {
                        ParameterTensor::Vector(vector) => Some(vector.clone().inner()),
                        ParameterTensor::Matrix(_) => None,
                    };
                    let rows: Vec<Tensor<1>> = of_tasks.iter().filter_map(of).collect();
                    let mut products = vec![0.0; tasks * tasks];
                    kernels::accumulate_gramian(&rows, &mut products);
                    let (value, factors) = self.of_products(&products, tasks);
                    penalty.value += value;
                    combined(&rows, &factors).into_iter().map(ParameterTensor::Vector).collect()
                }
            };
            penalty.gradients.extend(of_tasks.into_iter().zip(gradients));
        }
        (!penalty.gradients.is_empty()).then_some(penalty)
    }

    fn merged(&self, task: &str, parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        Some(self.copies.merged(task, parameters))
    }
}

/// For each row of `factors` `[rows, rows]` the sum of the rows weighted by it.
fn combined<const D: usize>(rows: &[Tensor<D>], factors: &[f64]) -> Vec<Tensor<D>> {
    let of =
        |factors: &[f64]| kernels::weighted_sum(factors.iter().copied().zip(rows.iter().cloned()).collect());
    factors.chunks(rows.len().max(1)).filter_map(of).collect()
}

/// The sum of the roots of the eigenvalues of a symmetric matrix `[n, n]`, and the inverse of its root on the space where it has one.
/// By Jacobi's rotations (Golub and Van Loan, section 8.5), of a matrix as small as the number of tasks.
fn inverse_root(products: &[f64], n: usize) -> (f64, Vec<f64>) {
    const SWEEPS: usize = 50;
    let mut a = products.to_vec();
    let mut vectors: Vec<f64> = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| a[at] * a[at]).sum();
        let all: f64 = a.iter().map(|x| x * x).sum();
        if off <= all * f64::EPSILON * f64::EPSILON {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, p, q);
            }
        }
    }
    let values: Vec<f64> = (0..n).map(|i| a[i * n + i].max(0.0)).collect();
    let least = values.iter().copied().fold(0.0, f64::max) * 1e-12;
    let mut inverse = vec![0.0; n * n];
    for (k, value) in values.iter().enumerate().filter(|(_, value)| **value > least) {
        for i in 0..n {
            for j in 0..n {
                inverse[i * n + j] += vectors[i * n + k] * vectors[j * n + k] / value.sqrt();
            }
        }
    }
    (values.iter().map(|value| value.sqrt()).sum(), inverse)
}

/// Makes entry (p, q) 0.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    if a[p * n + q] == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let t = if theta == 0.0 { 1.0 } else { t };
    let cosine = 1.0 / t.hypot(1.0);
    let sine = t * cosine;
    let turn = |m: &mut [f64], x: usize, y: usize| {
        let (u, v) = (m[x], m[y]);
        (m[x], m[y]) = (cosine * u - sine * v, sine * u + cosine * v);
    };
    for k in 0..n {
        turn(a, k * n + p, k * n + q);
    }
    for k in 0..n {
        turn(a, p * n + k, q * n + k);
    }
    for k in 0..n {
        turn(vectors, k * n + p, k * n + q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.linalg.matrix_norm(W, "nuc")` and its gradient `U V^T`, in closed form: the rows (3, 0) and (0, 4) have the singular
    /// values 3 and 4, and (1, 1), (1, 1) has one of 2.
    #[test]
    fn the_trace_norm_is_the_sum_of_singular_values() {
        let (norm, inverse) = inverse_root(&[9.0, 0.0, 0.0, 16.0], 2);
        assert!((norm - 7.0).abs() < 1e-12);
        assert!((inverse[0] - 1.0 / 3.0).abs() < 1e-12 && (inverse[3] - 0.25).abs() < 1e-12);
        let (norm, inverse) = inverse_root(&[2.0, 2.0, 2.0, 2.0], 2);
        assert!((norm - 2.0).abs() < 1e-12);
        assert!(inverse.iter().all(|x| (x - 0.25).abs() < 1e-12), "{inverse:?}");
    }

    #[test]
    fn the_inverse_root_is_one() {
        let g = [4.0, 1.0, 0.5, 1.0, 3.0, -0.2, 0.5, -0.2, 2.0];
        let (_, inverse) = inverse_root(&g, 3);
        let times = |a: &[f64], b: &[f64]| -> Vec<f64> {
            (0..9).map(|at| (0..3).map(|k| a[at / 3 * 3 + k] * b[k * 3 + at % 3]).sum()).collect()
        };
        let unit = times(&times(&inverse, &inverse), &g);
        for (at, x) in unit.iter().enumerate() {
            assert!((x - if at / 3 == at % 3 { 1.0 } else { 0.0 }).abs() < 1e-9, "{unit:?}");
        }
    }
}
