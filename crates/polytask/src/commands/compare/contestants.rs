//! Who is compared: sets of models that together do tasks, and the trainings that they need.

use super::trained::{self, Trained};
use super::{Definition, grid};
use crate::config::Config;
use crate::failure::Failure;
use crate::study::Trial;
use crate::study::derive::{Budget, Reference, for_models};
use crate::study::settings::with_overrides;
use std::path::PathBuf;

/// The contestant with a model for each task.
pub(super) const ALONE: &str = "alone";
/// The contestant with one model for all tasks, where there is no grid.
pub(super) const TOGETHER: &str = "together";

/// Models that together do some tasks, or all.
#[derive(Debug, Clone)]
pub(super) struct Contestant {
    pub(super) name: String,
    /// Its models, as the first part of the name of their trials, with their tasks.
    pub(super) models: Vec<(String, Vec<String>)>,
    /// Whether it does all tasks.
    pub(super) is_complete: bool,
}

/// A model that is trained with every seed.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// The first part of the name of its trials.
    pub(super) name: String,
    pub(super) config: Config,
    /// What a training takes, in tokens.
    pub(super) work: f64,
    /// The runs of a model that was trained before, by seed; none of one that is trained.
    pub(super) trained: Vec<PathBuf>,
}

impl Model {
    /// Whether the comparison trains it.
    pub(super) fn is_trained_here(&self) -> bool {
        self.trained.is_empty()
    }
}

/// The contestants, the reference first, and all their models.
pub(super) struct Contestants {
    pub(super) list: Vec<Contestant>,
    pub(super) models: Vec<Model>,
    /// The tasks in the order of the config.
    pub(super) tasks: Vec<String>,
    /// The first seed.
    pub(super) seed: u64,
}

impl Contestants {
    /// By what was asked for.
    ///
    /// # Errors
    /// A grid that does not go with the config.
    pub(super) fn of(
        config: &Config,
        definition: &Definition,
        reference: &Reference,
    ) -> Result<Contestants, Failure> {
        let mut found =
            Builder { reference, budget: definition.budget, list: Vec::new(), configs: Vec::new() };
        let tasks: Vec<String> = config.task.keys().cloned().collect();
        if definition.alone && !definition.no_training && tasks.len() > 1 {
            let models = tasks.iter().map(|task| vec![task.clone()]).collect();
            found.add(ALONE, config, models, true);
        }
        let grid =
            if definition.no_training { Vec::new() } else { grid::combinations(&definition.grid, config)? };
        for combination in grid {
            let name = if combination.name.is_empty() { TOGETHER } else { &combination.name };
            let config = with_overrides(config, &combination.set)?;
            found.add_all(name, config, &tasks);
        }
        if let Some(groups) = &definition.groups {
            found.add("groups", config, groups.groups.clone(), true);
        }
        if definition.pairs {
            for (i, first) in tasks.iter().enumerate() {
                for second in &tasks[i + 1..] {
                    let name = format!("{first} + {second}");
                    found.add(&name, config, vec![vec![first.clone(), second.clone()]], false);
                }
            }
        }
        let work: Vec<f64> = found.configs.iter().map(|(_, config)| found.work(config)).collect();
        let models = found.configs.into_iter().zip(work);
        let mut models: Vec<Model> =
            models.map(|((name, config), work)| Model { name, config, work, trained: Vec::new() }).collect();
        for Trained { name, runs } in &definition.trained {
            let own = runs.first().map_or_else(|| Ok(Vec::new()), |run| trained::tasks(run))?;
            let is_complete = tasks.iter().all(|task| own.contains(task));
            found.list.push(Contestant {
                name: name.clone(),
                models: vec![(name.clone(), own)],
                is_complete,
            });
            models.push(Model {
                name: name.clone(),
                config: config.clone(),
                work: 0.0,
                trained: runs.clone(),
            });
        }
        Ok(Contestants { list: found.list, models, tasks, seed: config.train.seed })
    }

    /// The trials of all models with so many seeds, the first seed of all before the second, and what each takes.
    pub(super) fn trials(&self, seeds: u64) -> (Vec<Trial>, Vec<f64>) {
        let of = |seed: u64| {
            self.models.iter().map(move |model| {
                let mut config = model.config.clone();
                config.train.seed += seed;
                let trial = Trial::new(&trial_name(&model.name, seed), config);
                (Trial { trained: model.trained.get(seed as usize).cloned(), ..trial }, model.work)
            })
        };
        (0..seeds).flat_map(of).unzip()
    }

    /// Gives a model another config, and a name that says so.
    pub(super) fn rename(&mut self, index: usize, name: &str, config: Config) {
        let model = &mut self.models[index];
        let before = std::mem::replace(&mut model.name, name.to_owned());
        model.config = config;
        let models = self.list.iter_mut().flat_map(|one| &mut one.models);
        models.filter(|(known, _)| *known == before).for_each(|(known, _)| *known = name.to_owned());
    }
}

/// Contestants so far.
struct Builder<'a> {
    reference: &'a Reference,
    budget: Budget,
    list: Vec<Contestant>,
    /// Configs by the first part of the names of their trials.
    configs: Vec<(String, Config)>,
}

impl Builder<'_> {
    /// Adds a contestant with models for these sets of tasks. A model that another contestant has, too, is trained once.
    fn add(&mut self, name: &str, config: &Config, models: Vec<Vec<String>>, is_complete: bool) {
        let configs = for_models(config, &models, self.reference, self.budget);
        let mut named = Vec::new();
        for (tasks, config) in models.into_iter().zip(configs) {
            // With a budget of computation a model's share depends on the models beside it.
            let own = if self.budget == Budget::Compute { format!("{name} ") } else { String::new() };
            let model = match tasks.len() {
                1 => format!("{own}{ALONE} {}", tasks[0]),
                n if n == config.task.len() && is_complete && self.is_together(&config) => {
                    TOGETHER.to_owned()
                }
                _ => format!("{own}{}", tasks.join("+")),
            };
            // Names such as `a+b` may be those of other sets of tasks; then there are two of a name, which is refused.
            let is_it = |known: &Config| known.task.keys().eq(config.task.keys());
            if !self.configs.iter().any(|(name, known)| *name == model && is_it(known)) {
                self.configs.push((model.clone(), config));
            }
            named.push((model, tasks));
        }
        self.list.push(Contestant { name: name.to_owned(), models: named, is_complete });
    }

    /// Adds a contestant with one model for all tasks.
    fn add_all(&mut self, name: &str, config: Config, tasks: &[String]) {
        self.configs.push((name.to_owned(), config));
        self.list.push(Contestant {
            name: name.to_owned(),
            models: vec![(name.to_owned(), tasks.to_vec())],
            is_complete: true,
        });
    }

    /// Whether a config is that of the model for all tasks.
    fn is_together(&self, config: &Config) -> bool {
        let text = config.resolved_toml();
        self.configs.iter().any(|(name, known)| name == TOGETHER && known.resolved_toml() == text)
    }

    fn work(&self, config: &Config) -> f64 {
        let tasks: Vec<String> = config.task.keys().cloned().collect();
        let work = self.reference.work(&tasks);
        match (self.budget, config.train.max_steps) {
            (Budget::Compute, Some(steps)) => {
                work * (steps as f64 / self.reference.steps().max(1) as f64).min(1.0)
            }
            _ => work,
        }
    }
}

/// The name of the trial of a model with the seed of that index, as [`Trial::new`] writes it.
pub(super) fn trial_name(model: &str, seed: u64) -> String {
    Trial::name_of(&format!("{model} {}", seed + 1))
}
