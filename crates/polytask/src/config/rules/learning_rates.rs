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
            let span = self.key(&["task", name, "reduce_lr_on_plateau"]);
            if let Some(head) = &task.config.head {
                let message = format!("task `{name}` has `reduce_lr_on_plateau`, but the head of `{head}`");
                let error = Diagnostic::error(message, span);
                self.push(error.help(format!("the rate of a shared head is that of `{head}`")));
            } else if !self.is_validated(name) {
                let message = format!("`reduce_lr_on_plateau` of task `{name}` needs a validation split");
                let error = Diagnostic::error(message, span);
                let help = format!("add `validation = \"...\"` to [corpus.{}]", task.config.corpus);
                self.push(error.help(help));
            }
        }
    }
}
