//! SCE (select, calculate, erase): where the models differ most, weighted by how much each has changed.
//!
//! ```text
//! select     d'_t = d_t with 0 in place of all but the `share n` positions with the largest variance over the models
//! calculate  w_t  = mean of d'_t^2, divided by the sum over t
//! erase      s    = sign of sum_t d'_t, + where the sum is 0
//!            theta = theta_0 + mean of the d'_t that have the sign s, by w_t
//! ```
//!
//! Defaults: share 1; the authors' FuseChat has 0.1. The weights come from the models: others cannot be given.
//! Cost: a selection of the positions of each tensor.
//! When to use: models that were trained for different lengths, of which the one that has changed more shall count more.
//! Paper: Wan et al. 2024, "FuseChat: knowledge fusion of chat models".

use super::consensus::elected_mean;
use super::magnitude::{count, descending};
use super::task_vectors::{applied, differences};
use super::{MergingError, MergingMethod, TensorVote, check_share};
use serde::{Deserialize, Serialize};

/// Where the models differ most, weighted by how much each has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sce {
    /// The share of the positions of each tensor that is kept.
    pub share: f64,
}

impl Default for Sce {
    fn default() -> Self {
        Sce { share: 1.0 }
    }
}

impl Sce {
    /// d'_t of every model.
    pub(super) fn selected(&self, vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let (models, n) = (vectors.len() as f64, vectors.first().map_or(0, Vec::len));
        let variance = |at: usize| {
            let mean = vectors.iter().map(|d| d[at]).sum::<f64>() / models;
            vectors.iter().map(|d| (d[at] - mean).powi(2)).sum::<f64>() / models
        };
        let keep = count(self.share, n);
        if keep == n {
            return vectors;
        }
        let variances: Vec<f64> = (0..n).map(variance).collect();
        let mut order = descending(&variances);
        order.truncate(keep);
        let mut is_kept = vec![false; n];
        order.into_iter().for_each(|at| is_kept[at] = true);
        let masked = |d: Vec<f64>| d.into_iter().zip(&is_kept).map(|(d, kept)| if *kept { d } else { 0.0 });
        vectors.into_iter().map(|d| masked(d).collect()).collect()
    }

    /// w_t of every model; 0 where no model has changed.
    pub(super) fn weights(vectors: &[Vec<f64>]) -> Vec<f64> {
        let squares: Vec<f64> = vectors.iter().map(|d| d.iter().map(|d| d * d).sum::<f64>()).collect();
        let total: f64 = squares.iter().sum();
        squares.iter().map(|square| if total > 0.0 { square / total } else { 0.0 }).collect()
    }
}

impl MergingMethod for Sce {
    fn takes_weights(&self) -> bool {
        false
    }

    fn check(&self) -> Result<(), MergingError> {
        check_share("share", self.share)
    }

    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64> {
        let kept = self.selected(differences(vote));
        let votes = vec![1.0; kept.len()];
        applied(vote, elected_mean(&kept, &votes, &Sce::weights(&kept)), 1.0)
    }
}
