//! What pruning takes from a model: how much its losses depend on each structure; and the smaller model that is left.

use crate::job::{bert, job};
use data::{InputField, Row, Split, View};
use model::pruning::{ColumnGates, Cut, gates, state_gates};
use polytask_train::{Job, Model, TaskImportance, evaluate, importance};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A job of one task with three labelled training rows, whose network is no longer what it began as: first values are small.
fn of_three_rows(backbone: serde_json::Value) -> (Job, Vec<Row>) {
    let mut job = job(backbone, 3);
    job.model.tasks.retain(|task| task.name == "topic");
    let rows: Vec<Row> = job.views.train[0].rows.iter().take(3).cloned().collect();
    let view = view(&job.model, rows.clone());
    job.model.tasks[0].head.encode_targets(Split::Train, &view).unwrap();
    job.views.train[0] = view;
    let parameters = &mut job.model.parameters;
    for index in 0..parameters.len() {
        if parameters.parameter(index).is_linear_weight() {
            let values = parameters.data(index).into_iter().map(|value| 6.0 * value).collect();
            parameters.set_data(index, values).unwrap();
        }
    }
    (job, rows)
}

fn view(model: &Model, rows: Vec<Row>) -> View {
    View::new("chat", InputField::Words("words".into()), rows.into(), &model.tokenizer, 32, None).unwrap()
}

/// The loss of a row by itself.
fn loss(model: &mut Model, row: &Row) -> f64 {
    let view = view(model, vec![row.clone()]);
    model.tasks[0].head.encode_targets(Split::Validation, &view).unwrap();
    let scores = evaluate(model, Split::Validation, &[view], 64, &AtomicBool::new(false)).unwrap();
    scores.tasks[0].loss.unwrap()
}

/// The mean size of the slope of the rows' losses when weights are changed by `change(parameter, weight, place, gate)`, of which gate 1 is none.
fn slope(
    job: &mut Job,
    rows: &[Row],
    parameters: &[usize],
    change: &dyn Fn(usize, f32, usize, f32) -> f32,
) -> f64 {
    let of_row = |job: &mut Job, row: &Row| {
        let [up, down] = [1.005, 0.995].map(|gate| {
            let before: BTreeMap<usize, Vec<f32>> =
                parameters.iter().map(|index| (*index, job.model.parameters.data(*index))).collect();
            for (index, values) in &before {
                let moved =
                    values.iter().enumerate().map(|(at, value)| change(*index, *value, at, gate)).collect();
                job.model.parameters.set_data(*index, moved).unwrap();
            }
            let loss = loss(&mut job.model, row);
            for (index, values) in before {
                job.model.parameters.set_data(index, values).unwrap();
            }
            loss
        });
        (up - down) / 0.01
    };
    rows.iter().map(|row| of_row(job, row).abs()).sum::<f64>() / rows.len() as f64
}

fn close(found: f64, expected: f64, what: &str) {
    println!("{what}: {found:.3e} {expected:.3e}");
    assert!((found - expected).abs() < 0.03 * expected + 1e-6, "{what}: {found} {expected}");
}

fn greatest(values: &[f64]) -> usize {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap()
}

/// The most important structure of some columns is as important as its gate's finite difference says.
fn compare(job: &mut Job, rows: &[Row], gates: ColumnGates, found: &[f64], what: &str) {
    assert_eq!(found.len(), gates.count, "{what}");
    let (at, columns) = (greatest(found), gates.count * gates.width);
    let change = |_, value: f32, place: usize, gate: f32| match place % columns / gates.width == at {
        true => gate * value,
        false => value,
    };
    close(found[at], slope(job, rows, &[gates.parameter], &change), what);
}

#[test]
fn importance_is_the_slope_of_gates() {
    let llama = json!({"llama": {"layers": 2, "hidden": 16, "heads": 4, "kv_heads": 2, "dropout": 0.1}});
    let modern = json!({"modernbert": {"layers": 2, "hidden": 16, "heads": 2, "dropout": 0.1}});
    for backbone in [bert(), llama, modern] {
        let name = backbone.to_string();
        let (mut job, rows) = of_three_rows(backbone);
        let was: Vec<bool> = job.model.parameters.iter().map(|parameter| parameter.trainable).collect();
        let never = AtomicBool::new(false);
        let found = importance(&mut job, (Split::Train, 100), 17, &never).unwrap().unwrap();
        assert_eq!(was, job.model.parameters.iter().map(|p| p.trainable).collect::<Vec<_>>());
        let [TaskImportance { rows: 3, layers, ffn, heads, hidden, .. }] = &found[..] else {
            panic!("{found:?}")
        };
        let writers = state_gates(&job.model.trunk);
        assert_eq!(hidden.len(), if name.contains("modernbert") { 0 } else { 16 }, "{name}");
        if !hidden.is_empty() {
            let at = greatest(hidden);
            let sizes: BTreeMap<usize, usize> = writers
                .iter()
                .map(|w| (w.parameter, job.model.parameters.shape(w.parameter).get(1).copied().unwrap_or(1)))
                .collect();
            let change = |index: usize, value: f32, place: usize, gate: f32| {
                let by_column = writers.iter().any(|w| w.parameter == index && w.by_column);
                let dimension = if by_column { place % 16 } else { place / sizes[&index] };
                if dimension == at { gate * value } else { value }
            };
            let parameters: Vec<usize> = sizes.keys().copied().collect();
            let expected = slope(&mut job, &rows, &parameters, &change);
            close(hidden[at], expected, &format!("{name} hidden"));
        }
        for (layer, gates) in gates(&job.model.trunk).into_iter().enumerate() {
            let what = |part: &str| format!("{name} layer {layer} {part}");
            compare(&mut job, &rows, gates.ffn.unwrap(), &ffn[layer], &what("ffn"));
            if let Some(gates) = gates.heads {
                compare(&mut job, &rows, gates, &heads[layer], &what("heads"));
            }
            let parameters: Vec<usize> = gates.layer.iter().map(|(parameter, _)| *parameter).collect();
            let expected = slope(&mut job, &rows, &parameters, &|_, value, _, gate| gate * value);
            close(layers[layer], expected, &what("layer"));
        }
    }
}

#[test]
fn rows_are_drawn_by_the_seed_and_a_stop_is_heard() {
    let (mut job, _) = of_three_rows(bert());
    let never = AtomicBool::new(false);
    let mut of = |rows, seed| importance(&mut job, (Split::Train, rows), seed, &never).unwrap().unwrap();
    assert_eq!(of(1, 17), of(1, 17));
    assert!((18..30).any(|seed| of(1, seed) != of(1, 17)));
    assert!(
        importance(&mut job, (Split::Train, 3), 17, &AtomicBool::new(true)).unwrap().is_none(),
        "stopped before the first row"
    );
}

/// What adds nothing has no importance, and the model without it answers as before, with its heads and scores, also once it was saved.
#[test]
fn what_has_no_importance_is_cut_without_a_change() {
    let mut job = job(bert(), 3);
    let never = AtomicBool::new(false);
    for gates in gates(&job.model.trunk) {
        let ffn = gates.ffn.unwrap();
        let parameters = &mut job.model.parameters;
        let mut values = parameters.data(ffn.parameter);
        values
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| at % ffn.count % 3 == 0)
            .for_each(|(_, value)| *value = 0.0);
        parameters.set_data(ffn.parameter, values).unwrap();
    }
    let found = importance(&mut job, (Split::Train, 20), 17, &never).unwrap().unwrap();
    assert_eq!(found.len(), 3);
    let ffn: Vec<Vec<usize>> = (0..2)
        .map(|layer| {
            let is_used = |column: &usize| found.iter().any(|task| task.ffn[layer][*column] > 0.0);
            (0..found[0].ffn[layer].len()).filter(is_used).collect()
        })
        .collect();
    assert!(ffn.iter().all(|kept| kept.len() > 40 && kept.len() < 64), "{ffn:?}");
    let width = ffn[0].len();
    assert_eq!(width, ffn[1].len());
    let keep = Cut { ffn: Some(ffn), ..Cut::default() };
    let small = job.model.cut(&keep, Path::new("nowhere"), job.model.device()).unwrap();
    let scores = |model: &Model| {
        let found = evaluate(model, Split::Validation, &job.views.validation, 64, &never).unwrap();
        found.tasks.iter().map(|task| task.loss.unwrap()).collect::<Vec<f64>>()
    };
    let before = scores(&job.model);
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    small.save(&model, 0, Default::default()).unwrap();
    let (opened, ..) = Model::open(&model, job.model.device()).unwrap();
    for mut small in [small, opened] {
        assert_eq!(small.sizes().1, job.model.sizes().1, "heads");
        assert!(small.sizes().0 < job.model.sizes().0);
        for (slot, own) in small.tasks.iter_mut().zip(&job.model.tasks) {
            slot.view = own.view;
            slot.head.encode_targets(Split::Validation, &job.views.validation[own.view]).unwrap();
        }
        let after = scores(&small);
        assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-5), "{before:?} {after:?}");
    }
}
