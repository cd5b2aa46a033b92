//! GradDrop: for every parameter only the gradients of one sign are kept, drawn by how much the tasks agree.
//!
//! Formula: for parameter k, `P = (1 + sum_i g_ik / sum_i |g_ik|) / 2` is the purity of the positive sign. With U
//! uniform in 0 to 1, the positive entries are kept if P > U, otherwise the negative ones; the others are multiplied by
//! `leak`. The direction is the sum of the remaining gradients.
//!
//! Defaults: `leak = 0`, as in TorchJD; `seed = 0`. The draw of a parameter is a function of seed, step and its index.
//! The paper and LibMTL apply this to the gradient at a representation, multiplied by its sign; here it is applied to
//! the shared parameters, as in TorchJD.
//!
//! Importance multiplies the remaining gradient of a task.
//!
//! Cost: the K task gradients, and a pass over them. State: the number of steps.
//!
//! When to use: conflicts that are spread over the parameters, at the price of a noisier direction.
//!
//! Paper: Chen et al., "Just pick a sign: optimizing deep multitask models with gradient sign dropout", NeurIPS 2020
//! (arXiv:2010.06808).

use crate::method_impl::{ActiveTasks, Chunk, GradientAccess, MethodImpl};
use crate::random::{draw, mix, uniform};
use crate::{BalanceError, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Gradients of one sign per parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradDrop {
    /// Factor on the entries of the other sign.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub leak: f64,
    /// Random seed, from 0 to 4294967295.
    pub seed: u32,
}

impl MethodImpl for GradDrop {
    const NAME: &'static str = "graddrop";
    /// The number of steps so far.
    type State = u64;

    fn needs(&self) -> Needs {
        Needs::GradientTransform
    }

    fn check(&self) -> Result<(), BalanceError> {
        self.setting("leak", self.leak, 0.0, 1.0)
    }

    fn gradient_access(&self) -> GradientAccess {
        GradientAccess::WithoutBuffers
    }

    fn transform_chunk(&self, steps: &mut u64, chunk: Chunk<'_, '_, '_>) {
        let start = draw(self.seed, *steps, &[]);
        let length = chunk.rows.first().map_or(0, |row| row.len());
        for (k, index) in (0..length).zip(chunk.offset..) {
            let entries = chunk.indices.iter().map(|&task| f64::from(chunk.rows[task][k]));
            let (sum, size) = entries.fold((0.0, 0.0), |(sum, size), g| (sum + g, size + g.abs()));
            if size == 0.0 {
                continue;
            }
            let positive = 0.5 * (1.0 + sum / size) > uniform(mix(start.wrapping_add(index)));
            for &task in &chunk.indices {
                let entry = &mut chunk.rows[task][k];
                if (*entry > 0.0) != positive {
                    *entry *= self.leak as f32;
                }
            }
        }
    }

    fn weights(&self, steps: &mut u64, active: &ActiveTasks<'_>) -> Vec<f64> {
        *steps = steps.wrapping_add(1);
        vec![1.0; active.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{balancer, transform};

    /// Where signs agree all entries are kept; where they differ, those of one sign, as often as its purity says.
    #[test]
    fn one_sign_is_kept() {
        let mut graddrop = balancer(&GradDrop { leak: 0.25, seed: 1 }, 3);
        let rows: Vec<Vec<f32>> = vec![vec![3.0; 20_000], vec![-1.0; 20_000], vec![0.0; 20_000]];
        let after = transform(&mut *graddrop, &rows, &mut [], 7000);
        let kept = after[0].iter().filter(|&&x| x == 3.0).count() as f64 / 20_000.0;
        assert!((kept - 0.75).abs() < 0.01, "{kept}");
        for (a, b) in after[0].iter().zip(&after[1]) {
            assert!((*a, *b) == (3.0, -0.25) || (*a, *b) == (0.75, -1.0), "{a}, {b}");
        }
        let same = vec![vec![1.0, -2.0], vec![3.0, -4.0], vec![0.0, -1.0]];
        assert_eq!(transform(&mut *graddrop, &same, &mut [], 2), same);
    }

    #[test]
    fn chunks_do_not_matter_and_steps_do() {
        let rows: Vec<Vec<f32>> = vec![vec![1.0; 500], vec![-1.0; 500]];
        let mut graddrop = balancer(&GradDrop::default(), 2);
        let whole = transform(&mut *graddrop, &rows, &mut [], 500);
        assert_eq!(transform(&mut *graddrop, &rows, &mut [], 77), whole);
        graddrop.weights_from_losses(&[Some(1.0), Some(1.0)]);
        assert_ne!(transform(&mut *graddrop, &rows, &mut [], 500), whole);
    }
}
