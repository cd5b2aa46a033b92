//! Which structures stay: the most important ones for all tasks together.
//!
//! Importances of a task are divided by their sum over all structures of a sort in the network, so that tasks with larger losses do not
//! count for more, and added up over the tasks, each times its `importance`. Of heads and columns as many stay in each layer, since
//! config.json has one number for all.

use crate::cli::LayersBy;
use crate::failure::Failure;
use model::kept_layers;
use model::pruning::{Cut, CuttableSizes, kept_columns};
use serde::Serialize;
use train::TaskImportance;

/// What is to stay.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Wanted {
    /// Layers; `None`: all.
    pub layers: Option<usize>,
    /// Which layers.
    #[serde(skip)]
    pub by: LayersBy,
    /// The share of the heads.
    pub heads: Option<f64>,
    /// The share of the feed-forward columns.
    pub ffn: Option<f64>,
    /// Dimensions of the states; `None`: all.
    pub hidden: Option<usize>,
}

impl Wanted {
    /// Refuses shares that are none, and a command that cuts nothing.
    pub fn check(&self) -> Result<(), Failure> {
        for (option, share) in [("--heads", self.heads), ("--ffn", self.ffn)] {
            if let Some(found) = share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
                return Err(Failure::refused([format!(
                    "{option} {found}: it is the share that stays, expected a number above 0, at most 1"
                )]));
            }
        }
        if self.layers.is_none() && self.heads.is_none() && self.ffn.is_none() && self.hidden.is_none() {
            return Err(Failure::refused([
                "nothing to cut: give --ffn 0.5 (the share of feed-forward columns that stays), --heads 0.5, --layers 3, or --hidden 256",
            ]));
        }
        Ok(())
    }

    /// Refuses what the network cannot be cut to, before anything is measured.
    pub fn check_network(&self, layers: usize, sizes: &CuttableSizes) -> Result<(), Failure> {
        if let (Some(_), Err(reason)) = (self.heads, sizes.heads) {
            return Err(Failure::refused([format!(
                "--heads: {reason}; leave it out, and cut --ffn or --layers"
            )]));
        }
        if let (Some(_), Err(reason)) = (self.ffn, sizes.ffn) {
            return Err(Failure::refused([format!("--ffn: {reason}")]));
        }
        if let (Some(share), Ok(heads)) = (self.heads, sizes.heads) {
            heads
                .checked(share)
                .map_err(|reason| Failure::refused([format!("--heads {share}: {reason}")]))?;
        }
        if let Some(found) = self.hidden {
            let groups = self.heads.zip(sizes.heads.ok()).map(|(share, heads)| heads.kept(share));
            let checked = match sizes.hidden {
                Ok(width) => width.checked(found, groups).map(drop),
                Err(reason) => Err(reason.to_owned()),
            };
            checked.map_err(|reason| Failure::refused([format!("--hidden {found}: {reason}")]))?;
        }
        if let (Some(_), Err(reason)) = (self.layers, sizes.layers) {
            return Err(Failure::refused([format!("--layers: {reason}")]));
        }
        match self.layers {
            Some(found) if !(1..=layers).contains(&found) => Err(Failure::refused([format!(
                "--layers {found}: expected 1 to {layers}, the layers of the model"
            )])),
            _ => Ok(()),
        }
    }

    /// What stays, by the importance of tasks that count for `weights`. `gone` are the layers that go by the losses without them.
    pub fn choose(
        &self,
        tasks: &[TaskImportance],
        gone: Option<&[usize]>,
        weights: &[f64],
        (layers, sizes): (usize, &CuttableSizes),
    ) -> Cut {
        let layers = self.layers.map(|kept| {
            let by_layer = weighted_importance(tasks, weights, |task| {
                task.layers.iter().map(|layer| vec![*layer]).collect()
            });
            let of: Vec<f64> = by_layer.into_iter().flatten().collect();
            match (self.by, gone) {
                (LayersBy::Loss, Some(gone)) => (0..layers).filter(|layer| !gone.contains(layer)).collect(),
                (LayersBy::Loss | LayersBy::Importance, _) => {
                    greatest(&of, kept, sizes.first_layer_stays.then_some(0))
                }
                (LayersBy::Spacing, _) => kept_layers(layers, kept),
            }
        });
        let most = |of: fn(&TaskImportance) -> Vec<Vec<f64>>, kept: &dyn Fn(usize) -> usize| {
            let all = weighted_importance(tasks, weights, of);
            all.iter().map(|layer| greatest(layer, kept(layer.len()), None)).collect::<Vec<_>>()
        };
        Cut {
            layers,
            ffn: self.ffn.map(|share| most(|task| task.ffn.clone(), &|count| kept_columns(count, share))),
            head_groups: self.groups(sizes).map(|groups| most(|task| task.heads.clone(), &|_| groups)),
            hidden: self.hidden.map(|kept| {
                let of = weighted_importance(tasks, weights, |task| vec![task.hidden.clone()]);
                greatest(&of.into_iter().flatten().collect::<Vec<_>>(), kept, None)
            }),
        }
    }

    /// How many groups of heads stay, where some are to go: by themselves, or with the width of states.
    fn groups(&self, sizes: &CuttableSizes) -> Option<usize> {
        let asked = self.heads.zip(sizes.heads.ok()).map(|(share, heads)| heads.kept(share));
        let following =
            self.hidden.zip(sizes.hidden.ok()).and_then(|(kept, width)| width.checked(kept, asked).ok());
        following.flatten().or(asked)
    }
}

/// The importance of structures for all tasks, the sum of their shares in each task's own.
fn weighted_importance(
    tasks: &[TaskImportance],
    weights: &[f64],
    of: impl Fn(&TaskImportance) -> Vec<Vec<f64>>,
) -> Vec<Vec<f64>> {
    let mut sums: Vec<Vec<f64>> = Vec::new();
    for (task, weight) in tasks.iter().zip(weights) {
        let own = of(task);
        let all: f64 = own.iter().flatten().sum();
        sums.resize_with(own.len(), Vec::new);
        for (sums, own) in sums.iter_mut().zip(&own) {
            sums.resize(own.len(), 0.0);
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += weight * own / all.max(f64::MIN_POSITIVE));
        }
    }
    sums
}

/// The places of the `kept` greatest numbers, rising; of equal ones the first. `first` is one that stays in any case.
fn greatest(of: &[f64], kept: usize, first: Option<usize>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..of.len()).collect();
    places.sort_by(|a, b| {
        let stays = |at: &usize| first == Some(*at);
        stays(b).cmp(&stays(a)).then(of[*b].total_cmp(&of[*a])).then(a.cmp(b))
    });
    places.truncate(kept);
    places.sort_unstable();
    places
}

/// How much of what a task depends on stays, of structures by layer: a share; `None` where it depends on none.
pub fn kept_share(of: &[Vec<f64>], kept: Option<&[Vec<usize>]>, layers: Option<&[usize]>) -> Option<f64> {
    let all: f64 = of.iter().flatten().sum();
    let stays = |layer: &usize| layers.is_none_or(|layers| layers.contains(layer));
    let of_layer = |layer: usize| match kept {
        Some(kept) => kept[layer].iter().map(|at| of[layer][*at]).sum::<f64>(),
        None => of[layer].iter().sum(),
    };
    (all > 0.0).then(|| (0..of.len()).filter(stays).map(of_layer).sum::<f64>() / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(ffn: Vec<Vec<f64>>, layers: Vec<f64>) -> TaskImportance {
        TaskImportance {
            task: "t".into(),
            rows: 1,
            layers,
            heads: vec![vec![]; ffn.len()],
            ffn,
            hidden: vec![],
        }
    }

    const FREE: CuttableSizes = CuttableSizes {
        ffn: Ok("intermediate_size"),
        heads: Err("none"),
        hidden: Err("none"),
        layers: Ok(()),
        first_layer_stays: false,
    };

    #[test]
    fn every_task_counts_by_its_importance_and_not_by_its_loss() {
        // The second task's losses are a thousand times those of the first.
        let tasks = [
            task(vec![vec![4.0, 3.0, 2.0, 1.0]], vec![1.0]),
            task(vec![vec![0.0, 1000.0, 2000.0, 3000.0]], vec![1.0]),
        ];
        let wanted =
            Wanted { layers: None, by: LayersBy::Importance, heads: None, ffn: Some(0.5), hidden: None };
        let ffn = |weights: [f64; 2]| wanted.choose(&tasks, None, &weights, (1, &FREE)).ffn.unwrap();
        assert_eq!(ffn([1.0, 1.0]), [[2, 3]]);
        assert_eq!(ffn([5.0, 1.0]), [[0, 1]]);
        assert_eq!(ffn([0.0, 1.0]), [[2, 3]]);
        // A task that depends on nothing changes nothing.
        let none = [tasks[0].clone(), task(vec![vec![0.0; 4]], vec![0.0])];
        assert_eq!(wanted.choose(&none, None, &[1.0, 1.0], (1, &FREE)).ffn.unwrap(), [[0, 1]]);
    }

    #[test]
    fn layers_stay_by_importance_or_spacing() {
        let tasks = [task(vec![vec![]; 4], vec![1.0, 4.0, 2.0, 3.0])];
        let layers = |by, first_layer_stays| {
            let wanted = Wanted { layers: Some(2), by, heads: None, ffn: None, hidden: None };
            let sizes = CuttableSizes { first_layer_stays, ..FREE };
            wanted.choose(&tasks, Some(&[1, 3]), &[1.0], (4, &sizes)).layers.unwrap()
        };
        assert_eq!(layers(LayersBy::Loss, false), [0, 2]);
        assert_eq!(layers(LayersBy::Importance, false), [1, 3]);
        assert_eq!(layers(LayersBy::Importance, true), [0, 1]);
        assert_eq!(layers(LayersBy::Spacing, false), [0, 2]);
    }

    #[test]
    fn what_stays_is_told_of_the_whole() {
        let of = [vec![1.0, 3.0], vec![2.0, 4.0]];
        assert_eq!(kept_share(&of, None, None), Some(1.0));
        assert_eq!(kept_share(&of, Some(&[vec![1], vec![1]]), None), Some(0.7));
        assert_eq!(kept_share(&of, Some(&[vec![1], vec![1]]), Some(&[1])), Some(0.4));
        assert_eq!(kept_share(&[vec![0.0]], None, None), None);
    }
}
