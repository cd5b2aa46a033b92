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

    /// A corpus is for some task, and has at most one source of validation rows.
    pub(super) fn corpora(&mut self) {
        for (name, corpus) in &self.config.corpus {
            if let Some(share) = corpus.validation_split {
                let at = self.at(&["corpus", name, "validation_split"]);
                if corpus.validation.is_some() {
                    let message = format!("the corpus `{name}` has both `validation` and `validation_split`");
                    self.push(
                        Diagnostic::error(message, at)
                            .help("remove one: files of their own, or a share of the training rows"),
                    );
                } else if share <= 0.0 || share >= 1.0 {
                    let message =
                        format!("`corpus.{name}.validation_split` is {share}, expected above 0 and below 1");
                    self.push(
                        Diagnostic::error(message, at).help("0.1 cuts a tenth of the training rows off"),
                    );
                }
            }
            let reads = |task: &train::TaskTable| {
                task.config.corpus == *name || task.training.out_of_domain.contains(name)
            };
            if !self.config.task.values().any(reads) {
                let warning = Diagnostic::warning(
                    format!("no task reads the corpus `{name}`"),
                    self.key(&["corpus", name]),
                );
                self.push(warning.help("it is left out; add a task that reads it, or remove it"));
            }
        }
    }
}
