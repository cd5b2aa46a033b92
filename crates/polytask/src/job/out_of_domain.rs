//! Corpora of other domains that tasks are scored on, too.

use crate::config::Config;
use train::{Model, TaskSlot};

/// Tasks with a corpus of another domain each, scored together.
pub struct OtherDomains(Vec<(String, String)>);

impl OtherDomains {
    /// All that the config names, in rounds in which each task has at most one.
    pub fn rounds(config: &Config) -> Vec<OtherDomains> {
        let rounds = config.task.values().map(|task| task.training.out_of_domain.len()).max().unwrap_or(0);
        let of = |round: usize| {
            let corpora = config.task.iter().filter_map(move |(name, task)| {
                Some((name.clone(), task.training.out_of_domain.get(round)?.clone()))
            });
            OtherDomains(corpora.collect())
        };
        (0..rounds).map(of).collect()
    }

    /// Lets the tasks of a model read these corpora, and gives the config that says so.
    pub fn applied(&self, config: &Config, model: &mut Model) -> Config {
        let mut config = config.clone();
        for (task, corpus) in &self.0 {
            if let Some(table) = config.task.get_mut(task) {
                table.config.corpus = corpus.clone();
            }
            if let Some(slot) = model.tasks.iter_mut().find(|slot| slot.name == *task) {
                slot.config.corpus = corpus.clone();
            }
        }
        config
    }

    /// Whether a task is among them.
    pub fn has(&self, task: &TaskSlot) -> bool {
        self.0.iter().any(|(name, _)| *name == task.name)
    }
}
