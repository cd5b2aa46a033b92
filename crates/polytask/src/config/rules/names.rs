//! Rules about the names of corpora and tasks, and about corpora without a task.

use super::Rules;
use crate::config::diagnostic::Diagnostic;

impl Rules<'_> {
    /// Names stand in tables, file names and reports.
    pub(super) fn names(&mut self) {
        let corpora = self.config.corpus.keys().map(|n| ["corpus", n]);
        for path in corpora.chain(self.config.task.keys().map(|n| ["task", n])) {
            let name = path[1];
            if name.trim().is_empty() || name.chars().any(|c| c.is_control() || c == '/' || c == '$') {
                let message = format!("{name:?} is no name for a {}", path[0]);
                let error = Diagnostic::error(message, self.key(&path));
                self.push(error.help("any letters, digits and signs but `/`, `$` and control characters"));
            }
        }
    }

    /// A corpus is for some task.
    pub(super) fn corpora(&mut self) {
        for name in self.config.corpus.keys() {
            if !self.config.task.values().any(|task| task.config.corpus == *name) {
                let warning = Diagnostic::warning(
                    format!("no task reads the corpus `{name}`"),
                    self.key(&["corpus", name]),
                );
                self.push(warning.help("it is left out; add a task that reads it, or remove it"));
            }
        }
    }
}
