//! `[corpus.NAME] order`: the config of the order of a corpus's rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Order;
use crate::cast::to_u32;
use crate::{DataError, Row, Value};

/// The order of the rows of a corpus. Default: shuffled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderConfig {
    /// Shuffled anew for each pass over the corpus.
    #[default]
    Shuffled,
    /// Any section has the class proportions of the corpus, to within a row or two. Names the field that holds the class.
    Stratified(String),
    /// Every class equally often; rows of small classes are repeated. Names the field that holds the class.
    Balanced(String),
    /// Easy rows before hard ones.
    Curriculum(Curriculum),
}

/// `order = { curriculum = { by = "length" } }`: rows by increasing difficulty (curriculum learning).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    /// The difficulty of a row: its `"length"` in tokens, its `"loss"` under the model before training, or the number in a
    /// field, `{ field = "difficulty" }`.
    pub by: Difficulty,
    /// How many passes over the corpus are sorted by difficulty; 1 by default. Later passes are shuffled.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub curriculum_epochs: u64,
}

/// The difficulty of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Difficulty {
    /// The number of its tokens.
    Length,
    /// The mean loss of its tasks under the model before training.
    Loss,
    /// The number in a field.
    Field(String),
}

fn one() -> u64 {
    1
}

impl OrderConfig {
    /// Whether this is the default order.
    pub fn is_default(&self) -> bool {
        *self == OrderConfig::Shuffled
    }

    /// The order of the candidates among a corpus's rows, which have `tokens` tokens each. `losses` gives the loss of each
    /// candidate; it is called only where the order needs it.
    ///
    /// # Errors
    /// Every candidate that lacks the field, or whose field holds neither a class nor a number as needed.
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
            OrderConfig::Curriculum(Curriculum { by, curriculum_epochs }) => {
                let difficulty = match by {
                    Difficulty::Length => tokens.iter().map(|n| f64::from(*n)).collect(),
                    Difficulty::Loss => losses(),
                    Difficulty::Field(field) => each(all(), |row| {
                        row.number(field).and_then(|number| number.ok_or_else(|| row.missing(field)))
                    })?,
                };
                Order::Curriculum { difficulty, passes: *curriculum_epochs }
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
        let next = to_u32(names.len());
        Ok(*names.entry(name).or_insert(next))
    })
}

/// The value of each row, or all errors.
fn each<'a, T>(
    rows: impl Iterator<Item = &'a Row>,
    mut of: impl FnMut(&Row) -> Result<T, DataError>,
) -> Result<Vec<T>, Vec<DataError>> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for row in rows {
        match of(row) {
            Ok(value) => found.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
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
        let curriculum =
            |difficulty: &[f64], passes| Order::Curriculum { difficulty: difficulty.to_vec(), passes };
        assert_eq!(order("\"shuffled\"", &[0, 1]).unwrap(), Order::Shuffled);
        let classes = vec![0, 1, 0];
        assert_eq!(order(r#"{"balanced": "x"}"#, &[0, 1, 3]).unwrap(), Order::Balanced { classes });
        let by_length = order(r#"{"curriculum": {"by": "length"}}"#, &[1, 3]);
        assert_eq!(by_length.unwrap(), curriculum(&[9.0, 7.0], 1));
        let by_loss = order(r#"{"curriculum": {"by": "loss", "curriculum_epochs": 2}}"#, &[1]);
        assert_eq!(by_loss.unwrap(), curriculum(&[0.5], 2));
        let by_field = order(r#"{"curriculum": {"by": {"field": "y"}}}"#, &[2]);
        assert_eq!(by_field.unwrap(), curriculum(&[1.0], 1));
    }

    #[test]
    fn rows_without_the_field_are_named() {
        let told = |text| {
            order(text, &[0, 1, 2, 3]).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(r#"{"stratified": "x"}"#), ["a.jsonl:3: no field \"x\"; the row has y"]);
        let expected = "a.jsonl:1: field \"x\": found \"b\", expected a finite number";
        assert_eq!(told(r#"{"curriculum": {"by": {"field": "x"}}}"#)[0], expected);
    }
}
