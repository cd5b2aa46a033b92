//! A look at a label space when it is built: labels that are probably not meant.

use std::collections::BTreeMap;

use data::survey::label_key;
use serde_json::Value;

/// How many labels a remark names.
const NAMED: usize = 5;
/// Different numbers from here on are probably no classes.
const MANY_NUMBERS: usize = 100;
/// What programs write for a missing value.
const MISSING: [&str; 8] = ["nan", "null", "none", "n/a", "na", "<na>", "nil", "undefined"];

/// A list of labels with their counts.
type Counted<'a> = [(&'a str, u64)];

/// What may be the matter with a list of labels; `fields` are the fields that they come from.
type Test = fn(&Counted<'_>, &[String]) -> Option<String>;

const TESTS: [Test; 5] = [twins, missing_values, lists, header, numbers];

/// Remarks on a label space, as sentences that begin in small letters; `fields` are the fields that its labels come from.
pub fn label_remarks(space: &Value, fields: &[String]) -> Vec<String> {
    let mut lists = Vec::new();
    find_lists(space, &mut lists);
    lists.iter().flat_map(|list| TESTS.iter().filter_map(|test| test(list, fields))).collect()
}

/// The lists of labels of a space, also those in its parts.
fn find_lists<'a>(space: &'a Value, lists: &mut Vec<Vec<(&'a str, u64)>>) {
    if let (Some(labels), Some(counts)) = (space["labels"].as_array(), space["counts"].as_array()) {
        let both = labels.iter().zip(counts);
        lists.push(both.filter_map(|(label, count)| Some((label.as_str()?, count.as_u64()?))).collect());
    } else if let Some(parts) = space.as_object() {
        parts.values().for_each(|part| find_lists(part, lists));
    }
}

fn named<'a>(labels: impl Iterator<Item = &'a (&'a str, u64)> + Clone) -> String {
    let shown: Vec<String> =
        labels.clone().take(NAMED).map(|(label, count)| format!("{label:?} {count}")).collect();
    let more = labels.count().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// Labels that differ in case, spaces, invisible characters or the form of a number alone.
fn twins(labels: &Counted<'_>, _: &[String]) -> Option<String> {
    let mut groups: BTreeMap<String, Vec<(&str, u64)>> = BTreeMap::new();
    labels.iter().for_each(|label| groups.entry(label_key(label.0)).or_default().push(*label));
    let twins: Vec<String> =
        groups.values().filter(|group| group.len() > 1).map(|group| named(group.iter())).collect();
    let shown = twins.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    (!twins.is_empty()).then(|| {
        format!("labels that look alike (case, spaces, invisible characters, or 1 and 1.0) are classes of their own: {shown}")
    })
}

fn missing_values(labels: &Counted<'_>, _: &[String]) -> Option<String> {
    let found: Vec<_> =
        labels.iter().filter(|(label, _)| MISSING.contains(&label_key(label).as_str())).collect();
    (!found.is_empty()).then(|| {
        format!(
            "a class with the name of a missing value: {}; where no label is meant, leave the field empty",
            named(found.into_iter())
        )
    })
}

/// Lists and vectors that are written as text.
fn lists(labels: &Counted<'_>, _: &[String]) -> Option<String> {
    let brackets = [('[', ']'), ('(', ')'), ('{', '}')];
    let is_list = |label: &str| {
        brackets.iter().any(|(open, close)| label.starts_with(*open) && label.ends_with(*close))
    };
    let found: Vec<_> = labels.iter().filter(|(label, _)| is_list(label.trim())).collect();
    (!found.is_empty()).then(|| {
        format!("labels that are lists written as text: {}; several labels a row are a multi_label task with a list or a `separator`", named(found.into_iter()))
    })
}

/// A header that was read as a row.
fn header(labels: &Counted<'_>, fields: &[String]) -> Option<String> {
    let found = labels.iter().find(|(label, _)| fields.iter().any(|field| field == label))?;
    Some(format!(
        "a label with the name of its own field: {}; a header read as a row? (header = true)",
        named([*found].iter())
    ))
}

/// Numbers with many values.
fn numbers(labels: &Counted<'_>, _: &[String]) -> Option<String> {
    let all = labels.iter().all(|(label, _)| label.trim().parse::<f64>().is_ok());
    (all && labels.len() >= MANY_NUMBERS)
        .then(|| format!("{} different numbers as classes; scores are a regression task", labels.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn remarks(labels: &[(&str, u64)]) -> Vec<String> {
        let (names, counts): (Vec<&str>, Vec<u64>) = labels.iter().copied().unzip();
        label_remarks(&json!({ "part": { "labels": names, "counts": counts } }), &["label".to_owned()])
    }

    #[test]
    fn labels_that_are_probably_not_meant_are_named() {
        for (labels, says) in [
            (
                vec![("Neg", 3), ("neg ", 2), ("pos", 9)],
                "look alike (case, spaces, invisible characters, or 1 and 1.0) are classes of their own: \"Neg\" 3, \"neg \" 2",
            ),
            (vec![("NaN", 8), ("a", 9)], "a class with the name of a missing value: \"NaN\" 8"),
            (vec![("[0, 1]", 2), ("[1, 0]", 3)], "lists written as text: \"[0, 1]\" 2, \"[1, 0]\" 3"),
            (vec![("label", 2), ("pos", 3)], "the name of its own field: \"label\" 2"),
        ] {
            let found = remarks(&labels);
            assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
        }
        let numbers: Vec<String> = (0..100).map(|number| format!("{}.5", number)).collect();
        let numbers: Vec<(&str, u64)> = numbers.iter().map(|number| (number.as_str(), 2)).collect();
        assert_eq!(remarks(&numbers), ["100 different numbers as classes; scores are a regression task"]);
        assert!(remarks(&[("neg", 3), ("pos", 2)]).is_empty());
    }
}
