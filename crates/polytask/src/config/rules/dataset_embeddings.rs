//! Rules about dataset embeddings.

use super::Rules;
use crate::config::diagnostic::Diagnostic;
use std::collections::BTreeSet;

impl Rules<'_> {
    /// Dataset embeddings are part of the embeddings, which must be trained at some time, and tell corpora apart.
    pub(super) fn dataset_embeddings(&mut self) {
        let config = self.config;
        if !config.model.dataset_embeddings {
            return;
        }
        let frozen = "`model.dataset_embeddings` learns vectors among the embeddings";
        if config.model.freeze.is_some() {
            let message = format!("{frozen}, which `model.freeze` leaves as they are");
            let error = Diagnostic::error(message, self.key(&["model", "freeze"]));
            self.push(error.help("leave one of the two out"));
        } else if !config.phase.is_empty() && config.phase.iter().all(|phase| phase.freeze.is_some()) {
            let message = format!("{frozen}, and every phase leaves them as they are");
            let error = Diagnostic::error(message, self.key(&["phase", "0", "freeze"]));
            self.push(error.help("leave `freeze` out of a phase, or `model.dataset_embeddings`"));
        }
        let read: BTreeSet<&String> = config.task.values().map(|task| &task.config.corpus).collect();
        if read.len() == 1 {
            let span = self.at(&["model", "dataset_embeddings"]);
            let message = "`model.dataset_embeddings` tells corpora apart, and tasks read only one";
            self.push(
                Diagnostic::warning(message, span).help("remove it: one vector for all rows says nothing"),
            );
        }
    }
}
