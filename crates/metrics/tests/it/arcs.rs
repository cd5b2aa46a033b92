//! Attachment scores against those of CoNLL 2018's script (`scripts/make_parsing_fixtures.py`).

use polytask_metrics::{Arc, clas, las, uas};
use serde_json::Value;

#[test]
fn equal_conll_2018s_script() {
    let cases: Value =
        serde_json::from_str(include_str!("../fixtures/arcs.json")).expect("the fixture is JSON");
    let cases = cases.as_array().expect("a list of cases");
    assert!(cases.len() >= 25);
    for (i, case) in cases.iter().enumerate() {
        let arcs = |side: &str| -> Vec<Arc<'_>> {
            let rows = case[side].as_array().expect("rows").iter();
            let arcs = rows.flat_map(|row| row.as_array().expect("arcs"));
            arcs.map(|arc| Arc {
                head: arc[0].as_u64().expect("a head") as u32,
                relation: arc[1].as_str().expect("a relation"),
            })
            .collect()
        };
        let gold = arcs("gold");
        let predicted: Vec<Option<Arc<'_>>> = arcs("predicted").into_iter().map(Some).collect();
        for (name, ours) in [
            ("uas", uas(&gold, &predicted)),
            ("las", las(&gold, &predicted)),
            ("clas", clas(&gold, &predicted)),
        ] {
            let theirs = case[name].as_f64().expect("a number");
            assert!((ours - theirs).abs() <= 1e-12, "case {i}, {name}: {ours}, the script says {theirs}");
        }
    }
}

#[test]
fn words_without_a_prediction_are_wrong() {
    let arc = |head, relation| Arc { head, relation };
    let gold = [arc(2, "nsubj"), arc(0, "root"), arc(2, "punct")];
    let predicted = [Some(arc(2, "obj")), None, Some(arc(2, "punct"))];
    assert_eq!((uas(&gold, &predicted), las(&gold, &predicted)), (2.0 / 3.0, 1.0 / 3.0));
    assert_eq!(clas(&gold, &predicted), 0.0);
    // Two content words, one predicted, right.
    assert_eq!(clas(&gold, &[Some(gold[0]), None, None]), 2.0 / 3.0);
    assert_eq!((uas(&[], &[]), las(&[], &[]), clas(&[], &[])), (0.0, 0.0, 0.0));
}
