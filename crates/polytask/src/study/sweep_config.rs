//! `[sweep]`: what `polytask sweep` tries.

use data::random::{stream, uniform_below, uniform01};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `[sweep]`: which values of which keys are tried, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SweepConfig {
    /// `"random"` draws of the values (default), the whole `"grid"` of them, or `"successive_halving"`: random draws of which only the
    /// best go on after each rung.
    pub method: SweepMethod,
    /// Trainings that are begun, of `random` and `successive_halving`; 16 by default.
    #[schemars(range(min = 1, max = 100_000))]
    pub trials: usize,
    /// `successive_halving`: of so many trainings one goes on after each rung, with so many times as many epochs; 3 by default.
    #[schemars(range(min = 2, max = 100))]
    pub reduction_factor: usize,
    /// `successive_halving`: epochs of the first rung; 1 by default.
    #[schemars(range(min = 1))]
    pub min_epochs: usize,
    /// Keys of the config with what they may be: a list of values, or `{ min = 1e-5, max = 1e-3, log = true }`. Between whole numbers
    /// only whole ones are tried; `points` says how many a grid has of a range (3 by default).
    pub space: Map<String, Value>,
}

impl Default for SweepConfig {
    fn default() -> Self {
        SweepConfig {
            method: SweepMethod::default(),
            trials: 16,
            reduction_factor: 3,
            min_epochs: 1,
            space: Map::new(),
        }
    }
}

/// How a sweep chooses what it tries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SweepMethod {
    /// Every value of each key with every value of the others.
    Grid,
    /// Values drawn independently (Bergstra and Bengio, 2012).
    #[default]
    Random,
    /// Random draws, all of them trained a little, the best of them longer, and so on (Jamieson and Talwalkar, 2016; Li et al., 2018). A
    /// rung is decided when all of it is trained, so that the choice does not depend on which training was faster.
    SuccessiveHalving,
}

/// What a key may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Range {
    /// One of some values.
    Values(Vec<Value>),
    /// A number between two.
    Between {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
        /// Whether its logarithm is drawn evenly.
        log: bool,
        /// Whether it is a whole number.
        whole: bool,
        /// Values in a grid.
        points: usize,
    },
}

/// A range as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    min: Value,
    max: Value,
    #[serde(default)]
    log: bool,
    points: Option<usize>,
}

/// The most combinations of a grid.
const MOST: usize = 100_000;

impl SweepConfig {
    /// The keys with their ranges, tables in tables as keys with dots.
    ///
    /// # Errors
    /// A range that is none, with its key.
    pub fn ranges(&self) -> Result<Vec<(String, Range)>, String> {
        let mut ranges = Vec::new();
        flatten("", &self.space, &mut ranges)?;
        if ranges.is_empty() {
            return Err("sweep.space is empty: name keys, such as \"optimizer.adamw.learning_rate\" = { min = 1e-5, max = 1e-3, log = true }".into());
        }
        Ok(ranges)
    }

    /// The settings of every trial: values as `--set` takes them, in the order of the ranges.
    ///
    /// # Errors
    /// As [`SweepConfig::ranges`]; a grid that is too large.
    pub fn settings(&self, seed: u64) -> Result<Vec<Vec<String>>, String> {
        let ranges = self.ranges()?;
        if self.method != SweepMethod::Grid {
            let trial = |index: usize| {
                let mut rng = stream(seed, "sweep", index as u64);
                ranges.iter().map(|(_, range)| range.draw(&mut rng)).collect()
            };
            return Ok((0..self.trials).map(trial).collect());
        }
        let mut all: Vec<Vec<String>> = vec![Vec::new()];
        for (_, range) in &ranges {
            let points = range.grid();
            if all.len() * points.len() > MOST {
                return Err(format!("the grid has more than {MOST} points: use method = \"random\""));
            }
            let with = |before: &Vec<String>| -> Vec<Vec<String>> {
                points.iter().map(|point| [before.as_slice(), std::slice::from_ref(point)].concat()).collect()
            };
            all = all.iter().flat_map(with).collect();
        }
        Ok(all)
    }
}

fn flatten(above: &str, table: &Map<String, Value>, out: &mut Vec<(String, Range)>) -> Result<(), String> {
    for (name, value) in table {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Array(values) if values.is_empty() => {
                return Err(format!("sweep.space.{key}: there are no values"));
            }
            Value::Array(values) => out.push((key, Range::Values(values.clone()))),
            Value::Object(inner) if inner.contains_key("min") || inner.contains_key("max") => {
                let range = Range::read(value).map_err(|reason| format!("sweep.space.{key}: {reason}"))?;
                out.push((key, range));
            }
            Value::Object(inner) => flatten(&key, inner, out)?,
            _ => {
                return Err(format!(
                    "sweep.space.{key}: found {value}, expected a list of values or {{ min = .., max = .. }}"
                ));
            }
        }
    }
    Ok(())
}

impl Range {
    fn read(value: &Value) -> Result<Range, String> {
        let written: Written = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
        let number =
            |value: &Value| value.as_f64().ok_or_else(|| format!("found {value}, expected a number"));
        let (min, max) = (number(&written.min)?, number(&written.max)?);
        if min >= max {
            return Err(format!("min = {min} is not below max = {max}"));
        }
        if written.log && min <= 0.0 {
            return Err(format!("log = true needs min above 0, found {min}"));
        }
        let points = written.points.unwrap_or(3);
        if !(2..=MOST).contains(&points) {
            return Err(format!("points = {points}: expected 2 to {MOST}"));
        }
        let whole = written.min.is_i64() && written.max.is_i64();
        Ok(Range::Between { min, max, log: written.log, whole, points })
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> String {
        match self {
            Range::Values(values) => text(&values[uniform_below(rng, values.len() as u64) as usize]),
            Range::Between { whole: true, log: false, min, max, .. } => {
                let many = (max - min) as u64 + 1;
                format!("{}", *min as i64 + uniform_below(rng, many) as i64)
            }
            Range::Between { .. } => self.at(uniform01(rng)),
        }
    }

    fn grid(&self) -> Vec<String> {
        match self {
            Range::Values(values) => values.iter().map(text).collect(),
            Range::Between { points, .. } => {
                let mut all: Vec<String> =
                    (0..*points).map(|i| self.at(i as f64 / (*points - 1) as f64)).collect();
                all.dedup();
                all
            }
        }
    }

    /// The value at a share of the way from the least to the greatest.
    fn at(&self, share: f64) -> String {
        let Range::Between { min, max, log, whole, .. } = self else { return String::new() };
        let value = if *log { min * (max / min).powf(share) } else { min + (max - min) * share };
        if *whole {
            format!("{}", value.round().clamp(*min, *max) as i64)
        } else {
            rounded(value, *min, *max)
        }
    }
}

/// A number between two with four significant digits, as TOML writes a float: the rest says nothing, and nobody can read it. It has more
/// where the two would be the same with four, or it would leave their range.
fn rounded(value: f64, min: f64, max: f64) -> String {
    let with = |digits: usize| format!("{value:.digits$e}");
    let is_close = |text: &String| {
        let found: f64 = text.parse().unwrap_or(f64::NAN);
        (min..=max).contains(&found) && (found - value).abs() <= (max - min) / 1000.0
    };
    let text = (3..17).map(with).find(is_close).unwrap_or_else(|| with(17));
    let value: f64 = text.parse().unwrap_or(value);
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) { format!("{value:?}") } else { text }
}

/// A value as `--set` takes it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(table) => {
            let entries: Vec<String> =
                table.iter().map(|(key, value)| format!("{key}={}", inner_text(value))).collect();
            format!("{{{}}}", entries.join(","))
        }
        other => inner_text(other),
    }
}

/// A value within another, as TOML writes it.
fn inner_text(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(inner_text).collect::<Vec<_>>().join(","))
        }
        Value::Object(_) => text(value),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sweep(method: SweepMethod, space: Value) -> SweepConfig {
        let Value::Object(space) = space else { panic!("a space is a table") };
        SweepConfig { method, space, trials: 200, ..SweepConfig::default() }
    }

    #[test]
    fn a_grid_has_every_combination() {
        let space = json!({
            "balance": ["equal", "uncertainty"],
            "optimizer": { "adamw": { "learning_rate": { "min": 1e-5, "max": 1e-3, "log": true } } },
            "train.epochs": { "min": 1, "max": 2 },
        });
        let sweep = sweep(SweepMethod::Grid, space);
        let keys: Vec<String> = sweep.ranges().unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["balance", "optimizer.adamw.learning_rate", "train.epochs"]);
        let all = sweep.settings(1).unwrap();
        assert_eq!(all.len(), 2 * 3 * 2);
        assert_eq!(all[0], ["equal", "1.000e-5", "1"]);
        assert_eq!(all[3], ["equal", "1.000e-4", "2"]);
    }

    #[test]
    fn draws_stay_in_their_ranges_and_repeat() {
        let space = json!({ "a": { "min": 1e-4, "max": 1e-1, "log": true }, "b": { "min": 2, "max": 5 }, "c": [true, "x"] });
        let sweep = sweep(SweepMethod::Random, space);
        let all = sweep.settings(3).unwrap();
        assert_eq!(all, sweep.settings(3).unwrap());
        assert_ne!(all, sweep.settings(4).unwrap());
        let small = all.iter().filter(|trial| trial[0].parse::<f64>().unwrap() < 1e-3).count();
        // A third of the logarithm's range.
        assert!((40..=95).contains(&small), "{small} of 200");
        for trial in &all {
            assert!((1e-4..=1e-1).contains(&trial[0].parse::<f64>().unwrap()));
            assert!((2..=5).contains(&trial[1].parse::<i64>().unwrap()));
            assert!(["true", "x"].contains(&trial[2].as_str()));
        }
        assert!((2..=5).all(|n| all.iter().any(|trial| trial[1] == n.to_string())));
    }

    #[test]
    fn what_is_no_range_is_named() {
        for (space, says) in [
            (json!({}), "sweep.space is empty"),
            (json!({ "a": [] }), "sweep.space.a: there are no values"),
            (json!({ "a": 3 }), "sweep.space.a: found 3, expected a list"),
            (
                json!({ "a": { "b": { "min": 2, "max": 1 } } }),
                "sweep.space.a.b: min = 2 is not below max = 1",
            ),
            (json!({ "a": { "min": 0, "max": 1, "log": true } }), "log = true needs min above 0"),
            (json!({ "a": { "min": 0 } }), "missing field `max`"),
            (json!({ "a": { "min": 0, "max": 1, "step": 1 } }), "unknown field `step`"),
            (json!({ "a": { "min": 0, "max": 1, "points": 1_000_000_000_000_u64 } }), "expected 2 to 100000"),
        ] {
            let error = sweep(SweepMethod::Grid, space).settings(1).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn values_are_written_as_toml() {
        assert_eq!(
            text(&json!({ "static": { "weights": { "a": 1.5, "b": "x" } } })),
            "{static={weights={a=1.5,b=\"x\"}}}"
        );
        assert_eq!(
            (text(&json!("uncertainty")), text(&json!([1, "a"]))),
            ("uncertainty".into(), "[1,\"a\"]".into())
        );
        assert_eq!(
            (rounded(0.000_123_456, 1e-6, 1e-3), rounded(0.25, 0.0, 1.0), rounded(1234.56, 1.0, 1e5)),
            ("1.235e-4".into(), "0.25".into(), "1235.0".into())
        );
        // Four digits are too few for a narrow range, and would leave this one.
        assert_eq!(rounded(0.999_962_5, 0.999_95, 0.999_99), "0.9999625");
        assert_eq!(rounded(0.123_46, 0.0, 0.123_46), "0.12346");
    }
}
