//! Label spaces of tasks that share a head.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The label spaces of tasks that share a head, from the label space of each task ([`crate::Kind::fit_labels`]): the union of the
/// labels, with the sum of their counts. Spaces of numbers are not changed, so that each task keeps its own scale. `None` if the
/// spaces are of different types.
pub fn joint_label_spaces(spaces: &[Value]) -> Option<Vec<Value>> {
    let is_scale = |space: &Value| space.get("deviation").is_some() && space.get("mean").is_some();
    if spaces.iter().all(is_scale) {
        return Some(spaces.to_vec());
    }
    let without_own: Vec<Value> = spaces.iter().map(without_own).collect();
    let joint = joined(&without_own.iter().collect::<Vec<_>>())?;
    let with_own = |space: &Value| {
        let mut joint = joint.clone();
        for key in OWN {
            if let (Some(joint), Some(value)) = (joint.as_object_mut(), space.get(key)) {
                joint.insert(key.into(), value.clone());
            }
        }
        joint
    };
    Some(spaces.iter().map(with_own).collect())
}

/// What each task keeps to itself: how the labels of its own corpus are written.
const OWN: [&str; 2] = ["scheme", "label_is"];

fn without_own(space: &Value) -> Value {
    let mut space = space.clone();
    if let Some(fields) = space.as_object_mut() {
        OWN.iter().for_each(|key| drop(fields.shift_remove(*key)));
    }
    space
}

/// One space out of several.
fn joined(spaces: &[&Value]) -> Option<Value> {
    let first = *spaces.first()?;
    if spaces.iter().all(|space| *space == first) && first.get("counts").is_none() {
        return Some(first.clone());
    }
    let objects: Vec<&Map<String, Value>> =
        spaces.iter().map(|space| space.as_object()).collect::<Option<_>>()?;
    if objects.iter().any(|object| !object.keys().eq(objects[0].keys())) {
        return None;
    }
    let mut all = Map::new();
    if first.get("labels").is_some() && first.get("counts").is_some() {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for object in &objects {
            let (labels, counted) = (object["labels"].as_array()?, object["counts"].as_array()?);
            for (label, count) in labels.iter().zip(counted) {
                *counts.entry(label.as_str()?.to_owned()).or_default() += count.as_u64()?;
            }
        }
        let (mut labels, mut counts): (Vec<String>, Vec<u64>) = counts.into_iter().unzip();
        // Labels that all have in one order keep it: it may be that of a scale.
        if objects.iter().all(|object| object["labels"] == first["labels"]) {
            let order =
                first["labels"].as_array()?.iter().map(Value::as_str).collect::<Option<Vec<&str>>>()?;
            let index = |label: &&str| labels.iter().position(|other| other == label);
            counts = order.iter().map(|label| Some(counts[index(label)?])).collect::<Option<_>>()?;
            labels = order.into_iter().map(str::to_owned).collect();
        }
        all.insert("labels".into(), json!(labels));
        all.insert("counts".into(), json!(counts));
    }
    for key in objects[0].keys() {
        if !all.contains_key(key) {
            let parts: Vec<&Value> = objects.iter().map(|object| &object[key]).collect();
            let sum = || parts.iter().map(|part| part.as_u64()).sum::<Option<u64>>();
            let value = if key == "rows" { json!(sum()?) } else { joined(&parts)? };
            all.insert(key.clone(), value);
        }
    }
    Some(Value::Object(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_all_and_scales_stay() {
        let a = json!({ "labels": ["no", "yes"], "counts": [1, 2] });
        let b = json!({ "labels": ["maybe", "yes"], "counts": [3, 4] });
        let both = json!({ "labels": ["maybe", "no", "yes"], "counts": [3, 1, 6] });
        assert_eq!(joint_label_spaces(&[a.clone(), b]).unwrap(), [both.clone(), both]);
        let twice = json!({ "labels": ["no", "yes"], "counts": [2, 4] });
        assert_eq!(joint_label_spaces(&[a.clone(), a.clone()]).unwrap()[0], twice);
        let scale = |factor| json!({ "labels": ["low", "high"], "counts": [factor, 2 * factor] });
        assert_eq!(joint_label_spaces(&[scale(1), scale(2)]).unwrap()[1], scale(3));
        let scales = [json!({ "mean": 1.0, "deviation": 2.0 }), json!({ "mean": 0.0, "deviation": 1.0 })];
        assert_eq!(joint_label_spaces(&scales).unwrap(), scales);
        let several =
            |label: &str| json!({ "labels": [label], "counts": [1], "rows": 5, "thresholds": null });
        let both = json!({ "labels": ["x", "y"], "counts": [1, 1], "rows": 10, "thresholds": null });
        assert_eq!(joint_label_spaces(&[several("x"), several("y")]).unwrap()[1], both);
        let empty = json!({});
        assert_eq!(joint_label_spaces(&[empty.clone(), empty.clone()]).unwrap(), [empty.clone(), empty]);
        assert_eq!(joint_label_spaces(&[a, several("x")]), None);
        assert_eq!(joint_label_spaces(&[json!({ "order": ["a"] }), json!({ "order": ["b"] })]), None);
    }
}
