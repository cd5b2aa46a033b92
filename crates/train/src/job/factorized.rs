//! A model of which matrices were put in the place of two factors of lower rank.

use crate::{error::TrainError, job::Model, probe::input_statistics::InputStatistics};
use model::factorization::{
    Factorizable, NetworkPart,
    low_rank::{LowRank, of_table, of_weight},
};

/// What became of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct FactorizedMatrix {
    /// Its name among the parameters.
    pub name: String,
    /// Which matrix it was.
    pub of: Factorizable,
    /// The rank of its factors.
    pub rank: usize,
    /// The squared norm of what it gave for the inputs that were read, or of the vectors of the tokens.
    pub energy: f64,
    /// That of the error, in the same unit.
    pub lost: f64,
}

impl Model {
    /// Puts two factors in the place of matrices, each with its rank, so that the error on the inputs that were read is the least
    /// ([`model::factorization::low_rank`]). In the table of token vectors a row counts by how often its token was read, and once more, so that others are
    /// not forgotten.
    ///
    /// # Errors
    /// [`TrainError::NotFactorized`] where numbers are not finite.
    ///
    /// # Panics
    /// If a matrix is of another model, or a rank beyond its sizes.
    pub fn factorize(
        &mut self,
        chosen: &[(Factorizable, usize)],
        inputs: &InputStatistics,
    ) -> Result<Vec<FactorizedMatrix>, TrainError> {
        let mut found = Vec::with_capacity(chosen.len());
        for (of, rank) in chosen {
            let name = self.parameters.parameter(of.index).name.clone();
            let factors = self.low_rank(of, *rank, inputs);
            let LowRank { up, down, energy, lost, .. } =
                factors.ok_or_else(|| TrainError::NotFactorized { matrix: name.clone() })?;
            self.parameters.factorize(of.index, up, down, *rank);
            found.push(FactorizedMatrix { name, of: *of, rank: *rank, energy, lost });
        }
        Ok(found)
    }

    fn low_rank(&self, of: &Factorizable, rank: usize, inputs: &InputStatistics) -> Option<LowRank> {
        let values = self.parameters.data(of.index);
        if of.part == NetworkPart::Embeddings {
            let weights: Vec<f64> = inputs.token_counts.iter().map(|count| *count as f64 + 1.0).collect();
            return of_table(&values, of.shape, &weights, rank);
        }
        match inputs.grams.get(&of.index) {
            Some(gram) => of_weight(&values, of.shape, &gram.sum, rank),
            // Nothing came to it: all directions count alike.
            None => of_weight(&values, of.shape, &vec![0.0; of.shape[1] * of.shape[1]], rank),
        }
    }
}
