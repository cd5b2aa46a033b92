//! Rules about phases.

use super::Rules;
use crate::config::diagnostic::Diagnostic;
use crate::config::{schema::ticked, suggest::suggest};

impl Rules<'_> {
    /// The tasks of phases exist, and what they leave out is not shared by a task that is done early.
    pub(super) fn phases(&mut self) {
        let names: Vec<&str> = self.config.task.iter().map(|(name, _)| name.as_str()).collect();
        for (i, phase) in self.config.phase.iter().enumerate() {
            for task in phase.tasks.iter().flatten().filter(|task| !names.contains(&task.as_str())) {
                let message = format!("phase {} names the task `{task}`, which does not exist", i + 1);
                let mut error = Diagnostic::error(message, self.at(&["phase", &i.to_string(), "tasks"]));
                if let Some(near) = suggest(task, names.iter().copied()) {
                    error = error.help(format!("did you mean `{near}`?"));
                }
                self.push(error.help(format!("there are: {}", ticked(&names))));
            }
        }
        self.early_stopping_of_heads();
    }
}
