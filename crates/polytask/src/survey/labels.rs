//! Labels of each task in each split, and how evenly they are spread.

use crate::job::corpora::TaskLabels;
use data::Split;
use data::survey::LabelDistribution;
use serde::Serialize;
use train::TaskSlot;

/// The tag of words outside everything: it says how much there is to find, not how labels are spread.
const OUTSIDE: &str = "O";

/// One task.
#[derive(Debug, Serialize)]
pub struct LabelSurvey {
    /// The task.
    pub task: String,
    /// Its kind.
    pub kind: String,
    /// The corpus whose rows carry its labels.
    pub corpus: String,
    /// Each split that its corpus has.
    pub splits: Vec<SplitLabels>,
}

/// Labels in one split.
#[derive(Debug, Serialize)]
pub struct SplitLabels {
    /// How evenly they are spread, the tag `O` aside.
    pub balance: LabelDistribution,
    /// Labels of the training split that this one lacks.
    pub absent: Vec<String>,
    /// What was read.
    #[serde(flatten)]
    pub found: TaskLabels,
}

impl LabelSurvey {
    /// Every task, in the order of the config.
    pub fn all(found: &[TaskLabels], tasks: &[TaskSlot]) -> Vec<LabelSurvey> {
        let of = |slot: &TaskSlot| {
            let splits: Vec<&TaskLabels> = found.iter().filter(|labels| labels.task == slot.name).collect();
            let training = splits.iter().find(|labels| labels.split == Split::Train);
            let trained = |label: &str| {
                training.is_some_and(|t| t.counts.iter().any(|(name, count)| name == label && *count > 0))
            };
            let split = |found: &&TaskLabels| SplitLabels {
                balance: LabelDistribution::of(counted(found).map(|(_, count)| *count)),
                absent: found
                    .counts
                    .iter()
                    .filter(|(l, n)| *n == 0 && trained(l))
                    .map(|(l, _)| l.clone())
                    .collect(),
                found: (*found).clone(),
            };
            LabelSurvey {
                task: slot.name.clone(),
                kind: slot.config.kind(&slot.name).unwrap_or_default().to_owned(),
                corpus: slot.config.corpus.clone(),
                splits: splits.iter().map(split).collect(),
            }
        };
        tasks.iter().map(of).collect()
    }

    /// A split, if the corpus has it.
    pub fn split(&self, split: Split) -> Option<&SplitLabels> {
        self.splits.iter().find(|labels| labels.found.split == split)
    }
}

impl SplitLabels {
    /// Labels that occur, the most frequent first, the tag `O` aside.
    pub fn ranked(&self) -> Vec<(&str, usize)> {
        let mut ranked: Vec<(&str, usize)> =
            counted(&self.found).filter(|(_, n)| **n > 0).map(|(label, n)| (label.as_str(), *n)).collect();
        ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        ranked
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.found.labelled + self.found.missing
    }
}

/// The labels that are compared with each other, also those that training never shows.
fn counted(found: &TaskLabels) -> impl Iterator<Item = (&String, &usize)> {
    let known = found.counts.iter().map(|(label, count)| (label, count));
    known.chain(&found.unseen).filter(|(label, _)| *label != OUTSIDE)
}
