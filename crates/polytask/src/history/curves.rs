//! Numbers with a course, by what they are.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use train::{Affinity, Evaluated, StepEvent, UsageReport};

/// What a curve is of. Its `metric` says which number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CurveKind {
    /// `loss` of a task in a step.
    Training,
    /// `loss`, a score of a task, or `mean` over all tasks, on a split of this name.
    Evaluation(String),
    /// `weight` of a task.
    Balance,
    /// `norm` of all or of a task, `conflicts`, `cosine with TASK`.
    Gradient,
    /// `cosine with TASK`, `affinity to TASK` (the net one), `reliability` of a task, as `train.affinity_steps` measures them.
    Affinity,
    /// `rate` of the trunk, `head_factor` of a head.
    LearningRate,
    /// `rows`, `tokens`, `operations`, `seconds`, `compute_share` of a task until then.
    Usage,
    /// `tokens_per_second`.
    Speed,
}

impl CurveKind {
    /// Its name in tables of curves: that of the split for evaluations.
    pub fn name(&self) -> &str {
        match self {
            CurveKind::Training => "train",
            CurveKind::Evaluation(split) => split,
            CurveKind::Balance => "balance",
            CurveKind::Gradient => "gradient",
            CurveKind::Affinity => "affinity",
            CurveKind::LearningRate => "learning_rate",
            CurveKind::Usage => "usage",
            CurveKind::Speed => "speed",
        }
    }
}

/// Which curve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CurveKey {
    /// What it is of.
    pub kind: CurveKind,
    /// The number, see [`CurveKind`].
    pub metric: String,
    /// The task; empty for what is of all.
    pub task: String,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Steps done.
    pub step: usize,
    /// The epoch, from 1 on.
    pub epoch: usize,
    /// The number.
    pub value: f64,
}

/// All curves of a run. Steps rise along each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    curves: BTreeMap<CurveKey, Vec<Point>>,
}

impl Curves {
    /// A curve; no points where there is none.
    pub fn get(&self, kind: &CurveKind, metric: &str, task: &str) -> &[Point] {
        let key = CurveKey { kind: kind.clone(), metric: metric.into(), task: task.into() };
        self.curves.get(&key).map_or(&[], Vec::as_slice)
    }

    /// All curves in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&CurveKey, &[Point])> {
        self.curves.iter().map(|(key, points)| (key, points.as_slice()))
    }

    /// The metrics of a kind that a task has, in their order.
    pub fn metrics<'a>(&'a self, kind: &'a CurveKind, task: &'a str) -> impl Iterator<Item = &'a str> {
        self.of_kind(kind).filter(move |(key, _)| key.task == task).map(|(key, _)| key.metric.as_str())
    }

    fn of_kind(&self, kind: &CurveKind) -> impl Iterator<Item = (&CurveKey, &Vec<Point>)> {
        let first = CurveKey { kind: kind.clone(), metric: String::new(), task: String::new() };
        let range: Range<'_, CurveKey, Vec<Point>> = self.curves.range(first..);
        range.take_while({
            let kind = kind.clone();
            move |(key, _)| key.kind == kind
        })
    }

    fn add(&mut self, kind: CurveKind, metric: &str, task: &str, at: (usize, usize), value: f64) {
        let key = CurveKey { kind, metric: metric.into(), task: task.into() };
        self.curves.entry(key).or_default().push(Point { step: at.0, epoch: at.1, value });
    }

    pub(super) fn add_step(&mut self, e: &StepEvent) {
        let at = (e.step, e.epoch);
        for (task, loss) in &e.losses {
            self.add(CurveKind::Training, "loss", task, at, *loss);
        }
        for (task, weight) in &e.weights {
            self.add(CurveKind::Balance, "weight", task, at, *weight);
        }
        for (head, factor) in &e.head_factors {
            self.add(CurveKind::LearningRate, "head_factor", head, at, *factor);
        }
        self.add(CurveKind::LearningRate, "rate", "", at, e.learning_rate);
        self.add(CurveKind::Gradient, "norm", "", at, e.gradient_norm);
        self.add(CurveKind::Speed, "tokens_per_second", "", at, e.tokens as f64 / e.seconds.max(1e-9));
        let Some(gradients) = &e.task_gradients else { return };
        for (task, norm) in &gradients.norms {
            self.add(CurveKind::Gradient, "norm", task, at, *norm);
        }
        for pair in &gradients.cosines {
            let (first, second) = &pair.tasks;
            self.add(CurveKind::Gradient, &format!("cosine with {second}"), first, at, pair.cosine);
        }
        if let Some(conflicts) = gradients.conflicts {
            self.add(CurveKind::Gradient, "conflicts", "", at, conflicts);
        }
    }

    /// A measurement. The affinities are without what the optimizer's momentum does in any case.
    pub(super) fn add_affinity(&mut self, e: &Affinity, epoch: usize) {
        let at = (e.step, epoch);
        for (task, found) in &e.tasks {
            if let Some(reliability) = found.reliability {
                self.add(CurveKind::Affinity, "reliability", task, at, reliability);
            }
        }
        for pair in &e.pairs {
            let (first, second) = &pair.tasks;
            if let Some(cosine) = pair.cosine {
                self.add(CurveKind::Affinity, &format!("cosine with {second}"), first, at, cosine);
            }
        }
        for one in &e.transfers {
            let Some(momentum) = e.tasks.get(&one.to).and_then(|to| to.without_gradient) else { continue };
            let metric = format!("affinity to {}", one.to);
            self.add(CurveKind::Affinity, &metric, &one.from, at, one.affinity - momentum);
        }
    }

    pub(super) fn add_evaluation(&mut self, e: &Evaluated) {
        let (at, kind) = ((e.step, e.epoch), || CurveKind::Evaluation(e.split.clone()));
        for (task, scores) in &e.scores {
            for (metric, score) in scores {
                self.add(kind(), metric, task, at, *score);
            }
        }
        for (task, loss) in &e.losses {
            self.add(kind(), "loss", task, at, *loss);
        }
        self.add(kind(), "mean", "", at, e.mean);
    }

    pub(super) fn add_usage(&mut self, e: &UsageReport, epoch: usize) {
        let at = (e.step, epoch);
        for (task, used) in &e.tasks {
            let numbers = [
                ("rows", used.rows as f64),
                ("tokens", used.tokens as f64),
                ("operations", used.operations),
                ("seconds", used.seconds),
            ];
            for (metric, value) in numbers {
                self.add(CurveKind::Usage, metric, task, at, value);
            }
        }
        for (task, share) in &e.shares {
            self.add(CurveKind::Usage, "compute_share", task, at, *share);
        }
    }

    pub(super) fn cut_after(&mut self, step: usize) {
        for points in self.curves.values_mut() {
            let stays = points.partition_point(|point| point.step <= step);
            points.truncate(stays);
        }
        self.curves.retain(|_, points| !points.is_empty());
    }
}
