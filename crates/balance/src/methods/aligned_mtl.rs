//! Aligned-MTL: the gradients are replaced by the nearest orthogonal ones of equal norm.
//!
//! Formula: with `G = V L V^T`, `w = s V L^(-1/2) V^T p`, where p are the preferences and s is the norm of the aligned
//! gradients: the smallest singular value of J that is kept (`"min"`), their median (`"median"`, the lower one of an
//! even number), or the root of their mean square (`"rmse"`). Eigenvalues below the largest times K times f32's
//! precision are dropped.
//!
//! Weights may be negative where gradients are nearly parallel.
//!
//! Defaults: `scale = "min"`, the paper's, and `p_i = 1/K` as in TorchJD (LibMTL: 1, a direction K times as long).
//!
//! Importance is the preference: `p_i = importance_i / K`.
//!
//! Cost: the K task gradients and an eigendecomposition of K x K numbers. State: none.
//!
//! When to use: unstable training where some gradients dominate or nearly cancel; the minimum scale takes small, safe
//! steps.
//!
//! Paper: Senushkin et al., "Independent component alignment for multi-task learning", CVPR 2023 (arXiv:2305.19000).

use crate::Needs;
use crate::method_impl::{ActiveTasks, MethodImpl};
use crate::solve::Eigen;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Gradients made orthogonal and of equal norm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlignedMtl {
    /// The norm of the aligned gradients.
    pub scale: Scale,
}

/// The norm that [`AlignedMtl`] gives to all gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The smallest singular value.
    #[default]
    Min,
    /// The median singular value.
    Median,
    /// The root of the mean squared singular value.
    Rmse,
}

impl MethodImpl for AlignedMtl {
    const NAME: &'static str = "aligned_mtl";
    const USES_PREFERENCES: bool = true;
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Gramian
    }

    fn weights(&self, _state: &mut (), active: &ActiveTasks<'_>) -> Vec<f64> {
        let eigen = Eigen::of(&active.gramian);
        let least = eigen.largest() * active.len() as f64 * f64::from(f32::EPSILON);
        let mut kept: Vec<f64> = eigen.values.iter().copied().filter(|&value| value > least).collect();
        kept.sort_by(f64::total_cmp);
        let square = match self.scale {
            Scale::Min => kept.first().copied().unwrap_or(0.0),
            Scale::Median => kept.get(kept.len().saturating_sub(1) / 2).copied().unwrap_or(0.0),
            Scale::Rmse => kept.iter().sum::<f64>() / kept.len().max(1) as f64,
        };
        eigen.apply(|value| if value > least { (square / value).sqrt() } else { 0.0 }, &active.preferences())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_fixtures::{BASE, SCALED, THREE, close, weights, weights_with};

    #[test]
    fn golden_values() {
        let check = |scale: Scale, base: &[f64], three: &[f64], scaled: &[f64]| {
            close(&weights(&AlignedMtl { scale }, BASE), base);
            close(&weights(&AlignedMtl { scale }, THREE), three);
            close(&weights(&AlignedMtl { scale }, SCALED), scaled);
        };
        check(Scale::Min, &[0.559072, 0.408261], &[0.361978, 0.201986, 0.263869], &[0.049881, 0.522562]);
        check(Scale::Rmse, &[1.510866, 1.103306], &[0.608732, 0.339677, 0.443744], &[0.70807, 7.417876]);
        check(Scale::Median, &[0.559072, 0.408261], &[0.597682, 0.33351, 0.435688], &[0.049881, 0.522562]);
    }

    /// LibMTL's preferences are K times as large.
    #[test]
    fn importance_is_the_preference() {
        close(&weights_with(&AlignedMtl::default(), BASE, &[2.0, 2.0]), &[1.118144, 0.816522]);
        let scaled = weights_with(&AlignedMtl::default(), THREE, &[3.0; 3]);
        close(&scaled, &[1.085935, 0.605959, 0.791608]);
    }
}
