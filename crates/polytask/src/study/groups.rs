//! Which tasks are trained together: a file with groups of tasks, as `affinity` writes it.

use crate::config::Config;
use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// `groups = [["a", "b"], ["c"]]`: a model for each group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Groups {
    /// The groups; every task of the config is in exactly one.
    pub groups: Vec<Vec<String>>,
}

impl Groups {
    /// Reads a file of groups for the tasks of a config.
    ///
    /// # Errors
    /// A file that cannot be read or says something else; a task that is in no group, in two, or not in the config.
    pub fn read(file: &Path, config: &Config) -> Result<Groups, Failure> {
        let refused = |reason: String| Failure::refused([format!("{}: {reason}", file.display())]);
        let bytes = files::read(file).map_err(|e| refused(e.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| refused("is not UTF-8".into()))?;
        let groups: Groups = toml::from_str(&text)
            .map_err(|e| refused(format!("expected groups = [[\"a\", \"b\"], [\"c\"]]: {}", e.message())))?;
        groups.check(config).map_err(refused)?;
        Ok(groups)
    }

    fn check(&self, config: &Config) -> Result<(), String> {
        let tasks: Vec<&String> = config.task.keys().collect();
        if self.groups.iter().any(Vec::is_empty) {
            return Err("a group is empty".into());
        }
        let named: Vec<&String> = self.groups.iter().flatten().collect();
        if let Some(unknown) = named.iter().find(|task| !tasks.contains(task)) {
            return Err(format!("there is no task `{unknown}` in the config"));
        }
        for task in tasks {
            match named.iter().filter(|named| **named == task).count() {
                1 => {}
                0 => return Err(format!("task `{task}` is in no group")),
                _ => return Err(format!("task `{task}` is in several groups; each has one model")),
            }
        }
        Ok(())
    }
}
