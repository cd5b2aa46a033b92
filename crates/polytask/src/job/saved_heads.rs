//! `[model] heads`: tasks that begin with the heads and the labels of a model that was trained before.

use crate::config::Config;
use crate::failure::Failure;
use model::Parameters;
use serde_json::Value;
use std::path::{Path, PathBuf};
use train::{Model, ModelDecoder, ModelManifest, TaskManifest};

/// The model that heads come from.
pub struct SavedHeads {
    dir: PathBuf,
    manifest: ModelManifest,
    /// The tasks of the config that it has.
    tasks: Vec<String>,
}

impl SavedHeads {
    /// The model that a config names; `None` where it names none.
    ///
    /// # Errors
    /// A folder without a trained model, or one that has none of the tasks, a task of another kind, or another decoder.
    pub fn of(config: &Config) -> Result<Option<SavedHeads>, Failure> {
        let Some(named) = &config.model.heads else { return Ok(None) };
        let inside = Path::new(named).join("model");
        let dir = if inside.is_dir() { inside } else { named.into() };
        let refused =
            |reason: String| Failure::refused([format!("model.heads: {}: {reason}", dir.display())]);
        let (manifest, _) = Model::read_manifest(&dir).map_err(|e| refused(e.to_string()))?;
        let mut tasks = Vec::new();
        for task in &manifest.tasks {
            let Some(table) = config.task.get(&task.name) else { continue };
            let kinds =
                [&table.config, &task.table.config].map(|table| table.kind(&task.name).unwrap_or_default());
            if kinds[0] != kinds[1] {
                let [own, saved] = kinds;
                return Err(refused(format!(
                    "task `{}` is {saved} there and {own} here; call it otherwise here, so that it begins with a head of its own",
                    task.name
                )));
            }
            tasks.push(task.name.clone());
        }
        if tasks.is_empty() {
            let names: Vec<&str> = manifest.tasks.iter().map(|task| task.name.as_str()).collect();
            return Err(refused(format!(
                "it has none of the config's tasks, it has {}; leave model.heads out",
                names.join(", ")
            )));
        }
        if config.model.decoder.is_some() && config.model.decoder != manifest.decoder {
            return Err(refused(
                "its decoder is not that of [model.decoder]; take over its table, or leave model.heads out"
                    .into(),
            ));
        }
        Ok(Some(SavedHeads { dir, manifest, tasks }))
    }

    /// Puts its label spaces in the place of those that were fitted, in the order of `names`: outputs keep their meaning.
    ///
    /// # Errors
    /// Heads that several tasks share here and not there, or the other way round.
    pub fn give_label_spaces(
        &self,
        names: &[&str],
        config: &Config,
        spaces: &mut [Value],
    ) -> Result<(), Failure> {
        for (name, space) in names.iter().zip(spaces) {
            let Some(saved) = self.task(name) else { continue };
            let own = config.task.get(name).map(|table| table.config.head_owner(name));
            let owner = saved.table.config.head_owner(name);
            if own.is_some_and(|own| own != owner) {
                return Err(Failure::refused([format!(
                    "model.heads: task `{name}` has the head of `{owner}` in {}; give it the same `head` here",
                    self.dir.display()
                )]));
            }
            space.clone_from(&saved.label_space);
        }
        Ok(())
    }

    fn task(&self, name: &str) -> Option<&TaskManifest> {
        self.manifest.tasks.iter().find(|task| task.name == name && self.tasks.iter().any(|own| own == name))
    }

    /// Gives the heads, and a decoder that is not part of the backbone, the values that they have there.
    ///
    /// # Errors
    /// Parameters that are not there, or of another shape: other settings, or another trunk.
    pub fn load(&self, decoder: Option<&ModelDecoder>, parameters: &mut Parameters) -> Result<(), Failure> {
        let tasks: Vec<&str> = self.tasks.iter().map(String::as_str).collect();
        let refused = |e| Failure::refused([format!("model.heads: {e}")]);
        model::load_heads_of(&self.dir, &tasks, parameters).map_err(refused)?;
        match decoder.filter(|decoder| decoder.fresh.is_some()) {
            Some(decoder) => {
                model::load_decoder(&self.dir, &decoder.network.names(), parameters).map_err(refused)
            }
            None => Ok(()),
        }
    }
}
