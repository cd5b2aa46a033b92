//! Rules about learning rates that follow evaluations and tasks.

use super::Rules;
use crate::config::diagnostic::Diagnostic;

impl Rules<'_> {
    pub(super) fn rates(&mut self) {
        self.plateaus();
        self.task_rates();
    }

    /// Progress is that of one task beside others.
    fn task_rates(&mut self) {
        if self.config.train.task_rates.is_some() && self.config.task.len() == 1 {
            let span = self.key(&["train", "task_rates"]);
            let error = Diagnostic::error("`train.task_rates` compares tasks, and there is only one", span);
            self.push(error.help("remove it; `plateau` lets a learning rate fall by evaluations"));
        }
    }

    /// A plateau is one of evaluations; a head's rate is its owner's.
    fn plateaus(&mut self) {
        let config = self.config;
        if config.train.plateau.is_some() && !config.task.keys().any(|task| self.is_validated(task)) {
            let span = self.key(&["train", "plateau"]);
            let message = "`train.plateau` needs a validation split, and no corpus has one";
            let error = Diagnostic::error(message, span);
            self.push(error.help("add `validation = \"...\"` to a [corpus.NAME]"));
        }
        for (name, task) in config.task.iter().filter(|(_, task)| task.plateau.is_some()) {
            let span = self.key(&["task", name, "plateau"]);
            if let Some(head) = &task.head {
                let message = format!("task `{name}` has a plateau, but the head of `{head}`");
                let error = Diagnostic::error(message, span);
                self.push(error.help(format!("the rate of a shared head is that of `{head}`")));
            } else if !self.is_validated(name) {
                let message = format!("the plateau of task `{name}` needs a validation split");
                let error = Diagnostic::error(message, span);
                let help = format!("add `validation = \"...\"` to [corpus.{}]", task.corpus);
                self.push(error.help(help));
            }
        }
    }

    fn is_validated(&self, task: &str) -> bool {
        let corpus = self.config.task.get(task).and_then(|task| self.config.corpus.get(&task.corpus));
        corpus.is_some_and(|corpus| corpus.validation.is_some())
    }
}
