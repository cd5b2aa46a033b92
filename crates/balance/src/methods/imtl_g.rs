//! IMTL-G: the direction whose projections onto all gradients are equal.
//!
//! Formula: `sum w = 1` and `<J^T w, g_i> / ||g_i||` the same for every task: `v = G^+ sqrt(diag G)`, `w = v / sum v`.
//! Where the sum is 0 up to rounding, there is no such direction, and every weight is 0.
//!
//! Weights may be negative, as in the paper: a task that would decrease more than the others is held back.
//!
//! Defaults: no settings. The pseudo-inverse is of the cosine matrix, which does not depend on the units of the losses.
//!
//! Importance multiplies the weights; the paper has none.
//!
//! Cost: the K task gradients and an eigendecomposition of K x K numbers. State: none.
//!
//! When to use: losses of different scale that should decrease at the same rate. Directions become extreme where
//! gradients nearly cancel. `imtl` also balances the losses.
//!
//! Paper: Liu et al., "Towards impartial multi-task learning", ICLR 2021.

use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::solve::Eigen;
use crate::{Gramian, Needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Eigenvalues below this, relative to the largest, count as 0.
const RANK: f64 = 1e-10;
/// Sums below this, relative to their terms, count as 0.
const NOTHING: f64 = 1e-12;

/// Equal projections onto all gradients. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImtlG {}

impl MethodImpl for ImtlG {
    const NAME: &'static str = "imtl_g";
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        equal_projections(&active.gramian, &vec![1.0; active.len()])
    }
}

/// The weights of equal projections, normalized so that `sum_i w_i / scales_i` is 1; 0 where that sum is 0.
pub(crate) fn equal_projections(gramian: &Gramian, scales: &[f64]) -> Vec<f64> {
    let units = towards(gramian, &vec![1.0; gramian.tasks()]);
    let weights: Vec<f64> = units.iter().zip(gramian.norms()).map(|(unit, norm)| unit / norm).collect();
    let terms = weights.iter().zip(scales).map(|(weight, scale)| weight / scale);
    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
    // Gradients that cancel: nothing but rounding is left of the combination, or of the sum.
    let found = units.iter().any(|unit| unit.abs() > NOTHING);
    if !(found && sum.abs() > NOTHING * size) {
        return vec![0.0; weights.len()];
    }
    weights.iter().map(|weight| weight / sum).collect()
}

/// `H^+ x`, H the cosine matrix: the least-squares combination of the normalized gradients whose inner products with them are x.
pub(crate) fn towards(gramian: &Gramian, products: &[f64]) -> Vec<f64> {
    let eigen = Eigen::of(&gramian.cosine_matrix());
    let least = RANK * eigen.largest();
    eigen.apply(|value| if value > least { 1.0 / value } else { 0.0 }, products)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solve::samples;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, weights};

    #[test]
    fn golden_values() {
        close(&weights(&ImtlG {}, BASE), &[0.59233, 0.40767]);
        close(&weights(&ImtlG {}, THREE), &[0.478587, 0.189155, 0.332258]);
        close(&weights(&ImtlG {}, SCALED), &[0.066041, 0.933959]);
    }

    /// Two equal gradients beside a third: the third has to make up for both, and some weights are below 0.
    #[test]
    fn projections_are_equal_and_weights_may_be_negative() {
        let rows: &[&[f64]] = &[&[1.0, 0.0], &[2.0, 2.0], &[1.0, 3.0]];
        let two = weights(&ImtlG {}, &rows[..2]);
        let three: &[&[f64]] = &[&[1.0, 0.0, 0.0], &[1.0, 0.3, 0.0], &[1.0, 0.0, 0.05], &[1.0, -0.2, 0.1]];
        let four = weights(&ImtlG {}, three);
        for (rows, weights) in [(&rows[..2], two), (&three[..3], self::weights(&ImtlG {}, &three[..3]))] {
            let gramian = crate::test_fixtures::gramian(rows);
            let onto: Vec<f64> =
                gramian.matvec(&weights).iter().zip(gramian.norms()).map(|(p, n)| p / n).collect();
            assert!(onto.iter().all(|p| (p - onto[0]).abs() < 1e-9), "{onto:?}");
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert!(four.iter().any(|&w| w < 0.0), "{four:?}");
    }

    #[test]
    fn gradients_that_cancel_have_no_direction() {
        assert_eq!(weights(&ImtlG {}, &[&[1.0, 2.0], &[-2.0, -4.0]]), [0.0, 0.0]);
    }

    /// Of three gradients in a plane: what can be reached is, and nothing is spent on the direction that is 0.
    #[test]
    fn the_pseudo_inverse_solves_what_can_be_solved() {
        let rows = samples::rows(5, 3, 2, 2);
        let cosines = samples::gramian(&rows).cosine_matrix();
        let wanted = cosines.matvec(&[1.0, -2.0, 0.5]);
        let found = towards(&cosines, &wanted);
        samples::close("in the range", &cosines.matvec(&found), &wanted);
        let units: Vec<[f64; 2]> =
            rows.iter().map(|row| [row[0], row[1]].map(|x| x / row[0].hypot(row[1]))).collect();
        let cross = |i: usize, j: usize| units[i][0] * units[j][1] - units[i][1] * units[j][0];
        let none = [cross(1, 2), cross(2, 0), cross(0, 1)];
        assert!(crate::gramian::dot(&found, &none).abs() < 1e-12, "{found:?}");
    }
}
