//! Rules about learning rates that follow evaluations and losses.

use super::Rules;
use crate::config::diagnostic::Diagnostic;

impl Rules<'_> {
    pub(super) fn learning_rates(&mut self) {
        self.reduce_lr_on_plateau();
        self.head_lr_balancing();
    }

    /// The progress of a task is compared with that of others.
    fn head_lr_balancing(&mut self) {
        if self.config.train.head_lr_balancing.is_some() && self.config.task.len() == 1 {
            let span = self.key(&["train", "head_lr_balancing"]);
            let message = "`train.head_lr_balancing` compares tasks, and there is only one";
            let error = Diagnostic::error(message, span);
            self.push(error.help("remove it; `reduce_lr_on_plateau` lowers a learning rate by evaluations"));
        }
    }

    /// A plateau is one of evaluations; the learning rate of a shared head is its owner's.
    fn reduce_lr_on_plateau(&mut self) {
        let config = self.config;
        let no_validation = !config.task.keys().any(|task| self.is_validated(task));
        if config.train.reduce_lr_on_plateau.is_some() && no_validation {
            let span = self.key(&["train", "reduce_lr_on_plateau"]);
            let message = "`train.reduce_lr_on_plateau` needs a validation split, and no corpus has one";
            let error = Diagnostic::error(message, span);
            self.push(error.help("add `validation = \"...\"` to a [corpus.NAME]"));
        }
        for (name, task) in
            config.task.iter().filter(|(_, task)| task.training.reduce_lr_on_plateau.is_some())
        {
            if let Some(head) = &task.config.head {
                let span = self.key(&["task", name, "reduce_lr_on_plateau"]);
                let message = format!("task `{name}` has `reduce_lr_on_plateau`, but the head of `{head}`");
                let error = Diagnostic::error(message, span);
                self.push(error.help(format!("the rate of a shared head is that of `{head}`")));
            } else {
                self.needs_validation(name, "reduce_lr_on_plateau");
            }
        }
    }

    /// Refuses a key of a task that goes by its evaluations, where there are none.
    pub(super) fn needs_validation(&mut self, task: &str, key: &str) {
        let Some(table) = self.config.task.get(task).filter(|_| !self.is_validated(task)) else { return };
        let span = self.key(&["task", task, key]);
        let error = Diagnostic::error(format!("`{key}` of task `{task}` needs a validation split"), span);
        let help = format!("add `validation = \"...\"` to [corpus.{}]", table.config.corpus);
        self.push(error.help(help));
    }
}
