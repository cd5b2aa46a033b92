//! Configs out of a config: some of its tasks alone, and as much training for them as they get among all.

use crate::config::Config;
use data::{SamplerConfig, Split};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use train::{Job, Plan};

/// How much a model for some of the tasks is trained, held against the model for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// The same steps for each task: as many steps as the model for all, with as many rows of the task in each.
    Steps,
    /// The same epochs: every row as often, in batches of the config's size, so that there are fewer steps.
    Epochs,
    /// The same computation: all models together train on as many tokens as the model for all.
    Compute,
}

impl Budget {
    /// What it means, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Budget::Steps => "as many steps for each task, with as many rows of it in each",
            Budget::Epochs => "as many epochs for each task, in batches of the config's size",
            Budget::Compute => "as much computation for all models together",
        }
    }
}

/// What the model for all tasks gets, as its plan has it.
#[derive(Debug, Clone)]
pub struct Reference {
    steps: usize,
    epochs: usize,
    corpora: BTreeMap<String, CorpusShare>,
    /// The tasks of each phase and its steps.
    phases: Vec<(Vec<String>, usize)>,
    /// What each task uses, of those whose use has a limit of their own.
    limited: BTreeMap<String, Limited>,
    /// Evaluations of a training.
    evaluations: f64,
    /// Tokens of the validation rows by the tasks whose labels they carry.
    validation: BTreeMap<Vec<String>, f64>,
}

/// What is drawn of a corpus.
#[derive(Debug, Clone, Default)]
struct CorpusShare {
    /// How often each of its rows is drawn.
    times: f64,
    /// Its training rows by the tasks whose labels they carry.
    rows: BTreeMap<Vec<String>, Amount>,
}

/// What a task with a limit of its own uses until that is reached.
#[derive(Debug, Clone, Copy)]
struct Limited {
    amount: Amount,
    /// Steps with a row of it.
    steps: usize,
}

/// Rows and their tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Amount {
    rows: f64,
    tokens: f64,
}

impl Reference {
    /// By the plan of the job's run.
    pub fn of(config: &Config, job: &Job, plan: &Plan) -> Reference {
        let mut corpora: BTreeMap<String, CorpusShare> = BTreeMap::new();
        for (index, view) in job.views.train.iter().enumerate() {
            let share = corpora.entry(view.corpus.to_string()).or_default();
            if let Some(drawn) = plan.corpora.get(&*view.corpus) {
                share.times = drawn.draws as f64 / drawn.rows.max(1) as f64;
            }
            for (tasks, tokens) in labelled_rows(job, index, Split::Train) {
                let amount = share.rows.entry(tasks).or_default();
                amount.rows += 1.0;
                amount.tokens += tokens;
            }
        }
        let mut validation: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        for index in 0..job.views.validation.len() {
            for (tasks, tokens) in labelled_rows(job, index, Split::Validation) {
                *validation.entry(tasks).or_default() += tokens;
            }
        }
        let (steps, epochs) = (plan.step_plan.total(), plan.step_plan.epochs().len().max(1));
        let evaluations = config.train.eval_steps.map_or(epochs, |every| steps.div_ceil(every.max(1))) as f64;
        let phases = plan.phases.iter().map(|phase| (phase.tasks.clone(), phase.steps)).collect();
        let used = |name: &String| {
            let used = plan.tasks.get(name)?;
            let amount = Amount { rows: used.rows as f64, tokens: used.tokens as f64 };
            Some(Limited { amount, steps: used.steps as usize })
        };
        let limited = config.task.iter().filter(|(_, task)| task.training.budget.is_some_and(ends_a_task));
        let limited = limited.filter_map(|(name, _)| Some((name.clone(), used(name)?))).collect();
        Reference { steps, epochs, corpora, phases, limited, evaluations, validation }
    }

    /// Tokens of training that take as long as training a model for these tasks, evaluations included: of three passes, forward and
    /// twice that backward, an evaluation has one.
    pub fn work(&self, tasks: &[String]) -> f64 {
        let is_scored = |labelled: &&Vec<String>| labelled.iter().any(|task| is_among(tasks, task));
        let validation: f64 =
            self.validation.iter().filter(|(l, _)| is_scored(l)).map(|(_, tokens)| tokens).sum();
        self.tokens(tasks) + self.evaluations * validation / 3.0
    }

    /// Steps of the model for all tasks.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Tokens that a model for these tasks trains on, with the budget of steps.
    pub fn tokens(&self, tasks: &[String]) -> f64 {
        self.trained(tasks).tokens
    }

    /// Tokens that the model for all tasks trains on.
    pub fn all_tokens(&self) -> f64 {
        self.amount(|tasks| !tasks.is_empty(), true).tokens
    }

    /// What is drawn of the rows with a label of one of the tasks.
    fn drawn(&self, tasks: &[String]) -> Amount {
        self.amount(|labelled| labelled.iter().any(|task| is_among(tasks, task)), true)
    }

    /// What a model for these tasks trains on: of a task alone with a limit of its own, as much as that allows.
    fn trained(&self, tasks: &[String]) -> Amount {
        let limited = if let [task] = tasks { self.limited.get(task) } else { None };
        limited.map_or_else(|| self.drawn(tasks), |limited| limited.amount)
    }

    /// Steps of the model for all tasks in which one of these is trained.
    fn steps_of(&self, tasks: &[String]) -> usize {
        if let [task] = tasks
            && let Some(limited) = self.limited.get(task)
        {
            return limited.steps;
        }
        let is_trained =
            |(of_phase, _): &&(Vec<String>, usize)| of_phase.iter().any(|task| is_among(tasks, task));
        self.phases.iter().filter(is_trained).map(|(_, steps)| steps).sum()
    }

    /// The rows with wanted labels, each once or as often as it is drawn.
    fn amount(&self, wanted: impl Fn(&[String]) -> bool, drawn: bool) -> Amount {
        let mut all = Amount::default();
        for corpus in self.corpora.values() {
            let times = if drawn { corpus.times } else { 1.0 };
            for (_, amount) in corpus.rows.iter().filter(|(tasks, _)| wanted(tasks)) {
                all.rows += times * amount.rows;
                all.tokens += times * amount.tokens;
            }
        }
        all
    }

    /// Tokens of a row with a label of one of the tasks, on average.
    pub fn tokens_per_row(&self, tasks: &[String]) -> f64 {
        let drawn = self.drawn(tasks);
        drawn.tokens / drawn.rows.max(1.0)
    }

    /// Sets the batch size and the length of a run of a config for some of the tasks, for a budget of steps. `share` is the part of the
    /// steps that it gets: 1 but with a budget of computation.
    fn apply_steps(&self, config: &mut Config, share: f64) {
        let tasks: Vec<String> = config.task.keys().cloned().collect();
        let trained = self.trained(&tasks);
        if share == 1.0 && trained == self.amount(|tasks| !tasks.is_empty(), true) {
            return;
        }
        self.limit_tasks(config);
        // Where there are fewer rows than steps, each has a step of its own: more steps would show them more often.
        let rows = (trained.rows.round() as usize).max(1);
        let all_steps = self.steps_of(&tasks).clamp(1, rows);
        let train = &mut config.train;
        train.gradient_accumulation_steps = train.gradient_accumulation_steps.min(rows / all_steps).max(1);
        let batches = (all_steps * train.gradient_accumulation_steps) as f64;
        // A batch ends before the row that exceeds it: on average half a row is left of it.
        let half_a_row = trained.tokens / trained.rows.max(1.0) / 2.0;
        let per_batch = (trained.tokens / batches + half_a_row).round().max(1.0) as usize;
        train.tokens_per_batch = per_batch.min(train.tokens_per_batch);
        if config.phase.is_empty() {
            let steps = (all_steps as f64 * share).round().max(1.0) as usize;
            train.epochs = self.epochs_for(&tasks, share, &config.sampling);
            train.max_steps = Some(steps);
            train.max_tokens = None;
            train.eval_steps = train.eval_steps.or(Some(steps.div_ceil(self.epochs)));
        }
    }

    /// Lets a run for some of the tasks see each row as often as the model for all, where its epochs alone do not: the rest of a corpus
    /// is not drawn where steps or tokens end a run, or a budget a task, and another sampler draws rows more or less often than once.
    fn apply_epochs(&self, config: &mut Config) {
        let tasks: Vec<String> = config.task.keys().cloned().collect();
        let (trained, once) = (self.trained(&tasks), self.once(&tasks));
        let drawn_by_epochs = once.tokens * config.train.epochs as f64;
        if !config.phase.is_empty() || (trained.tokens - drawn_by_epochs).abs() <= 0.01 * drawn_by_epochs {
            return;
        }
        self.limit_tasks(config);
        config.train.epochs = self.epochs_for(&tasks, 1.0, &config.sampling);
        config.train.max_steps = None;
        config.train.max_tokens = Some(trained.tokens.round().max(1.0) as usize);
    }

    /// Epochs that are enough for what a model for these tasks trains on. Its steps or tokens end it, so that there may be more. A
    /// sampler that changes over the epochs needs those that it is meant for.
    fn epochs_for(&self, tasks: &[String], share: f64, sampling: &SamplerConfig) -> usize {
        let epochs = self.trained(tasks).rows / self.once(tasks).rows.max(1.0) * share;
        match sampling {
            SamplerConfig::Annealed(_) => epochs.round().max(1.0) as usize,
            _ => 2 * epochs.ceil().max(1.0) as usize,
        }
    }

    /// The training rows with a label of one of the tasks, each once.
    fn once(&self, tasks: &[String]) -> Amount {
        self.amount(|labelled| labelled.iter().any(|task| is_among(tasks, task)), false)
    }

    /// Ends tasks among others after as many tokens as they get among all; a task alone is as long as its run.
    fn limit_tasks(&self, config: &mut Config) {
        if config.task.len() < 2 {
            return;
        }
        for (name, limited) in &self.limited {
            if let Some(table) = config.task.get_mut(name) {
                let tokens = Some((limited.amount.tokens as u64).max(1));
                table.training.budget = Some(train::Budget { tokens, ..train::Budget::default() });
            }
        }
    }
}

/// Whether a budget ends the training of a task.
fn ends_a_task(budget: train::Budget) -> bool {
    budget.share.is_none()
}

/// Of each row of a view the tasks whose labels it carries, and its tokens.
fn labelled_rows(job: &Job, view: usize, split: Split) -> Vec<(Vec<String>, f64)> {
    let readers: Vec<_> = job.model.tasks.iter().filter(|task| task.view == view).collect();
    let encoded = &job.views.of(split)[view].encoded;
    let tasks = |row| {
        readers.iter().filter(|task| task.head.labelled(split, row)).map(|task| task.name.clone()).collect()
    };
    (0..encoded.rows()).map(|row| (tasks(row), encoded.length(row) as f64)).collect()
}

/// Configs for each of `models`, which are sets of tasks, trained as much as the budget says. `models` are those that together do all
/// tasks, so that a budget of computation is divided among them.
pub fn for_models(
    config: &Config,
    models: &[Vec<String>],
    reference: &Reference,
    budget: Budget,
) -> Vec<Config> {
    let mut configs: Vec<Config> = models.iter().map(|tasks| for_tasks(config, tasks)).collect();
    let needed: f64 = models.iter().map(|tasks| reference.tokens(tasks)).sum();
    let share = match budget {
        Budget::Epochs => {
            let parts = configs.iter_mut().filter(|own| own.task.len() < config.task.len());
            parts.for_each(|own| reference.apply_epochs(own));
            return configs;
        }
        Budget::Steps => 1.0,
        Budget::Compute => (reference.all_tokens() / needed.max(1.0)).min(1.0),
    };
    configs.iter_mut().for_each(|config| reference.apply_steps(config, share));
    configs
}

/// The config with these of its tasks alone: what speaks of other tasks is left out, and what chooses between tasks where only one is
/// left.
pub fn for_tasks(config: &Config, tasks: &[String]) -> Config {
    let mut config = config.clone();
    let whole = tasks.len() == config.task.len();
    config.task.retain(|name, _| tasks.contains(name));
    if whole {
        return config;
    }
    own_heads(&mut config);
    let read: BTreeSet<String> = config
        .task
        .values()
        .flat_map(|task| std::iter::once(&task.config.corpus).chain(&task.training.out_of_domain))
        .cloned()
        .collect();
    config.corpus.retain(|name, _| read.contains(name));
    let metric = config.train.metric_for_best_model.take();
    config.train.metric_for_best_model =
        metric.filter(|metric| metric.split_once('.').is_some_and(|(task, _)| is_among(tasks, task)));
    for task in tasks {
        // A share of all, or what keeps one task from the others, means nothing for fewer of them.
        if let Some(table) = config.task.get_mut(task) {
            table.training.budget = None;
        }
    }
    phases(&mut config, tasks);
    if let balance::BalancerConfig::Static(fixed) = &mut config.balance {
        fixed.weights.retain(|task, _| is_among(tasks, task));
    }
    config.sharing.retain_tasks(|task| is_among(tasks, task));
    config.distill = config.distill.as_ref().and_then(|table| table.of_tasks(|task| is_among(tasks, task)));
    if tasks.len() == 1 {
        config.balance = balance::BalancerConfig::default();
        config.train.gradient_scope = train::GradientScope::default();
        config.train.head_lr_balancing = None;
    }
    if corpora_of(&config).len() == 1 {
        config.sampling = SamplerConfig::default();
        config.phase.iter_mut().for_each(|phase| phase.sampling = None);
        config.model.dataset_embeddings = false;
    }
    config
}

/// Parts of a run in which none of the tasks is trained are left out, and ends that other tasks decide.
fn phases(config: &mut Config, tasks: &[String]) {
    for phase in &mut config.phase {
        if let Some(trained) = &mut phase.tasks {
            trained.retain(|task| is_among(tasks, task));
        }
        let by_other = |metric: &str| metric.split_once('.').is_some_and(|(task, _)| !is_among(tasks, task));
        if phase.until.as_ref().is_some_and(|until| by_other(&until.metric)) {
            phase.until = None;
        }
    }
    config.phase.retain(|phase| phase.tasks.as_ref().is_none_or(|tasks| !tasks.is_empty()));
}

/// Where the owner of a head is left out, the first of those that shared it has it.
fn own_heads(config: &mut Config) {
    let names: Vec<String> = config.task.keys().cloned().collect();
    let mut heirs: BTreeMap<String, String> = BTreeMap::new();
    for name in &names {
        let Some(table) = config.task.get_mut(name) else { continue };
        let Some(owner) = table.config.head.clone().filter(|owner| !names.contains(owner)) else { continue };
        let heir = heirs.entry(owner).or_insert_with(|| name.clone());
        table.config.head = (heir != name).then(|| heir.clone());
    }
}

fn is_among(tasks: &[String], task: &str) -> bool {
    tasks.iter().any(|known| known == task)
}

/// The corpora that the config's tasks are trained on.
fn corpora_of(config: &Config) -> BTreeSet<String> {
    config.task.values().map(|task| task.config.corpus.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Context, parse};
    use std::path::Path;

    const CONFIG: &str = r#"
[model]
backbone = { bag = {} }
dataset_embeddings = true

[corpus.a]
train = "a.jsonl"
validation = "a.jsonl"
[corpus.b]
train = "b.jsonl"
validation = "b.jsonl"
[corpus.far]
test = "far.jsonl"

[task.first]
corpus = "a"
classification = { text = "text", label = "x" }
[task.second]
corpus = "b"
head = "first"
classification = { text = "text", label = "x" }
[task.third]
corpus = "b"
head = "first"
classification = { text = "text", label = "x" }

[[phase]]
tasks = ["first"]
epochs = 1
[[phase]]
tasks = ["first", "second"]
epochs = 2
until = { metric = "first.accuracy", threshold = 0.9 }

[sampling.sqrt]
[balance.static]
weights = { first = 1.0, second = 2.0 }
[train]
metric_for_best_model = "first.accuracy"
"#;

    fn derived(tasks: &[&str]) -> Config {
        let here = Path::new("/");
        let context = Context { name: "test", folder: here, current: here, set: &[], define: &[] };
        let config = parse(CONFIG, &context);
        let config = config.unwrap_or_else(|report| panic!("{report}")).config;
        let tasks: Vec<String> = tasks.iter().map(|task| (*task).to_owned()).collect();
        let derived = for_tasks(&config, &tasks);
        // It is a config by itself.
        parse(&derived.resolved_toml(), &context).unwrap_or_else(|report| panic!("{report}"));
        derived
    }

    #[test]
    fn what_speaks_of_other_tasks_is_left_out() {
        let two = derived(&["second", "third"]);
        let heads: Vec<Option<&str>> = two.task.values().map(|task| task.config.head.as_deref()).collect();
        assert_eq!(heads, [None, Some("second")], "the first that shared the head has it");
        assert_eq!(two.corpus.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(two.phase.len(), 1);
        assert_eq!(two.phase[0].tasks.as_deref(), Some(&["second".to_owned()][..]));
        assert!(two.phase[0].until.is_none());
        assert_eq!(two.train.metric_for_best_model, None);
        let balance::BalancerConfig::Static(fixed) = &two.balance else { panic!("{:?}", two.balance) };
        assert_eq!(fixed.weights.keys().collect::<Vec<_>>(), ["second"]);
        assert_eq!((two.sampling.name(), two.model.dataset_embeddings), ("proportional", false));

        let one = derived(&["first"]);
        assert_eq!((one.balance.name(), one.phase.len()), ("equal", 2));
        assert_eq!(one.train.metric_for_best_model.as_deref(), Some("first.accuracy"));
        let all = derived(&["first", "second", "third"]);
        assert_eq!((all.sampling.name(), all.corpus.len()), ("sqrt", 3));
    }
}
