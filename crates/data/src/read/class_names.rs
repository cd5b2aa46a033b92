//! Names of classes that a field holds as numbers: from the config, or from the schema of a Parquet file.

use std::collections::BTreeMap;

use crate::{DataError, ErrorList, Row, Value};

/// Puts the names of classes in the place of their numbers: a number, a list of numbers, or lists of them. -1 is no label.
///
/// Errors: every row with something that is no number of a name; a field that no row has.
pub fn put(rows: &mut [Row], names: &BTreeMap<String, Vec<String>>) -> Result<(), Vec<DataError>> {
    let mut errors = ErrorList::new();
    for (field, names) in names {
        let mut found = rows.is_empty();
        for row in rows.iter_mut() {
            let Some((_, value)) = row.fields.iter_mut().find(|(name, _)| **name == **field) else {
                continue;
            };
            found = true;
            if let Err(shown) = put_in(value, names) {
                let expected = format!(
                    "a number from 0 to {} (names.{field} has {} names), or -1 for none",
                    names.len().saturating_sub(1),
                    names.len()
                );
                errors.push(row.error(field, shown, expected));
            }
        }
        if let (false, Some(row)) = (found, rows.first()) {
            let (key, found) = (format!("names.{field}"), format!("names for a field {field:?}"));
            let expected = format!("a field of the rows: {}", row.names());
            errors.push(DataError::Setting { key, found, expected });
        }
    }
    errors.finish(())
}

fn put_in(value: &mut Value, names: &[String]) -> Result<(), String> {
    let name = |number: &str| match number.trim().parse::<i64>() {
        Ok(-1) => Some(Value::Null),
        Ok(number) => names.get(usize::try_from(number).ok()?).map(|name| Value::Text(name.clone())),
        Err(_) => None,
    };
    match value {
        Value::Null => return Ok(()),
        Value::List(items) => return items.iter_mut().try_for_each(|item| put_in(item, names)),
        // CSV has numbers as text, CoNLL columns and lists in one cell, too.
        Value::Number(_) | Value::Text(_) => {
            let named = value.as_text().as_deref().and_then(name);
            *value = named.ok_or_else(|| value.preview())?;
        }
        _ => return Err(value.preview()),
    }
    Ok(())
}

/// The class names in the metadata that Hugging Face's `datasets` writes into a Parquet file, by column: features of type
/// `ClassLabel`, alone or in lists.
pub fn of_hugging_face(metadata: &str) -> BTreeMap<String, Vec<String>> {
    let Ok(metadata) = serde_json::from_str::<serde_json::Value>(metadata) else { return BTreeMap::new() };
    let features = metadata["info"]["features"].as_object().into_iter().flatten();
    features.filter_map(|(column, feature)| Some((column.clone(), names_of(feature)?))).collect()
}

/// The names of a feature, or of the feature that its lists hold.
fn names_of(feature: &serde_json::Value) -> Option<Vec<String>> {
    if let Some(list) = feature.as_array() {
        return names_of(list.first()?);
    }
    if feature["_type"] != "ClassLabel" {
        return feature.get("feature").and_then(names_of);
    }
    feature["names"].as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;
    use std::path::Path;

    #[test]
    fn numbers_become_names_and_others_are_refused() {
        let row = |value: Value| Row {
            place: Place { file: Path::new("a").into(), line: 1 },
            fields: vec![("y".into(), value)],
        };
        let number = Value::Number;
        let text = |name: &str| Value::Text(name.into());
        let names = BTreeMap::from([("y".to_owned(), vec!["no".to_owned(), "yes".to_owned()])]);
        let list = Value::List(vec![number(1.0), number(0.0), number(-1.0)]);
        let mut rows = [row(number(1.0)), row(list), row(text("0")), row(Value::Null)];
        put(&mut rows, &names).unwrap();
        let found: Vec<&Value> = rows.iter().map(|row| &row.fields[0].1).collect();
        let list = Value::List(vec![text("yes"), text("no"), Value::Null]);
        assert_eq!(found, [&text("yes"), &list, &text("no"), &Value::Null]);
        for bad in [number(2.0), number(0.5), text("yes"), Value::Bool(true)] {
            let error = put(&mut [row(bad)], &names).unwrap_err()[0].to_string();
            assert!(error.contains("a number from 0 to 1 (names.y has 2 names), or -1 for none"), "{error}");
        }
        let other = BTreeMap::from([("z".to_owned(), vec!["a".to_owned()])]);
        let error = put(&mut [row(number(0.0))], &other).unwrap_err()[0].to_string();
        assert_eq!(error, "names.z: found names for a field \"z\", expected a field of the rows: y");
    }

    #[test]
    fn names_stand_in_the_metadata_of_datasets() {
        let old = r#"{"info": {"features": {"tags": {"feature": {"names": ["O", "B-A"], "_type": "ClassLabel"},
            "_type": "Sequence"}, "text": {"dtype": "string", "_type": "Value"}, "y": {"names": ["n"], "_type": "ClassLabel"}}}}"#;
        let found = of_hugging_face(old);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["tags", "y"]);
        assert_eq!(found["tags"], ["O", "B-A"]);
        let list = r#"{"info": {"features": {"tags": [{"names": ["O"], "_type": "ClassLabel"}]}}}"#;
        assert_eq!(of_hugging_face(list)["tags"], ["O"]);
        assert!(of_hugging_face("{").is_empty());
    }
}
