//! Rules about heads that several tasks share.

use super::Rules;
use crate::config::diagnostic::Diagnostic;
use train::TaskTable;

impl Rules<'_> {
    /// A head is shared with a task of the same kind that has one of its own, and has one learning rate and no end.
    pub(super) fn heads(&mut self) {
        for (name, task) in &self.config.task {
            let Some(head) = &task.config.head else { continue };
            let owner = self.config.task.get(head);
            let kinds = owner.map(|owner| [owner.config.kind(head), task.config.kind(name)].map(Result::ok));
            let problem = match (owner, kinds) {
                (None, _) => Some("there is no such task"),
                (Some(owner), _) if owner.config.head.is_some() => Some("it has no head of its own"),
                (_, Some([own, other])) if own != other => Some("it is of another kind"),
                _ if task.training.head_learning_rate.is_some() => {
                    let message = format!("task `{name}` has a learning rate, but the head of `{head}`");
                    let span = self.at(&["task", name, "head_learning_rate"]);
                    let error = Diagnostic::error(message, span);
                    self.push(error.help(format!("the rate of a shared head is that of `{head}`")));
                    None
                }
                _ => None,
            };
            if let Some(problem) = problem {
                let message = format!("task `{name}` shares the head of `{head}`, but {problem}");
                let error = Diagnostic::error(message, self.at(&["task", name, "head"]));
                self.push(error.help("name a task of the same kind that has no `head` in its table"));
            }
        }
    }

    /// A task that shares its head does not stop before the others.
    pub(super) fn early_stopping_of_heads(&mut self) {
        for (name, task) in &self.config.task {
            let shares = |other: &TaskTable| other.config.head.as_deref() == Some(name);
            let borrowed = self.config.task.iter().find(|(_, other)| shares(other));
            let shared = task.config.head.as_deref().or(borrowed.map(|(other, _)| other.as_str()));
            if let (Some(other), true) = (shared, task.training.early_stopping.is_some()) {
                let message = format!(
                    "task `{name}` has early stopping of its own, but shares its head with `{other}`"
                );
                let error = Diagnostic::error(message, self.at(&["task", name, "early_stopping"]));
                self.push(error.help("the other task would train the head on; leave one of the two out"));
            } else if task.training.early_stopping.is_some() {
                self.needs_validation(name, "early_stopping");
            }
        }
    }
}
