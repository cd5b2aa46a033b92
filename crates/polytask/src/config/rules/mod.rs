//! What the schema cannot say: rules across tables. Only for a config that is right by itself. One file a table.

mod balance;
mod dataset_embeddings;
mod distill;
mod heads;
mod learning_rates;
mod model;
mod names;
mod phases;
mod tasks;
mod train;

use super::{
    Config,
    diagnostic::{Diagnostic, Span},
    document::Node,
};
use ::tasks::Kind;

/// Every rule that the config breaks, and what it probably does not mean.
pub fn check(config: &Config, root: &Node) -> Vec<Diagnostic> {
    let mut rules = Rules { config, root, kinds: Vec::new(), out: Vec::new() };
    rules.names();
    rules.tasks();
    rules.heads();
    rules.phases();
    rules.corpora();
    rules.dataset_embeddings();
    rules.balance();
    rules.train();
    rules.learning_rates();
    rules.model();
    rules.distill();
    rules.out
}

struct Rules<'a> {
    config: &'a Config,
    root: &'a Node,
    /// The kinds of the tasks that could be built.
    kinds: Vec<(&'a str, Box<dyn Kind>)>,
    out: Vec<Diagnostic>,
}

impl Rules<'_> {
    /// Where the value of a key stands, or the nearest table around it.
    fn at(&self, path: &[&str]) -> Option<Span> {
        self.root.point(path)
    }

    /// Where a key itself stands, or the nearest table around it.
    fn key(&self, path: &[&str]) -> Option<Span> {
        self.root.find(path).map(|e| e.span).or_else(|| self.at(path))
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.out.push(diagnostic);
    }

    /// Whether the corpus of a task has a validation split.
    fn is_validated(&self, task: &str) -> bool {
        let corpus = self.config.task.get(task).and_then(|task| self.config.corpus.get(&task.config.corpus));
        corpus.is_some_and(data::CorpusConfig::has_validation)
    }

    /// Whether there are tasks, and no corpus of theirs has a validation split.
    fn lacks_validation(&self) -> bool {
        let tasks = &self.config.task;
        !tasks.is_empty() && !tasks.keys().any(|task| self.is_validated(task))
    }
}
