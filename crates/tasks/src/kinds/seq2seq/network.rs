//! What a network that writes texts does for a head, whichever sort it is of.

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

    /// For each row of the batch the negative log-likelihood of its first reference, and its number of tokens; `None` without one.
    fn likelihoods(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
    ) -> Vec<Option<(f64, usize)>>;

    /// A text for each row of the batch.
    fn write(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        texts: &Texts,
        decoding: &Decoding,
    ) -> Vec<Hypothesis>;
}
