//! The trainings that an affinity study needs.

use super::Definition;
use crate::config::Config;
use crate::failure::Failure;
use crate::study::derive::{Budget, Reference, for_models};
use crate::study::{StudyDir, Trial};
use model::BackboneConfig;
use train::{AFFINITY_ROWS_PER_TASK, OptimizerConfig};

/// A training, and the tokens that it trains on, about.
pub(super) type Work = (Trial, f64);

/// All trainings of a study.
pub(super) struct Trainings {
    /// The tasks in the order of the config.
    pub(super) tasks: Vec<String>,
    pub(super) importance: Vec<f64>,
    /// The seeds.
    pub(super) seeds: Vec<u64>,
    /// The model for all tasks is measured after every so many steps.
    pub(super) every: usize,
    /// The model for all tasks, a training for each seed.
    pub(super) together: Vec<Work>,
    /// Each task, and each pair where those are trained.
    alone: Vec<Work>,
    pairs: Vec<Work>,
    /// Each task from the trunk of each other.
    intermediate: Vec<Work>,
}

impl Trainings {
    /// Without a directory only what they cost is right.
    ///
    /// # Errors
    /// The directory cannot be found.
    pub(super) fn of(
        config: &Config,
        definition: &Definition,
        reference: &Reference,
        dir: Option<&StudyDir>,
    ) -> Result<Trainings, Failure> {
        let tasks: Vec<String> = config.task.keys().cloned().collect();
        let seeds: Vec<u64> = (0..definition.seeds).map(|index| config.train.seed + index).collect();
        let every =
            config.train.affinity_steps.unwrap_or(reference.steps() / (definition.measurements + 1)).max(1);
        let mut found = Trainings {
            importance: config.task.values().map(|task| task.training.importance).collect(),
            tasks,
            seeds,
            every,
            together: Vec::new(),
            alone: Vec::new(),
            pairs: Vec::new(),
            intermediate: Vec::new(),
        };
        found.add_together(config, reference);
        if definition.pairs || definition.intermediate {
            let alone = found.tasks.iter().map(|task| vec![task.clone()]).collect();
            found.alone = found.models(config, reference, alone);
        }
        if definition.pairs {
            let pairs = found.pairs_of_tasks().map(|(a, b)| vec![a.clone(), b.clone()]).collect();
            found.pairs = found.models(config, reference, pairs);
        }
        if definition.intermediate {
            found.add_intermediate(config, reference, dir)?;
        }
        Ok(found)
    }

    fn add_together(&mut self, config: &Config, reference: &Reference) {
        let (tasks, steps) = (self.tasks.len() as f64, reference.steps() as f64);
        // A backward pass costs two forward ones: a task's gradient as much as training on its rows, a loss a third of that.
        let rows = AFFINITY_ROWS_PER_TASK as f64 * tasks;
        let of_measurement = rows * reference.tokens_per_row(&self.tasks) * (1.0 + (tasks + 2.0) / 3.0);
        let tokens = reference.work(&self.tasks) + of_measurement * (steps / self.every as f64).floor();
        for seed in self.seeds.clone() {
            let mut config = config.clone();
            config.train.affinity_steps = Some(self.every);
            config.train.seed = seed;
            self.together.push((Trial::new(&self.name_of_together(seed), config), tokens));
        }
    }

    /// Models for sets of tasks with as many steps as the model for all, for each seed.
    fn models(&self, config: &Config, reference: &Reference, sets: Vec<Vec<String>>) -> Vec<Work> {
        let mut config = config.clone();
        config.train.affinity_steps = None;
        let configs = for_models(&config, &sets, reference, Budget::Steps);
        let one = |seed: u64| {
            let make = move |(tasks, config): (&Vec<String>, &Config)| {
                let tokens = reference.work(tasks);
                let mut config = config.clone();
                config.train.seed = seed;
                (Trial::new(&self.name_of_model(tasks, seed), config), tokens)
            };
            sets.iter().zip(&configs).map(make)
        };
        self.seeds.iter().flat_map(|seed| one(*seed)).collect()
    }

    /// Each task alone, from the trunk of each other where that is.
    fn add_intermediate(
        &mut self,
        config: &Config,
        reference: &Reference,
        dir: Option<&StudyDir>,
    ) -> Result<(), Failure> {
        let tasks = self.tasks.clone();
        for (from, to) in tasks.iter().flat_map(|from| tasks.iter().map(move |to| (from, to))) {
            if from == to {
                continue;
            }
            let own = self.models(config, reference, vec![vec![to.clone()]]);
            for (seed, (trial, tokens)) in self.seeds.clone().into_iter().zip(own) {
                let mut config = trial.config;
                if let Some(dir) = dir {
                    let trunk =
                        dir.trial(&self.trial_of_model(std::slice::from_ref(from), seed)).join("model");
                    let trunk = std::path::absolute(&trunk).map_err(|e| Failure::io("finding", &trunk, e))?;
                    begin_from(&mut config, trunk.to_string_lossy().into_owned());
                }
                let name = self.name_of_intermediate(from, to, seed);
                self.intermediate.push((Trial::new(&name, config), tokens));
            }
        }
        Ok(())
    }

    /// Every two tasks, once.
    pub(super) fn pairs_of_tasks(&self) -> impl Iterator<Item = (&String, &String)> {
        let tasks = &self.tasks;
        tasks.iter().enumerate().flat_map(|(at, a)| tasks[at + 1..].iter().map(move |b| (a, b)))
    }

    fn name_of_together(&self, seed: u64) -> String {
        format!("together {}", self.number(seed))
    }

    fn name_of_model(&self, tasks: &[String], seed: u64) -> String {
        let lead = if tasks.len() == 1 { "alone " } else { "" };
        format!("{lead}{} {}", tasks.join("+"), self.number(seed))
    }

    fn name_of_intermediate(&self, from: &str, to: &str, seed: u64) -> String {
        format!("{from} then {to} {}", self.number(seed))
    }

    /// Which seed it is, from 1 on.
    fn number(&self, seed: u64) -> u64 {
        seed - self.seeds[0] + 1
    }

    /// The name of the trial of a model for some tasks.
    pub(super) fn trial_of_model(&self, tasks: &[String], seed: u64) -> String {
        Trial::name_of(&self.name_of_model(tasks, seed))
    }

    /// The name of the trial of a task from the trunk of another.
    pub(super) fn trial_of_intermediate(&self, from: &str, to: &str, seed: u64) -> String {
        Trial::name_of(&self.name_of_intermediate(from, to, seed))
    }

    /// What is trained one after the other.
    pub(super) fn waves(&self) -> Vec<Vec<Work>> {
        let first = [&self.together[..], &self.alone, &self.pairs].concat();
        [first, self.intermediate.clone()].into_iter().filter(|wave| !wave.is_empty()).collect()
    }

    /// How many trainings there are.
    pub(super) fn count(&self) -> usize {
        self.waves().iter().map(Vec::len).sum()
    }

    /// What all take, in tokens of training.
    pub(super) fn work(&self) -> f64 {
        self.waves().iter().flatten().map(|(_, tokens)| tokens).sum()
    }

    /// What they are, and how many of each sort.
    pub(super) fn parts(&self) -> Vec<(&'static str, usize)> {
        let all = [
            ("for all tasks", self.together.len()),
            ("for a task alone, with as many steps and as many of its rows in each", self.alone.len()),
            ("for two tasks, likewise", self.pairs.len()),
            ("for a task that begins from the trunk of another", self.intermediate.len()),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// Lets a training begin from a saved trunk. All else stays as it is without: a pretrained backbone has another default of the heads'
/// learning rate, so that this is written out.
fn begin_from(config: &mut Config, trunk: String) {
    config.model.backbone = BackboneConfig::Pretrained(trunk);
    config.tokenizer = None;
    match &mut config.optimizer {
        OptimizerConfig::AdamW(own) => {
            own.head_learning_rate = own.head_learning_rate.or(Some(own.learning_rate))
        }
        OptimizerConfig::ScheduleFree(own) => {
            own.head_learning_rate = own.head_learning_rate.or(Some(own.learning_rate));
        }
        _ => {}
    }
}
