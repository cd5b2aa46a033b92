//! Rules about tasks: their corpora, kinds and settings.

use super::Rules;
use crate::config::diagnostic::Diagnostic;
use crate::config::{schema::ticked, suggest::suggest, wording::dotted};
use ::tasks::TaskError;

impl Rules<'_> {
    /// There are tasks, each with a corpus that exists and a kind that can be built.
    pub(super) fn tasks(&mut self) {
        if self.config.task.is_empty() {
            let error = Diagnostic::error("there is no task: nothing to learn", self.at(&["task"]));
            self.push(error.help("add one: [task.NAME] with `corpus` and a kind, such as `classification = { text = \"text\", label = \"label\" }`"));
        }
        for (name, task) in &self.config.task {
            match self.config.corpus.get(&task.config.corpus) {
                None => self.unknown_corpus(name, &task.config.corpus, "corpus"),
                Some(corpus) if corpus.train.is_empty() => {
                    self.nothing_to_train_on(name, &task.config.corpus)
                }
                Some(_) => {}
            }
            for corpus in &task.training.out_of_domain {
                match self.config.corpus.get(corpus) {
                    None => self.unknown_corpus(name, corpus, "out_of_domain"),
                    Some(_) => self.out_of_domain(name, corpus),
                }
            }
            match task.build(name) {
                Ok(kind) => self.kinds.push((name, kind)),
                Err(error) => self.task_error(name, &error),
            }
        }
    }

    fn nothing_to_train_on(&mut self, task: &str, corpus: &str) {
        let message = format!("the corpus `{corpus}` has no `train`, and task `{task}` trains on it");
        let error = Diagnostic::error(message, self.key(&["corpus", corpus]));
        self.push(error.help("give it `train`; only corpora named in `out_of_domain` do without"));
    }

    /// A corpus that the task is measured on, too, has test rows, and is another than its own.
    fn out_of_domain(&mut self, task: &str, corpus: &str) {
        let at = self.at(&["task", task, "out_of_domain"]);
        let (own, found) = (&self.config.task, &self.config.corpus);
        let message = if own.get(task).is_some_and(|own| own.config.corpus == corpus) {
            "which is its own: its test rows are scored in any case"
        } else if found.get(corpus).is_some_and(|corpus| corpus.test.is_none()) {
            "which has no `test`: there is nothing to score"
        } else if self.config.model.dataset_embeddings {
            "but with `model.dataset_embeddings` a corpus that no task trains on has no embedding"
        } else {
            return;
        };
        let message = format!("task `{task}` names the corpus `{corpus}` in `out_of_domain`, {message}");
        self.push(Diagnostic::error(message, at));
    }

    fn unknown_corpus(&mut self, task: &str, corpus: &str, key: &str) {
        let corpora: Vec<&str> = self.config.corpus.keys().map(String::as_str).collect();
        let message = format!("task `{task}` reads the corpus `{corpus}`, which does not exist");
        let mut error = Diagnostic::error(message, self.at(&["task", task, key]));
        error = match suggest(corpus, corpora.iter().copied()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None if corpora.is_empty() => error.help(format!("add a table [corpus.{}]", dotted(&[corpus]))),
            None => error,
        };
        if !corpora.is_empty() {
            error = error.help(format!("there are: {}", ticked(&corpora)));
        }
        self.push(error);
    }

    fn task_error(&mut self, name: &str, error: &TaskError) {
        let head = self.key(&["task", name]);
        let diagnostic = match error {
            TaskError::NoKind { allowed, .. } => {
                let kinds: Vec<&str> = allowed.split(", ").collect();
                Diagnostic::error(format!("task `{name}` has no kind"), head)
                    .help(format!("give it one of {}", ticked(&kinds)))
                    .help("for example: classification = { text = \"text\", label = \"label\" }")
            }
            TaskError::ManyKinds { found, .. } => {
                let kinds: Vec<&str> = found.split(", ").collect();
                let second =
                    kinds.get(1).and_then(|kind| self.root.find(&["task", name, kind])).map(|e| e.span);
                let message = format!("task `{name}` has more than one kind: {}", ticked(&kinds));
                Diagnostic::error(message, second.or(head))
                    .help("a task has exactly one; write a second task that reads the same corpus")
            }
            TaskError::Setting { key, found, expected } => self.setting_error(name, key, found, expected),
            other => Diagnostic::error(other.to_string(), head),
        };
        self.push(diagnostic);
    }

    fn setting_error(&self, task: &str, key: &str, found: &str, expected: &str) -> Diagnostic {
        let below = key.strip_prefix(&format!("task.{task}")).unwrap_or_default();
        let mut path = vec!["task", task];
        path.extend(below.split('.').filter(|part| !part.is_empty()));
        let message = format!("`{}`: found {found}, expected {expected}", dotted(&path));
        let error = Diagnostic::error(message, self.at(&path));
        if let (Some("metric"), Some(allowed)) = (path.last().copied(), expected.strip_prefix("one of "))
            && let Some(near) = suggest(found.trim_matches('"'), allowed.split(", "))
        {
            return error.help(format!("did you mean {near:?}?"));
        }
        error
    }
}
