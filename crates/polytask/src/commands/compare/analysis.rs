//! The figures of a comparison, from the results of its trials: `comparison.json`.

use super::Definition;
use super::contestants::{Contestant, Contestants, trial_name};
use super::tuning::Tuned;
use crate::study::derive::Budget;
use crate::study::{TaskScore, TrialResult};
use metrics::{Difference, Replicates, delta_m, mean_ranks};
use serde::Serialize;
use std::collections::BTreeMap;

/// A comparison. Scores are fractions.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What the others are held against: the first contestant.
    pub reference: String,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// What models for fewer tasks get.
    pub budget: Budget,
    /// Whether several models for all tasks were compared.
    pub has_grid: bool,
    /// Whether all models were trained before.
    pub no_training: bool,
    /// The setting that each model was given where models were tuned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tuned: Vec<Tuned>,
    /// What is scored: every task on its own corpus, then on those of other domains.
    pub tasks: Vec<TaskFigures>,
    /// The contestants, the reference first.
    pub contestants: Vec<ContestantFigures>,
}

/// A task and the rows that it is scored on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskFigures {
    /// The task.
    pub task: String,
    /// The corpus.
    pub corpus: String,
    /// Whether the corpus is one of the task's `out_of_domain`.
    pub out_of_domain: bool,
    /// The split.
    pub split: String,
    /// The primary metric.
    pub metric: String,
    /// Labelled rows that are scored.
    pub rows: usize,
    /// Labelled rows that are trained on.
    pub train_rows: usize,
}

/// What a contestant got and gave.
#[derive(Debug, Clone, Serialize)]
pub struct ContestantFigures {
    /// Its name.
    pub name: String,
    /// Models.
    pub models: usize,
    /// Its scores, in the order of [`Comparison::tasks`]; `None` of tasks that it does not do.
    pub scores: Vec<Option<ScoreFigures>>,
    /// The mean relative change of the scores of its tasks on their own corpora against the reference, in percent; positive is better.
    /// `None` of the reference, and where a reference score is 0.
    pub delta_m: Option<Interval>,
    /// The mean over tasks and seeds of its rank among the contestants that do all tasks; `None` of others.
    pub mean_rank: Option<f64>,
    /// Parameters of all its models.
    pub parameters: usize,
    /// Tokens that all its models train on, the mean over the seeds, as the figures below.
    pub tokens: f64,
    /// Floating-point operations of training; 0 where the backbone has no linear layers to count.
    pub operations: f64,
    /// Seconds of training, evaluations left out.
    pub seconds: f64,
    /// The largest resident size of a training in bytes.
    pub peak_bytes: Option<usize>,
    /// Bytes of the files of all its models.
    pub bytes: f64,
    /// Floating-point operations to use it on 1,000 tokens, for all tasks that it does.
    pub use_operations: f64,
    /// Seconds to use it on 1,000 tokens, for all tasks that it does.
    pub use_seconds: f64,
}

/// A score over the seeds.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreFigures {
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation over seeds; `None` of one seed.
    pub deviation: Option<f64>,
    /// The score of each seed.
    pub values: Vec<f64>,
    /// Its difference to the reference's; `None` of the reference itself.
    pub difference: Option<Interval>,
}

/// A difference with its 95 % confidence interval over seeds and rows.
#[derive(Debug, Clone, Serialize)]
pub struct Interval {
    /// Its mean over the seeds.
    pub mean: f64,
    /// The interval.
    pub interval: [f64; 2],
    /// The probability of a difference as great, to either side, where there is none.
    pub p_value: f64,
    /// `helps`, `hurts`, `no difference shown`, `one seed: no verdict`.
    pub verdict: &'static str,
}

impl From<Difference> for Interval {
    fn from(found: Difference) -> Interval {
        let verdict = found.verdict().describe();
        Interval { mean: found.mean, interval: found.interval, p_value: found.p_value, verdict }
    }
}

/// The replicates of a contestant's scores, in the order of the tasks.
type Scores = Vec<Option<Replicates>>;

impl Comparison {
    /// Of the results of all trials.
    pub(super) fn of(
        contestants: &Contestants,
        definition: &Definition,
        results: &[TrialResult],
    ) -> Comparison {
        let results: BTreeMap<&str, &TrialResult> =
            results.iter().map(|result| (result.name.as_str(), result)).collect();
        let seeds: Vec<u64> = (0..definition.seeds).collect();
        let found = Found { results, seeds: &seeds };
        let tasks = found.tasks(contestants);
        let scores: Vec<Scores> = contestants
            .list
            .iter()
            .map(|one| tasks.iter().map(|task| found.replicates(one, task)).collect())
            .collect();
        let ranks = ranks(&contestants.list, &tasks, &scores, seeds.len());
        let figures = contestants.list.iter().zip(&scores).zip(ranks).map(|((one, own), mean_rank)| {
            let reference = scores.first().filter(|_| !std::ptr::eq(own, &scores[0]));
            found.figures(one, own, reference, &tasks, mean_rank)
        });
        Comparison {
            contestants: figures.collect(),
            reference: contestants.list.first().map(|one| one.name.clone()).unwrap_or_default(),
            seeds: seeds.iter().map(|index| contestants.seed + index).collect(),
            budget: definition.budget,
            has_grid: !definition.grid.is_empty(),
            no_training: definition.no_training,
            tuned: Vec::new(),
            tasks,
        }
    }

    /// How many verdicts it gives.
    pub fn verdicts(&self) -> usize {
        let of =
            |one: &ContestantFigures| one.scores.iter().flatten().filter(|s| s.difference.is_some()).count();
        self.contestants.iter().map(of).sum()
    }
}

/// The results by name of the trial.
struct Found<'a> {
    results: BTreeMap<&'a str, &'a TrialResult>,
    seeds: &'a [u64],
}

impl Found<'_> {
    fn result(&self, model: &str, seed: u64) -> Option<&TrialResult> {
        self.results.get(trial_name(model, seed).as_str()).copied()
    }

    /// What is scored, as the first trial of each task has it: first the tasks on their own corpora.
    fn tasks(&self, contestants: &Contestants) -> Vec<TaskFigures> {
        let mut tasks = Vec::new();
        for out_of_domain in [false, true] {
            for task in &contestants.tasks {
                // Models that were trained before may not say what they were trained on.
                let train_rows =
                    self.results.values().find_map(|result| result.train_rows.get(task).copied());
                let scores = self.results.values().flat_map(|result| &result.scores);
                let own = scores.filter(|score| score.task == *task && score.out_of_domain == out_of_domain);
                for score in own {
                    let found = TaskFigures {
                        task: score.task.clone(),
                        corpus: score.corpus.clone(),
                        out_of_domain,
                        split: score.split.clone(),
                        metric: score.metric.clone(),
                        rows: score.rows,
                        train_rows: train_rows.unwrap_or(0),
                    };
                    // Rows that are cut off for validation differ between seeds, also in number.
                    let is_it = |known: &TaskFigures| {
                        (&known.task, &known.corpus, known.out_of_domain)
                            == (&found.task, &found.corpus, found.out_of_domain)
                    };
                    if !tasks.iter().any(is_it) {
                        tasks.push(found);
                    }
                }
            }
        }
        tasks
    }

    /// A contestant's score of a task, seed by seed; `None` where it has none with every seed.
    fn replicates(&self, contestant: &Contestant, task: &TaskFigures) -> Option<Replicates> {
        let (model, _) = contestant.models.iter().find(|(_, tasks)| tasks.contains(&task.task))?;
        let is_it = |score: &&TaskScore| score.task == task.task && score.corpus == task.corpus;
        let of = |seed: &u64| self.result(model, *seed)?.scores.iter().find(is_it);
        let scores: Vec<&TaskScore> = self.seeds.iter().map(of).collect::<Option<_>>()?;
        Some(Replicates {
            values: scores.iter().map(|score| score.value).collect(),
            resampled: scores.iter().map(|score| score.resampled.clone()).collect(),
        })
    }

    fn figures(
        &self,
        contestant: &Contestant,
        own: &Scores,
        reference: Option<&Scores>,
        tasks: &[TaskFigures],
        mean_rank: Option<f64>,
    ) -> ContestantFigures {
        let score = |(index, own): (usize, &Option<Replicates>)| {
            let own = own.as_ref()?;
            let other = reference.and_then(|reference| reference[index].as_ref());
            let difference = other.and_then(|other| {
                Difference::of(&Replicates::combine(&[(1.0, own), (-1.0, other)]), tasks[index].rows)
            });
            Some(ScoreFigures {
                mean: own.mean(),
                deviation: own.deviation(),
                values: own.values.clone(),
                difference: difference.map(Interval::from),
            })
        };
        let all: Vec<&TrialResult> = self
            .seeds
            .iter()
            .flat_map(|seed| contestant.models.iter().filter_map(|(model, _)| self.result(model, *seed)))
            .collect();
        let seeds = self.seeds.len().max(1) as f64;
        let sum =
            |get: &dyn Fn(&TrialResult) -> f64| all.iter().map(|result| get(result)).sum::<f64>() / seeds;
        let parameters = sum(&|result| result.parameters() as f64) as usize;
        ContestantFigures {
            name: contestant.name.clone(),
            models: contestant.models.len(),
            scores: own.iter().enumerate().map(score).collect(),
            delta_m: reference
                .and_then(|reference| relative_change(own, reference, tasks))
                .map(Interval::from),
            mean_rank,
            parameters,
            tokens: sum(&|result| result.tokens as f64),
            operations: sum(&|result| result.operations),
            seconds: sum(&|result| result.seconds),
            peak_bytes: all.iter().filter_map(|result| result.peak_bytes).max(),
            bytes: sum(&|result| result.bytes as f64),
            use_operations: 1000.0 * sum(&|result| result.inference.operations_per_token),
            use_seconds: 1000.0 * sum(&|result| result.inference.seconds_per_token),
        }
    }
}

/// Delta-m over the tasks that both do, on their own corpora. It is linear in the scores with the means of the reference as the scale, so
/// that its replicates are those of the scores.
fn relative_change(own: &Scores, reference: &Scores, tasks: &[TaskFigures]) -> Option<Difference> {
    let pairs: Vec<(&Replicates, &Replicates, usize)> = tasks
        .iter()
        .enumerate()
        .filter(|(_, task)| !task.out_of_domain)
        .filter_map(|(index, task)| Some((own[index].as_ref()?, reference[index].as_ref()?, task.rows)))
        .collect();
    let mean = delta_m(pairs.iter().map(|(own, reference, _)| (own.mean(), reference.mean())))?;
    let scale = |reference: &Replicates| 100.0 / pairs.len() as f64 / reference.mean();
    let parts: Vec<(f64, &Replicates)> = pairs
        .iter()
        .flat_map(|(own, reference, _)| [(scale(reference), *own), (-scale(reference), *reference)])
        .collect();
    let rows = pairs.iter().map(|(_, _, rows)| *rows).min().unwrap_or(0);
    let found = Difference::of(&Replicates::combine(&parts), rows)?;
    debug_assert!((found.mean - mean).abs() < 1e-6);
    Some(found)
}

/// The mean rank of each contestant that does all tasks, over tasks and seeds.
fn ranks(list: &[Contestant], tasks: &[TaskFigures], scores: &[Scores], seeds: usize) -> Vec<Option<f64>> {
    let complete: Vec<usize> = (0..list.len()).filter(|index| list[*index].is_complete).collect();
    let mut rows = Vec::new();
    for seed in 0..seeds {
        for (index, _) in tasks.iter().enumerate().filter(|(_, task)| !task.out_of_domain) {
            let of = |one: &usize| scores[*one][index].as_ref()?.values.get(seed).copied();
            rows.extend(complete.iter().map(of).collect::<Option<Vec<f64>>>());
        }
    }
    let ranks = mean_ranks(&rows);
    let of = |index| complete.iter().position(|one| *one == index).and_then(|at| ranks.get(at).copied());
    (0..list.len()).map(of).collect()
}
