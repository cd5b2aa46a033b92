//! Rows of one text whose labels contradict each other.

use data::survey::{NormalizedText, row_keys};
use data::{Row, Split, Value, View};
use serde::Serialize;
use std::collections::HashMap;
use train::{TaskSlot, Views};

/// How many examples are kept.
const EXAMPLES: usize = 3;

/// Rows of a task whose text stands earlier with another label: in their own split, or in training.
#[derive(Debug, Serialize)]
pub struct Contradictions {
    /// The task.
    pub task: String,
    /// The split of the rows.
    pub split: Split,
    /// How many.
    pub rows: usize,
    /// Of how many with a label.
    pub of: usize,
    /// The first of them.
    pub examples: Vec<String>,
}

/// A labelled row, as the rows after it are compared with it.
struct Earlier<'a> {
    row: &'a Row,
    labels: Vec<Option<&'a Value>>,
}

/// The contradictions of all tasks that have one right answer to a text, where there are any.
pub fn find(views: &Views, tasks: &[TaskSlot]) -> Vec<Contradictions> {
    // Several tasks may read one view.
    let mut keys: HashMap<(Split, usize), Vec<Option<NormalizedText>>> = HashMap::new();
    let mut found = Vec::new();
    for slot in tasks.iter().filter(|slot| slot.kind.has_one_answer()) {
        let fields = slot.kind.target_fields();
        let mut seen: HashMap<NormalizedText, Earlier<'_>> = HashMap::new();
        for split in Split::ALL {
            let Some(view) = views.of(split).get(slot.view) else { continue };
            let keys = keys.entry((split, slot.view)).or_insert_with(|| row_keys(view));
            found.push(of_view(view, keys, &fields, slot, split, &mut seen));
        }
    }
    found.retain(|found| found.rows > 0);
    found
}

fn of_view<'a>(
    view: &'a View,
    keys: &[Option<NormalizedText>],
    fields: &[String],
    slot: &TaskSlot,
    split: Split,
    seen: &mut HashMap<NormalizedText, Earlier<'a>>,
) -> Contradictions {
    let mut found = Contradictions { task: slot.name.clone(), split, rows: 0, of: 0, examples: Vec::new() };
    for (index, (row, key)) in view.rows.iter().zip(keys).enumerate() {
        let Some(key) = (*key).filter(|_| slot.head.labelled(split, index)) else { continue };
        found.of += 1;
        let labels: Vec<Option<&Value>> = fields.iter().map(|field| row.get(field)).collect();
        match seen.get(&key) {
            None => drop(seen.insert(key, Earlier { row, labels })),
            Some(earlier) if earlier.labels == labels => {}
            Some(earlier) => {
                found.rows += 1;
                if found.examples.len() < EXAMPLES {
                    let shown = |labels: &[Option<&Value>]| {
                        let shown = labels.iter().map(|label| label.map_or("nothing".into(), Value::preview));
                        shown.collect::<Vec<_>>().join(", ")
                    };
                    found.examples.push(format!(
                        "{}: {}; {}: {}",
                        row.place,
                        shown(&labels),
                        earlier.row.place,
                        shown(&earlier.labels)
                    ));
                }
            }
        }
    }
    found
}
