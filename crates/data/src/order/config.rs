//! `[corpus.NAME] order`: what a config says about the order of a corpus's rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Order;
use crate::{DataError, Row, Value};

/// In which order the rows of a corpus come. Default: shuffled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderConfig {
    /// Shuffled anew for each pass over the corpus.
    #[default]
    Shuffled,
    /// Any stretch has its share of every class, to within a row or two. Names the field that holds the class.
    Stratified(String),
    /// Every class equally often; rows of small classes are repeated. Names the field that holds the class.
    Balanced(String),
    /// Easy rows before hard ones.
    Rising(Rising),
}

/// `order = { rising = { by = "length" } }`: a curriculum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rising {
    /// What makes a row hard: its `"length"` in tokens, its `"loss"` under the model as training begins, or the number in a
    /// field, `{ field = "difficulty" }`.
    pub by: Difficulty,
    /// How many passes over the corpus are in this order; 1 by default. Then they are shuffled.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub passes: u64,
}

/// What makes a row hard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Difficulty {
    /// Its tokens.
    Length,
    /// The mean loss of its tasks under the model as training begins.
    Loss,
    /// The number in a field.
    Field(String),
}

fn one() -> u64 {
    1
}

impl OrderConfig {
    /// Whether this is the order without a word in the config.
    pub fn is_default(&self) -> bool {
        *self == OrderConfig::Shuffled
    }

    /// The order of the candidates among a corpus's rows, of so many tokens each. `losses` gives the loss of each candidate; it
    /// is asked only where the order goes by it.
    ///
    /// # Errors
    /// Every candidate that lacks the field, or has something else in it than a class or a number.
    pub fn order(
        &self,
        rows: &[Row],
        candidates: &[u32],
        tokens: &[u32],
        losses: impl FnOnce() -> Vec<f64>,
    ) -> Result<Order, Vec<DataError>> {
        let all = || candidates.iter().filter_map(|row| rows.get(*row as usize));
        Ok(match self {
            OrderConfig::Shuffled => Order::Shuffled,
            OrderConfig::Stratified(field) => Order::Stratified { classes: classes(all(), field)? },
            OrderConfig::Balanced(field) => Order::Balanced { classes: classes(all(), field)? },
            OrderConfig::Rising(Rising { by, passes }) => {
                let difficulty = match by {
                    Difficulty::Length => tokens.iter().map(|n| f64::from(*n)).collect(),
                    Difficulty::Loss => losses(),
                    Difficulty::Field(field) => each(all(), |row| {
                        row.number(field).and_then(|number| number.ok_or_else(|| row.missing(field)))
                    })?,
                };
                Order::Rising { difficulty, passes: *passes }
            }
        })
    }
}

/// The class of each row: what its field holds, numbered as they come.
fn classes<'a>(rows: impl Iterator<Item = &'a Row>, field: &str) -> Result<Vec<u32>, Vec<DataError>> {
    let mut names: std::collections::HashMap<String, u32> = std::collections::HashMap::new();
    each(rows, |row| {
        let name = match row.get(field) {
            None => return Err(row.missing(field)),
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Bool(bool)) => bool.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            Some(other) => {
                return Err(row.error(field, other.preview(), "a class: text, a number, true or false"));
            }
        };
        let next = names.len() as u32;
        Ok(*names.entry(name).or_insert(next))
    })
}

/// What each row gives, or all faults.
fn each<'a, T>(
    rows: impl Iterator<Item = &'a Row>,
    mut of: impl FnMut(&Row) -> Result<T, DataError>,
) -> Result<Vec<T>, Vec<DataError>> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for row in rows {
        match of(row) {
            Ok(value) => found.push(value),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;
    use std::path::Path;
    use std::sync::Arc;

    fn rows() -> Vec<Row> {
        let row = |line: usize, field: &str, value: Value| Row {
            place: Place { file: Arc::from(Path::new("a.jsonl")), line },
            fields: vec![(field.into(), value)],
        };
        vec![
            row(1, "x", Value::Text("b".into())),
            row(2, "x", Value::Number(2.0)),
            row(3, "y", Value::Number(1.0)),
            row(4, "x", Value::Text("b".into())),
        ]
    }

    fn order(text: &str, candidates: &[u32]) -> Result<Order, Vec<DataError>> {
        let config: OrderConfig = serde_json::from_str(text).unwrap();
        let tokens: Vec<u32> = candidates.iter().map(|row| 10 - row).collect();
        config.order(&rows(), candidates, &tokens, || vec![0.5; candidates.len()])
    }

    #[test]
    fn orders_are_read_from_rows() {
        let rising = |difficulty: &[f64], passes| Order::Rising { difficulty: difficulty.to_vec(), passes };
        assert_eq!(order("\"shuffled\"", &[0, 1]).unwrap(), Order::Shuffled);
        let classes = vec![0, 1, 0];
        assert_eq!(order(r#"{"balanced": "x"}"#, &[0, 1, 3]).unwrap(), Order::Balanced { classes });
        assert_eq!(order(r#"{"rising": {"by": "length"}}"#, &[1, 3]).unwrap(), rising(&[9.0, 7.0], 1));
        assert_eq!(order(r#"{"rising": {"by": "loss", "passes": 2}}"#, &[1]).unwrap(), rising(&[0.5], 2));
        assert_eq!(order(r#"{"rising": {"by": {"field": "y"}}}"#, &[2]).unwrap(), rising(&[1.0], 1));
    }

    #[test]
    fn rows_without_the_field_are_named() {
        let told = |text| {
            order(text, &[0, 1, 2, 3]).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(r#"{"stratified": "x"}"#), ["a.jsonl:3: no field \"x\"; the row has y"]);
        let fault = "a.jsonl:1: field \"x\": found \"b\", expected a finite number";
        assert_eq!(told(r#"{"rising": {"by": {"field": "x"}}}"#)[0], fault);
    }
}
