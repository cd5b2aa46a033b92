//! Merging: one set of weights out of those of several models that were trained from one checkpoint, without training. One file a
//! method; its leading comment is its documentation. No file is read or written here: a method sees one tensor of all models at a time.
//!
//! Notation of the methods' comments: theta_0 are the weights of the common checkpoint, theta_t those of model t of T, w_t its weight (1
//! unless said), d_t = theta_t - theta_0 its task vector, n how many numbers a tensor has. Everything is computed in f64. Equal
//! magnitudes are ordered by their index, the lower first. Counts such as `density n` are rounded, and are at least 1: cutting them off, as
//! mergekit does, makes 28 of 0.29 x 100, and nothing at all of small tensors.

mod average;
mod breadcrumbs;
mod breadcrumbs_ties;
mod consensus;
mod dare_linear;
mod dare_ties;
mod della;
mod della_linear;
mod fisher;
mod magnitude;
mod mask;
mod model_stock;
mod sce;
mod task_arithmetic;
mod task_vectors;
mod ties;

pub use average::Average;
pub use breadcrumbs::Breadcrumbs;
pub use breadcrumbs_ties::BreadcrumbsTies;
pub use dare_linear::DareLinear;
pub use dare_ties::DareTies;
pub use della::Della;
pub use della_linear::DellaLinear;
pub use fisher::Fisher;
pub use model_stock::ModelStock;
pub use sce::Sce;
pub use task_arithmetic::TaskArithmetic;
pub use ties::Ties;

use crate::cast::to_f32;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One tensor of all models, and of the checkpoint that they began with.
#[derive(Debug, Clone, Copy)]
pub struct TensorVote<'a> {
    /// Its name: random masks depend on it.
    pub name: &'a str,
    /// The numbers of a row; a vector is one row. At least 1.
    pub columns: usize,
    /// theta_0, as long as each model's; `None` only for methods that need none.
    pub base: Option<&'a [f32]>,
    /// The models: at least one, all with as many numbers.
    pub voters: &'a [Voter<'a>],
}

/// One tensor of a model.
#[derive(Debug, Clone, Copy)]
pub struct Voter<'a> {
    /// The model's name, unique among the voters: random masks depend on it.
    pub model: &'a str,
    /// theta_t, in row-major order.
    pub values: &'a [f32],
    /// w_t: 0 or more.
    pub weight: f64,
    /// How much the model's own loss depends on each number; `None` only for methods that need none.
    pub importance: Option<&'a [f32]>,
}

/// A way to merge models, with its settings.
pub(crate) trait MergingMethod {
    /// Whether it looks at the difference to the common checkpoint.
    fn needs_base(&self) -> bool {
        true
    }

    /// Whether models may have weights.
    fn takes_weights(&self) -> bool {
        true
    }

    /// The training rows of each task that it wants gradients of; `None` where it needs no data.
    fn gradient_rows(&self) -> Option<usize> {
        None
    }

    /// Checks the settings.
    fn check(&self) -> Result<(), MergingError> {
        Ok(())
    }

    /// The merged tensor.
    fn merge(&self, vote: &TensorVote<'_>) -> Vec<f64>;
}

/// A setting of a method out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: found {found}, expected {expected}")]
pub struct MergingError {
    /// The setting.
    pub key: &'static str,
    /// What it says.
    pub found: String,
    /// What it may be.
    pub expected: &'static str,
}

impl MergingError {
    fn new(key: &'static str, found: impl fmt::Display, expected: &'static str) -> Self {
        MergingError { key, found: found.to_string(), expected }
    }
}

/// Checks a share of the numbers of a tensor.
fn check_share(key: &'static str, share: f64) -> Result<(), MergingError> {
    let is_share = share > 0.0 && share <= 1.0;
    if is_share { Ok(()) } else { Err(MergingError::new(key, share, "a number above 0 and at most 1")) }
}

/// Checks the factor of what the task vectors become together.
fn check_lambda(lambda: f64) -> Result<(), MergingError> {
    let is_factor = lambda > 0.0 && lambda.is_finite();
    if is_factor { Ok(()) } else { Err(MergingError::new("lambda", lambda, "a number above 0")) }
}

/// Generates [`Merging`] and [`CATALOGUE`] from one line per method: documentation, type with its settings, name, source file.
macro_rules! merging_methods {
    ($($(#[$doc:meta])* $method:ident, $name:literal, $file:literal;)+) => {
        /// How models are merged: a method with its settings.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Merging {
            $($(#[$doc])* #[serde(rename = $name)] $method($method),)+
        }

        /// Every method: its name and the source whose leading comment documents it.
        pub const CATALOGUE: &[(&str, &str)] = &[$(($name, include_str!($file)),)+];

        impl Merging {
            /// Every method with its default settings.
            pub fn all() -> Vec<Merging> {
                vec![$(Merging::$method(<$method>::default()),)+]
            }

            /// The method's name, as in [`CATALOGUE`].
            pub fn name(&self) -> &'static str {
                match self { $(Merging::$method(_) => $name,)+ }
            }

            fn method(&self) -> &dyn MergingMethod {
                match self { $(Merging::$method(method) => method,)+ }
            }
        }
    };
}

merging_methods! {
    /// The mean of the weights (Wortsman et al. 2022).
    Average, "average", "average.rs";
    /// The checkpoint and the sum of the task vectors (Ilharco et al. 2023).
    TaskArithmetic, "task_arithmetic", "task_arithmetic.rs";
    /// Large changes alone, and of these those whose sign wins (Yadav et al. 2023).
    Ties, "ties", "ties.rs";
    /// The sum of task vectors of which a random part is dropped (Yu et al. 2024).
    DareLinear, "dare_linear", "dare_linear.rs";
    /// Task vectors of which a random part is dropped, and of the rest those whose sign wins (Yu et al. 2024).
    DareTies, "dare_ties", "dare_ties.rs";
    /// As `dare_ties`, where large changes are dropped less often (Deep et al. 2024).
    Della, "della", "della.rs";
    /// As `dare_linear`, where large changes are dropped less often (Deep et al. 2024).
    DellaLinear, "della_linear", "della_linear.rs";
    /// The sum of task vectors without the largest and the smallest changes (Davari and Belilovsky 2024).
    Breadcrumbs, "breadcrumbs", "breadcrumbs.rs";
    /// Task vectors without the largest and the smallest changes, and of the rest those whose sign wins.
    BreadcrumbsTies, "breadcrumbs_ties", "breadcrumbs_ties.rs";
    /// Where the models differ most, weighted by how much each has changed (Wan et al. 2024).
    Sce, "sce", "sce.rs";
    /// Between the checkpoint and the mean, by the angle between the models (Jang et al. 2024).
    ModelStock, "model_stock", "model_stock.rs";
    /// The mean weighted by the Fisher information (Matena and Raffel 2022).
    Fisher, "fisher", "fisher.rs";
}

impl Merging {
    /// Whether it looks at the difference to the common checkpoint, so that [`TensorVote::base`] must be there.
    pub fn needs_base(&self) -> bool {
        self.method().needs_base()
    }

    /// Whether models may have weights.
    pub fn takes_weights(&self) -> bool {
        self.method().takes_weights()
    }

    /// The training rows of each task of whose gradients [`Voter::importance`] is made; `None` where that is not needed.
    pub fn gradient_rows(&self) -> Option<usize> {
        self.method().gradient_rows()
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// The first that is out of its range.
    pub fn check(&self) -> Result<(), MergingError> {
        self.method().check()
    }

    /// One tensor of the merged model, in row-major order. Numbers beyond f32 come out as infinities.
    ///
    /// # Panics
    /// Where the lengths in `vote` differ, or it lacks what the method needs: mistakes of the calling code.
    pub fn merge(&self, vote: &TensorVote<'_>) -> Vec<f32> {
        self.method().merge(vote).into_iter().map(to_f32).collect()
    }
}

#[cfg(test)]
mod tests;
