//! What operations need besides numbers.

use std::ops::Range;
use std::sync::Arc;

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

/// One step of AdamW: its settings and how many steps it makes with this one.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// How much of the first moment stays, usually 0.9.
    pub beta1: f32,
    /// How much of the second moment stays, usually 0.999.
    pub beta2: f32,
    /// Added to the root of the second moment, usually 1e-8.
    pub eps: f32,
    /// Weight decay, apart from the gradient: weights shrink by `learning_rate * weight_decay`.
    pub weight_decay: f32,
    /// Step size.
    pub learning_rate: f32,
    /// What the gradient is multiplied by before anything else: the factor of clipping, 1 without.
    pub grad_scale: f32,
    /// Number of this step, from 1.
    pub step: u32,
}

impl AdamW {
    /// What the moments are divided by because they began at zero: `1 - beta1^time`, `sqrt(1 - beta2^time)`.
    pub fn corrections(&self) -> (f64, f64) {
        let left = |beta: f32| 1.0 - f64::from(beta).powi(self.step as i32);
        (left(self.beta1), left(self.beta2).sqrt())
    }
}

/// What low-rank updates need besides tensors.
#[derive(Clone, Debug)]
pub struct LowRankGroups {
    /// The rows of each group.
    pub rows: Vec<Range<usize>>,
    /// The columns that are updated.
    pub columns: Range<usize>,
    /// Columns of all.
    pub width: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Rank of an update.
    pub rank: usize,
    /// What updates are multiplied by.
    pub scale: f32,
}

impl LowRankGroups {
    /// How many columns are updated.
    pub fn outputs(&self) -> usize {
        self.columns.len()
    }
}
