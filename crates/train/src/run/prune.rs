//! The cuts of a run whose model is pruned while it is trained.

use super::Run;
use crate::run::events::{self, Event};

impl Run<'_, '_> {
    /// Whether the model is not yet as small as it is to be: what its evaluations say is not of the network that will be saved.
    pub(super) fn is_being_pruned(&self) -> bool {
        self.pruning.as_ref().is_some_and(|pruning| !pruning.is_complete())
    }

    /// Cuts what is due after a step.
    pub(super) fn prune(&mut self) {
        let progress = self.step_plan.progress(self.progress.schedule_step);
        let step = self.progress.step;
        if self.pruning.as_ref().is_some_and(|pruning| pruning.is_due(step, progress)) {
            self.cut_to(progress);
        }
    }

    /// Cuts, in a run that ends before its plan does, what its plan would have cut; true if that has changed the model, whose
    /// evaluation and checkpoint are then due.
    pub(super) fn prune_the_rest(&mut self) -> bool {
        if !self.is_being_pruned() {
            return false;
        }
        self.cut_to(1.0);
        self.progress.evaluation_due = self.criterion.is_some();
        self.progress.checkpoint_due = true;
        true
    }

    fn cut_to(&mut self, progress: f64) {
        let Some(pruning) = &mut self.pruning else { return };
        let model = &mut self.job.model;
        let found = pruning.cut(progress, &model.trunk, &mut model.parameters, &mut self.optimizer_state);
        let Some(shares) = found else { return };
        let complete = pruning.is_complete();
        let (step, ffn, heads) = (self.progress.step, shares.ffn, shares.heads);
        self.emit(Event::Pruned(events::Pruned { step, ffn, heads, complete }));
    }
}
