//! What quantizing a part costs each task, and which parts need more bits so that no task loses too much.

use super::parts::{Part, Quantizer};
use crate::config::Config;
use crate::job::measured::{TaskScore, measure};
use ::model::quantization::WeightType;
use ::train::Job;
use data::Split;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Scores by task.
type Scores = BTreeMap<String, TaskScore>;

/// What a part costs when it alone is quantized.
#[derive(Debug, Clone, Serialize)]
pub struct Sensitivity {
    pub part: String,
    #[serde(rename = "type")]
    pub weight_type: WeightType,
    /// The points of a hundred that each task loses.
    pub lost: BTreeMap<String, f64>,
}

fn scores_of(job: &Job, config: &Config) -> Scores {
    let views = job.views.of(Split::Validation);
    measure(&job.model, |_| true, views, config.train.evaluation_tokens(), Path::new("")).0
}

/// The points of a hundred that each task loses.
fn lost(before: &Scores, after: &Scores) -> BTreeMap<String, f64> {
    let of = |(task, was): (&String, &TaskScore)| {
        let (was, is) = (was.values.get(&was.metric)?, after.get(task)?.values.get(&was.metric)?);
        Some((task.clone(), 100.0 * (was - is)))
    };
    before.iter().filter_map(of).collect()
}

fn worst(lost: &BTreeMap<String, f64>) -> f64 {
    lost.values().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The type of each part so that no task loses more than `most` points, and what each part costs alone. All begin with `least`; the
/// most costly of those with the fewest bits gets more, until all tasks are within.
pub fn weight_types(
    job: &mut Job,
    quantizer: &mut Quantizer,
    parts: &[Part],
    config: &Config,
    (least, most): (WeightType, f64),
) -> (Vec<WeightType>, Vec<Sensitivity>) {
    quantizer.set(job, []);
    let before = scores_of(job, config);
    let alone = parts.iter().map(|part| {
        quantizer.set(job, [(part, least)]);
        let lost = lost(&before, &scores_of(job, config));
        Sensitivity { part: part.name.clone(), weight_type: least, lost }
    });
    let alone: Vec<Sensitivity> = alone.collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|a, b| worst(&alone[*b].lost).total_cmp(&worst(&alone[*a].lost)));
    let mut found = vec![least; parts.len()];
    let mut level = least;
    while let Some(next) = level.next() {
        for part in &order {
            quantizer.set(job, parts.iter().zip(found.iter().copied()));
            if worst(&lost(&before, &scores_of(job, config))) <= most {
                return (found, alone);
            }
            found[*part] = next;
        }
        level = next;
    }
    (found, alone)
}
