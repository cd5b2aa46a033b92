//! Which matrices become two factors, and of which rank.

use crate::cli;
use crate::failure::Failure;
use ::model::factorization::{Factorizable, NetworkPart};
use std::path::Path;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The share of the numbers of the matrices of attentions.
    attention: Option<f64>,
    /// The same of feed-forward parts.
    ffn: Option<f64>,
    /// The rank of the token table.
    embeddings: Option<usize>,
}

impl Wanted {
    /// What the options say; refuses shares that are none, and a command that does nothing.
    pub fn of(args: &cli::Factorize) -> Result<Self, Failure> {
        for (option, share) in [("--rank", args.rank), ("--attention", args.attention), ("--ffn", args.ffn)] {
            if let Some(found) = share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
                return Err(Failure::refused([format!(
                    "{option} {found}: it is the share of its parameters that a matrix keeps, expected a number above 0, at most 1"
                )]));
            }
        }
        let (attention, ffn) = (args.attention.or(args.rank), args.ffn.or(args.rank));
        if attention.is_none() && ffn.is_none() && args.embeddings.is_none() {
            return Err(Failure::refused([
                "nothing to factorize: give --rank 0.5 (the share of its parameters that each matrix keeps), --ffn 0.5, --attention 0.5, or \
                 --embeddings 128 (the rank of the token table)",
            ]));
        }
        Ok(Wanted { attention, ffn, embeddings: args.embeddings })
    }

    /// The matrices with their ranks. `run` is what the model is called.
    ///
    /// # Errors
    /// A rank that the token table cannot have; parts without matrices.
    pub fn choose(&self, found: &[Factorizable], run: &Path) -> Result<Vec<(Factorizable, usize)>, Failure> {
        let parts = [
            (NetworkPart::Embeddings, self.embeddings.is_some()),
            (NetworkPart::Attention, self.attention.is_some()),
            (NetworkPart::FeedForward, self.ffn.is_some()),
        ];
        // `bag` has neither attention nor a feed-forward part, and what has factors has no matrix.
        let is_missing = |(part, is_wanted): &&(NetworkPart, bool)| {
            *is_wanted && found.iter().all(|matrix| matrix.part != *part)
        };
        if let Some((part, _)) = parts.iter().find(is_missing) {
            return Err(Failure::refused([format!(
                "{}: the network has no whole matrix of its {} (those that are two factors already stay as they are); leave the option out",
                run.display(),
                part.name()
            )]));
        }
        let rank_of = |matrix: &Factorizable| match matrix.part {
            NetworkPart::Embeddings => self.embeddings,
            NetworkPart::Attention => self.attention.map(|share| matrix.rank_of(share)),
            NetworkPart::FeedForward => self.ffn.map(|share| matrix.rank_of(share)),
        };
        let chosen: Vec<(Factorizable, usize)> =
            found.iter().filter_map(|matrix| Some((*matrix, rank_of(matrix)?))).collect();
        for (matrix, rank) in &chosen {
            let [rows, columns] = matrix.shape;
            let most = rows.min(columns);
            if !(1..=most).contains(rank) {
                return Err(Failure::refused([format!(
                    "--embeddings {rank}: the table of token vectors is {rows} x {columns}, expected a rank from 1 to {most}"
                )]));
            }
        }
        Ok(chosen)
    }
}
