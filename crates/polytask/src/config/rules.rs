//! What the schema cannot say: rules across tables. Only for a config that is right by itself.

mod corpora;
mod rates;

use super::{
    Config,
    diagnostic::{Diagnostic, Span},
    document::Node,
    nearest::nearest,
    schema::ticked,
    wording::dotted,
};
use balance::Needs;
use model::{BackboneConfig, DeviceName, Precision, Scratch};
use tasks::{Kind, TaskError};
use train::{Recompute, Scope};

/// Every rule that the config breaks, and what it probably does not mean.
pub fn check(config: &Config, root: &Node) -> Vec<Diagnostic> {
    let mut rules = Rules { config, root, kinds: Vec::new(), out: Vec::new() };
    rules.names();
    rules.tasks();
    rules.heads();
    rules.phases();
    rules.corpora();
    rules.corpus_embeddings();
    rules.balance();
    rules.train();
    rules.rates();
    rules.lengths();
    rules.vocabulary();
    rules.out
}

/// Mesa's llvmpipe ends every loop after 65,535 rounds without a word; sums over a pack's tokens are such loops.
const MOST_TOKENS_ON_WGPU: usize = 65_000;

struct Rules<'a> {
    config: &'a Config,
    root: &'a Node,
    kinds: Vec<(&'a str, Box<dyn Kind>)>,
    out: Vec<Diagnostic>,
}

impl Rules<'_> {
    fn at(&self, path: &[&str]) -> Option<Span> {
        self.root.point(path)
    }

    fn key(&self, path: &[&str]) -> Option<Span> {
        self.root.find(path).map(|e| e.span).or_else(|| self.at(path))
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.out.push(diagnostic);
    }

    /// Names stand in tables, file names and reports.
    fn names(&mut self) {
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

    fn tasks(&mut self) {
        if self.config.task.is_empty() {
            let error = Diagnostic::error("there is no task: nothing to learn", self.at(&["task"]));
            self.push(error.help("add one: [task.NAME] with `corpus` and a kind, such as `classification = { text = \"text\", label = \"label\" }`"));
        }
        let corpora: Vec<&str> = self.config.corpus.keys().map(String::as_str).collect();
        for (name, task) in &self.config.task {
            if !self.config.corpus.contains_key(&task.corpus) {
                let message =
                    format!("task `{name}` reads the corpus `{}`, which does not exist", task.corpus);
                let mut error = Diagnostic::error(message, self.at(&["task", name, "corpus"]));
                error = match nearest(&task.corpus, corpora.iter().copied()) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None if corpora.is_empty() => {
                        error.help(format!("add a table [corpus.{}]", dotted(&[&task.corpus])))
                    }
                    None => error,
                };
                if !corpora.is_empty() {
                    error = error.help(format!("there are: {}", ticked(&corpora)));
                }
                self.push(error);
            }
            match task.build(name) {
                Ok(kind) => self.kinds.push((name, kind)),
                Err(error) => self.task_error(name, &error),
            }
        }
    }

    /// A head is shared with a task of the same kind that has one of its own.
    fn heads(&mut self) {
        for (name, task) in &self.config.task {
            let Some(head) = &task.head else { continue };
            let owner = self.config.task.get(head);
            let kinds = owner.map(|owner| [owner.kind(head), task.kind(name)].map(Result::ok));
            let problem = match (owner, kinds) {
                (None, _) => Some("there is no such task"),
                (Some(owner), _) if owner.head.is_some() => Some("it has no head of its own"),
                (_, Some([ours, theirs])) if ours != theirs => Some("it is of another kind"),
                _ if task.learning_rate.is_some() => {
                    let message = format!("task `{name}` has a learning rate, but the head of `{head}`");
                    let error = Diagnostic::error(message, self.at(&["task", name, "learning_rate"]));
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

    /// The tasks of phases exist, and what they leave out is not shared by a task that is done early.
    fn phases(&mut self) {
        let names: Vec<&str> = self.config.task.iter().map(|(name, _)| name.as_str()).collect();
        for (i, phase) in self.config.phase.iter().enumerate() {
            for task in phase.tasks.iter().flatten().filter(|task| !names.contains(&task.as_str())) {
                let message = format!("phase {} names the task `{task}`, which does not exist", i + 1);
                let mut error = Diagnostic::error(message, self.at(&["phase", &i.to_string(), "tasks"]));
                if let Some(near) = nearest(task, names.iter().copied()) {
                    error = error.help(format!("did you mean `{near}`?"));
                }
                self.push(error.help(format!("there are: {}", ticked(&names))));
            }
        }
        for (name, task) in &self.config.task {
            let borrowed = self.config.task.iter().find(|(_, other)| other.head.as_deref() == Some(name));
            let shared = task.head.as_deref().or(borrowed.map(|(other, _)| other.as_str()));
            if let (Some(other), true) = (shared, task.early_stopping.is_some()) {
                let message = format!(
                    "task `{name}` has early stopping of its own, but shares its head with `{other}`"
                );
                let error = Diagnostic::error(message, self.at(&["task", name, "early_stopping"]));
                self.push(error.help("the other task would train the head on; leave one of the two out"));
            }
        }
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
                Diagnostic::error(
                    format!("task `{name}` has more than one kind: {}", ticked(&kinds)),
                    second.or(head),
                )
                .help("a task has exactly one; write a second task that reads the same corpus")
            }
            TaskError::Setting { key, found, expected } => {
                let below = key.strip_prefix(&format!("task.{name}")).unwrap_or_default();
                let mut path = vec!["task", name];
                path.extend(below.split('.').filter(|part| !part.is_empty()));
                let mut diagnostic = Diagnostic::error(
                    format!("`{}`: found {found}, expected {expected}", dotted(&path)),
                    self.at(&path),
                );
                if let (Some("metric"), Some(allowed)) =
                    (path.last().copied(), expected.strip_prefix("one of "))
                    && let Some(near) = nearest(found.trim_matches('"'), allowed.split(", "))
                {
                    diagnostic = diagnostic.help(format!("did you mean {near:?}?"));
                }
                diagnostic
            }
            other => Diagnostic::error(other.to_string(), head),
        };
        self.push(diagnostic);
    }

    fn corpora(&mut self) {
        for name in self.config.corpus.keys() {
            if !self.config.task.values().any(|task| task.corpus == *name) {
                let warning = Diagnostic::warning(
                    format!("no task reads the corpus `{name}`"),
                    self.key(&["corpus", name]),
                );
                self.push(warning.help("it is left out; add a task that reads it, or remove it"));
            }
        }
    }

    fn balance(&mut self) {
        let config = self.config;
        let tasks: Vec<&str> = config.task.keys().map(String::as_str).collect();
        if let balance::Balancing::Static(weights) = &config.balance {
            let mut unknown = false;
            for name in weights.weights.keys().filter(|name| !tasks.contains(&name.as_str())) {
                unknown = true;
                let span = self.key(&["balance", "static", "weights", name]);
                let mut error = Diagnostic::error(format!("there is no task `{name}` to weigh"), span);
                if let Some(near) = nearest(name, tasks.iter().copied()) {
                    error = error.help(format!("did you mean `{near}`?"));
                }
                self.push(error.help(format!("tasks: {}", ticked(&tasks))));
            }
            if unknown {
                return;
            }
        }
        let importance: Vec<f64> = config.task.values().map(|task| task.importance).collect();
        if tasks.is_empty() {
            return;
        }
        let balancer = config.balance.build(&tasks, &importance);
        let error = match balancer {
            Ok(balancer) => {
                if config.train.gradient_scope != Scope::AllShared && balancer.needs() == Needs::Losses {
                    self.scope_without_gradients();
                }
                return;
            }
            Err(error) => error,
        };
        let span = match &error {
            balance::BalanceError::OutOfRange { key, .. } | balance::BalanceError::NothingLearned { key } => {
                // A star stands for every task; the first will do to point at.
                let star = |part| if part == "*" { tasks[0] } else { part };
                self.at(&key.split('.').map(star).collect::<Vec<_>>())
            }
            _ => None,
        };
        let span = span.or_else(|| self.at(&["balance", config.balance.name()]));
        self.push(Diagnostic::error(error.to_string(), span));
    }

    fn scope_without_gradients(&mut self) {
        let message = format!(
            "`train.gradient_scope` is for methods that compare gradients, and [balance.{}] looks at losses only",
            self.config.balance.name()
        );
        let error = Diagnostic::error(message, self.at(&["train", "gradient_scope"]));
        self.push(error.help("remove it, or choose another method: `polytask list balancers`"));
    }

    fn train(&mut self) {
        let config = self.config;
        let settings = config.settings();
        // A fault of a key that is not written follows from one that is.
        let mut faults = settings.faults();
        let written =
            |fault: &train::Fault| self.root.find(&fault.key.split('.').collect::<Vec<_>>()).is_some();
        if faults.iter().any(written) {
            faults.retain(written);
        }
        for fault in faults {
            let span = self.at(&fault.key.split('.').collect::<Vec<_>>());
            let message = format!("`{}`: found {}, expected {}", fault.key, fault.found, fault.expected);
            self.push(Diagnostic::error(message, span));
        }
        if let Err(error) = config.sampling.check(config.train.epochs) {
            self.push(Diagnostic::error(error.to_string(), self.at(&["sampling", config.sampling.name()])));
        }

        let device = config.train.device;
        if config.train.recompute == Recompute::Layers && device != DeviceName::Cpu {
            let message = format!("`train.recompute = \"layers\"` works on the cpu alone, not on {device}");
            let error = Diagnostic::error(message, self.at(&["train", "recompute"]));
            self.push(error.help("remove it, or lower `train.tokens_per_step` and raise `train.accumulate`"));
        }

        if config.train.memory_gib.is_some() && device != DeviceName::Cpu {
            let message =
                format!("`train.memory_gib` is about this machine's own memory, not that of {device}");
            let error = Diagnostic::error(message, self.at(&["train", "memory_gib"]));
            self.push(error.help("remove it, or lower `train.tokens_per_step` and raise `train.accumulate`"));
        }

        if config.train.precision == Precision::Bf16 && device == DeviceName::Wgpu {
            let message = "`train.precision = \"bf16\"` works on cpu and cuda, not on wgpu".to_owned();
            let error = Diagnostic::error(message, self.at(&["train", "precision"]));
            self.push(error.help("remove it"));
        }

        if config.train.precision == Precision::Bf16 && multiplies_nothing(&config.model.backbone) {
            let message = "`train.precision = \"bf16\"` is about large matrix products, and a bag with `window = 0` has none";
            let error = Diagnostic::error(message.to_owned(), self.at(&["train", "precision"]));
            self.push(error.help("remove it"));
        }

        if device == DeviceName::Wgpu && config.train.tokens_per_step > MOST_TOKENS_ON_WGPU {
            let most = MOST_TOKENS_ON_WGPU;
            let message = format!(
                "`train.tokens_per_step` may be at most {most} on wgpu: software drivers end longer loops"
            );
            let error = Diagnostic::error(message, self.at(&["train", "tokens_per_step"]));
            self.push(error.help("lower it, and raise `train.accumulate`"));
        }

        let validated = |task: &str| {
            let corpus = config.task.get(task).and_then(|t| config.corpus.get(&t.corpus));
            corpus.is_some_and(|c| c.validation.is_some())
        };
        let none = !config.task.is_empty() && !config.task.keys().any(|task| validated(task));
        if config.train.early_stopping.is_some() && none {
            let span = self.key(&["train", "early_stopping"]);
            let error =
                Diagnostic::error("early stopping needs a validation split, and no corpus has one", span);
            self.push(error.help("add `validation = \"...\"` to a [corpus.NAME]"));
        }
        let Some(wanted) = &config.train.best_metric else { return };
        let span = self.at(&["train", "best_metric"]);
        let metrics: Vec<(&str, String)> = self
            .kinds
            .iter()
            .flat_map(|(task, kind)| kind.metrics().iter().map(move |m| (*task, format!("{task}.{m}"))))
            .collect();
        match metrics.iter().find(|(_, name)| name == wanted) {
            Some((task, _)) if !validated(task) => {
                let message = format!(
                    "`{wanted}` cannot choose the best checkpoint: the corpus of `{task}` has no validation split"
                );
                self.push(
                    Diagnostic::error(message, span).help("add `validation = \"...\"` to its [corpus.NAME]"),
                );
            }
            Some(_) => {}
            // Where a task is broken its metrics are unknown; that has been said already.
            None if self.kinds.len() < config.task.len() => {}
            None => {
                let names: Vec<&str> = metrics.iter().map(|(_, name)| name.as_str()).collect();
                let mut error = Diagnostic::error(format!("there is no metric {wanted:?}"), span);
                if let Some(near) = nearest(wanted, names.iter().copied()) {
                    error = error.help(format!("did you mean {near:?}?"));
                }
                self.push(error.help(format!("TASK.METRIC, one of {}", names.join(", "))));
            }
        }
    }

    fn lengths(&mut self) {
        let (longest, step) = (self.config.data.max_length, self.config.train.tokens_per_step);
        if step < longest {
            let message =
                format!("a step of {step} tokens cannot hold a row of `data.max_length` = {longest}");
            let span = self.root.find(&["train", "tokens_per_step"]).map(|e| e.node.span);
            let span = span.or_else(|| self.at(&["data", "max_length"]));
            self.push(
                Diagnostic::error(message, span)
                    .help("raise `train.tokens_per_step` or lower `data.max_length`"),
            );
        }
        let (name, most) = match &self.config.model.backbone {
            BackboneConfig::Scratch(Scratch::Bag(bag)) => ("bag", bag.max_length),
            BackboneConfig::Scratch(Scratch::Bert(bert)) => ("bert", bert.max_length),
            BackboneConfig::Scratch(Scratch::T5(_)) => return,
            BackboneConfig::Pretrained(_) => return,
        };
        if longest > most {
            let message = format!("rows of {longest} tokens do not fit a backbone for at most {most}");
            let span = self.root.find(&["data", "max_length"]).map(|e| e.node.span);
            let span = span.or_else(|| self.at(&["model", "backbone", name, "max_length"]));
            let help = format!("lower `data.max_length` or raise `model.backbone.{name}.max_length`");
            self.push(Diagnostic::error(message, span).help(help));
        }
    }

    fn vocabulary(&mut self) {
        if let (BackboneConfig::Pretrained(_), Some(_)) =
            (&self.config.model.backbone, self.root.get("tokenizer"))
        {
            let warning = Diagnostic::warning(
                "[tokenizer] is not used: a pretrained backbone brings its own",
                self.key(&["tokenizer"]),
            );
            self.push(
                warning.help("remove it, or build the backbone from scratch: backbone = { bert = {} }"),
            );
        }
    }
}

/// Whether a backbone is made of table look-ups alone.
fn multiplies_nothing(backbone: &BackboneConfig) -> bool {
    matches!(backbone, BackboneConfig::Scratch(Scratch::Bag(bag)) if bag.window == 0)
}
