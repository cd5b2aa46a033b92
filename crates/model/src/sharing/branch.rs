//! Branches: from a layer on every group of tasks has layers of its own.
//!
//! ```text
//! states = layers_of_group(shared_layers(tokens))        the layers from `first_layer` on are the group's
//! ```
//!
//! The first group goes on with the layers of the backbone, each other group with copies of them: all begin as the backbone's, which
//! is hard sharing.
//! Groups: `groups = [["intent", "slots"], ["polarity"]]`, or `groups_file`, a file with such a line, as `polytask affinity` writes it.
//! Left out: every task is a group. Default first layer: the last one. A tree has several tables `[[sharing.branch.levels]]`, each with
//! `first_layer` and `groups`, and the groups of a later level are parts of those of the one before.
//! Parameters: (groups - 1) times those of the layers from `first_layer` on.
//! Cost: none for rows of one group; a row that tasks of several groups read goes through the trunk once for each group.
//! When to use: where tasks need different features of the upper layers. Which tasks belong together, `polytask affinity` measures.
//! Errors: a layer that the backbone does not have, a task in no group or in two, an unknown task, a level that joins what an earlier
//! one parted.
//! Papers: Lu et al. 2017, "Fully-adaptive feature sharing in multi-task networks"; Vandenhende et al. 2020, "Branched multi-task
//! networks"; Fifty et al. 2021, "Efficiently identifying task groupings for multi-task learning".

use super::build::check_own_layers;
use super::copies::{WeightCopies, parameters_from};
use super::targets::refused;
use super::{LanePolicy, LayerPass, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::parameters::{Level, Owner, ParameterTensor, Parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[sharing.branch]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BranchConfig {
    /// The lowest layer that each group has for itself, from 0. Left out: the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_layer: Option<usize>,
    /// The tasks of each group. Left out: every task is a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<Vec<String>>>,
    /// A TOML file with `groups`, as `polytask affinity` writes it, in place of `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_file: Option<std::path::PathBuf>,
    /// A tree: several layers from which on the tasks part, from the lowest to the highest, in place of the keys above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<BranchLevel>,
}

/// `[[sharing.branch.levels]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchLevel {
    /// The lowest layer that each of these groups has for itself, from 0.
    pub first_layer: usize,
    /// The tasks of each group.
    pub groups: Vec<Vec<String>>,
}

impl BranchConfig {
    /// Leaves other tasks than these out of the groups.
    pub(super) fn retain_tasks(&mut self, keep: impl Fn(&str) -> bool) {
        let retain = |groups: &mut Vec<Vec<String>>| {
            groups.iter_mut().for_each(|group| group.retain(|task| keep(task)));
            groups.retain(|group| !group.is_empty());
        };
        self.groups.iter_mut().for_each(retain);
        self.levels.iter_mut().for_each(|level| retain(&mut level.groups));
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Branch {
    config: BranchConfig,
    first_layer: usize,
    /// The groups of the highest level: whose rows go together.
    groups: Vec<Vec<String>>,
    copies: WeightCopies,
}

const NAME: &str = "branch";

impl Branch {
    pub(super) fn new(config: BranchConfig) -> Self {
        Branch { config, first_layer: usize::MAX, groups: Vec::new(), copies: WeightCopies::default() }
    }

    /// The levels of the config, checked but for the layers.
    fn levels(&self, trunk: &TrunkShape, tasks: &[String]) -> Result<Vec<BranchLevel>, ModelError> {
        let BranchConfig { first_layer, groups, groups_file, levels } = &self.config;
        if groups_file.is_some() {
            let expected = "`groups`: the file is read where the config is";
            return Err(refused(NAME, "groups_file", "a file that was not read", expected));
        }
        let levels = if levels.is_empty() {
            let first_layer = first_layer.unwrap_or(trunk.layers.len().saturating_sub(1));
            let each = || tasks.iter().map(|task| vec![task.clone()]).collect();
            vec![BranchLevel { first_layer, groups: groups.clone().unwrap_or_else(each) }]
        } else if first_layer.is_some() || groups.is_some() {
            let expected = "nothing beside `first_layer` and `groups`, or these in `levels`";
            return Err(refused(NAME, "levels", levels.len(), expected));
        } else {
            levels.clone()
        };
        let mut before: Option<&BranchLevel> = None;
        for level in &levels {
            check_groups(&level.groups, tasks)?;
            check_own_layers(NAME, level.first_layer, trunk)?;
            if let Some(before) = before {
                if before.first_layer >= level.first_layer {
                    let expected = format!("above {}, the level before", before.first_layer);
                    return Err(refused(NAME, "levels.first_layer", level.first_layer, expected));
                }
                let is_part = |group: &&Vec<String>| {
                    before.groups.iter().any(|whole| group.iter().all(|task| whole.contains(task)))
                };
                if let Some(joined) = level.groups.iter().find(|group| !is_part(group)) {
                    let expected = "parts of the groups of the level before: branches do not join again";
                    return Err(refused(NAME, "levels.groups", joined.join(", "), expected));
                }
            }
            before = Some(level);
        }
        Ok(levels)
    }
}

/// That every task is in one group.
fn check_groups(groups: &[Vec<String>], tasks: &[String]) -> Result<(), ModelError> {
    let wrong = |found: String, expected: &str| Err(refused(NAME, "groups", found, expected));
    let named: Vec<&String> = groups.iter().flatten().collect();
    if groups.iter().any(Vec::is_empty) {
        return wrong("an empty group".into(), "at least one task in each group");
    }
    if let Some(unknown) = named.iter().find(|task| !tasks.contains(task)) {
        return wrong(format!("{unknown:?}"), &format!("tasks of the config: {}", tasks.join(", ")));
    }
    for task in tasks {
        match named.iter().filter(|named| **named == task).count() {
            0 => return wrong(format!("no group with {task:?}"), "every task in one group"),
            1 => {}
            _ => return wrong(format!("{task:?} more than once"), "every task in one group"),
        }
    }
    Ok(())
}

impl Sharing for Branch {
    fn config(&self) -> SharingConfig {
        SharingConfig::Branch(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let levels = self.levels(trunk, tasks)?;
        let Some((lowest, highest)) = levels.first().zip(levels.last()) else { return Ok(()) };
        self.first_layer = lowest.first_layer;
        self.groups = highest.groups.clone();
        for (at, level) in levels.iter().enumerate() {
            let end = levels.get(at + 1).map(|next| next.first_layer);
            let from = parameters_from(level.first_layer, trunk, parameters);
            let above = end.map(|end| parameters_from(end, trunk, parameters)).unwrap_or_default();
            let own: Vec<usize> = from.into_iter().filter(|index| !above.contains(index)).collect();
            for (number, group) in level.groups.iter().enumerate() {
                if number == 0 {
                    own.iter().for_each(|index| parameters.set_owner(*index, Owner::Tasks(group.clone())));
                    continue;
                }
                self.copies.add(NAME, group, &own, parameters);
                // A lane is called by the first task of its group in the highest level.
                for lane in highest.groups.iter().filter_map(|part| part.first()) {
                    if group.contains(lane) {
                        self.copies.alias(lane, &group[0], &own);
                    }
                }
            }
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        LanePolicy::PerGroup(self.groups.clone())
    }

    fn first_layer(&self) -> usize {
        self.first_layer
    }

    fn layer_pass(&self, _level: Level) -> LayerPass {
        LayerPass::PerLane
    }

    fn copies(&self) -> Option<&WeightCopies> {
        Some(&self.copies)
    }

    fn merged(&self, task: &str, parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        let group = self.groups.iter().find(|group| group.iter().any(|own| own == task))?;
        Some(self.copies.merged(group.first()?, parameters))
    }
}
