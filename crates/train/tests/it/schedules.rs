//! Learning rates against torch + transformers (`scripts/make_schedule_fixtures.py`).

use polytask_train::{Plateau, ReduceLrOnPlateau, Schedule, schedule};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    schedule: String,
    total: usize,
    keys: serde_json::Value,
    factors: Vec<f64>,
}

#[test]
fn factors_equal_transformers() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/schedules.json")).unwrap();
    assert_eq!(
        schedule::CATALOGUE.iter().filter(|(name, _)| cases.iter().all(|c| c.schedule != *name)).count(),
        0
    );
    for case in cases {
        let config = serde_json::json!({ &case.schedule: case.keys });
        let schedule: Schedule = serde_json::from_value(config).unwrap();
        for (step, expected) in case.factors.iter().enumerate() {
            let found = schedule.factor(step, case.total);
            assert!(
                (found - expected).abs() < 1e-12,
                "{} {} at step {step} of {}: {found}, expected {expected}",
                case.schedule,
                case.keys,
                case.total
            );
        }
    }
}

/// What holds of every schedule, at every scale.
#[test]
fn every_schedule_stays_between_nothing_and_all() {
    for (name, source) in schedule::CATALOGUE {
        assert!(source.starts_with("//! "), "{name} is documented");
        for warmup in [0.0, 0.1, 0.5, 1.0] {
            let config = serde_json::json!({ *name: { "warmup_ratio": warmup } });
            let schedule: Schedule = serde_json::from_value(config).unwrap();
            for total in [0, 1, 2, 7, 1000] {
                let factors: Vec<f64> = (0..total + 3).map(|step| schedule.factor(step, total)).collect();
                assert!(
                    factors.iter().all(|f| (0.0..=1.0).contains(f)),
                    "{name} {warmup} {total}: {factors:?}"
                );
            }
        }
    }
}

#[derive(Deserialize)]
struct Plateaus {
    plateau: ReduceLrOnPlateau,
    values: Vec<f64>,
    rates: Vec<f64>,
}

#[test]
fn rates_are_reduced_as_by_pytorch() {
    let cases: Vec<Plateaus> = serde_json::from_str(include_str!("../fixtures/plateaus.json")).unwrap();
    let mut reductions = 0;
    for case in cases {
        let mut plateau = Plateau::default();
        for (i, (value, expected)) in case.values.iter().zip(&case.rates).enumerate() {
            reductions += usize::from(plateau.update(&case.plateau, *value));
            let found = plateau.factor;
            assert!(
                (found - expected).abs() < 1e-7,
                "{:?}, value {i}: {found}, expected {expected}",
                case.plateau
            );
        }
    }
    assert!(reductions > 50, "{reductions}");
}

#[test]
fn a_table_without_keys_has_the_default_warmup() {
    let read = |text| serde_json::from_str::<Schedule>(text);
    assert_eq!(read(r#"{"linear": {}}"#).unwrap(), Schedule::default());
    assert_eq!(read(r#"{"cosine": {}}"#).unwrap().warmup_ratio(), 0.1);
    assert!(read(r#"{"linear": {"warm_up": 0.1}}"#).is_err());
}
