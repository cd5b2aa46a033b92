//! What the linear layers of a trunk read on some rows: sums that methods of compression need, which weigh the error of a weight by the
//! inputs that meet it (SVD-LLM, GPTQ and others).
//!
//! A pass with [`crate::TrunkPass::grams`] adds to them. Nothing is kept of single tokens, so that any number of rows may be read.

use crate::cast::to_u32;
use crate::parameters::MatrixId;
use burn::tensor::Tensor;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The inputs of one linear layer, summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    /// Columns of its weight.
    pub inputs: usize,
    /// `X^T X` `[inputs, inputs]` over the inputs `X` `[tokens, inputs]`. Each pass is summed in f32, passes in f64, in their order.
    pub sum: Vec<f64>,
    /// How many inputs there were. Where a pass computes a part of the weight's rows alone, its inputs count by that part.
    pub tokens: f64,
}

/// The inputs of some linear layers. Where layers have the same weight their inputs are one sum.
#[derive(Debug, Default)]
pub struct InputGrams {
    wanted: Vec<usize>,
    sums: Mutex<BTreeMap<usize, Gram>>,
}

impl InputGrams {
    /// Of the weights with these indices; the rest is passed over. Takes 8 bytes for each pair of columns of each.
    pub fn of(weights: impl IntoIterator<Item = usize>) -> Self {
        let mut wanted: Vec<usize> = weights.into_iter().collect();
        wanted.sort_unstable();
        InputGrams { wanted, sums: Mutex::default() }
    }

    /// Adds inputs `x` `[n, inputs]` of a layer, times `share`.
    pub(crate) fn add(&self, weight: MatrixId, x: &Tensor<2>, share: f64) {
        let [tokens, inputs] = x.dims();
        if tokens == 0 || self.wanted.binary_search(&weight.index()).is_err() {
            return;
        }
        let found = kernels::gram(x.clone());
        let mut sums = self.sums();
        let of = sums.entry(weight.index()).or_insert_with(|| Gram {
            inputs,
            sum: vec![0.0; inputs * inputs],
            tokens: 0.0,
        });
        of.sum.iter_mut().zip(found).for_each(|(sum, found)| *sum += share * f64::from(found));
        of.tokens += share * f64::from(to_u32(tokens));
    }

    /// The sums so far, by the index of the weight.
    pub fn into_sums(self) -> BTreeMap<usize, Gram> {
        self.sums.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn sums(&self) -> MutexGuard<'_, BTreeMap<usize, Gram>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
