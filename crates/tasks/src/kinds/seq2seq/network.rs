//! What a network that writes texts does for a head, whichever sort it is of.

use burn::tensor::Tensor;
use data::Pack;
use model::Parameters;

use super::search::Hypothesis;
use super::{Decoding, Texts};
use crate::{Batch, BatchRow, Loss};

/// A network that writes the targets of rows.
pub(super) trait WritingNetwork: Send + Sync {
    /// See [`crate::TaskHead::mark_used_tokens`].
    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]);

    /// The mean cross-entropy of the target tokens of the batch, end tokens included; `None` where there are none.
    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, texts: &Texts) -> Option<Loss>;

    /// The logits `[tokens, vocabulary]` of the target tokens of the batch's rows, end tokens included, and how many each row has; every
    /// row has a reference. `None` where there are no rows.
    fn target_logits(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
    ) -> Option<(Tensor<2>, Vec<usize>)>;

    /// For each row of the batch the negative log-likelihood of its first reference, and its number of tokens; `None` without one.
    fn likelihoods(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
    ) -> Vec<Option<(f64, usize)>>;

    /// A text for each row of the batch. `stops` says whether tokens that were written end a text.
    fn write(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
        decoding: &Decoding,
        stops: &(dyn Fn(&[u32]) -> bool + Sync),
    ) -> Vec<Hypothesis>;
}
