//! What merging takes from a model: how much its losses depend on each weight.

use crate::job::{bag, job};
use data::{InputField, Row, Split, View};
use model::Role;
use polytask_train::{Job, evaluate, squared_gradients};
use std::sync::atomic::AtomicBool;

/// A job of one task with three labelled training rows.
fn of_three_rows() -> (Job, Vec<Row>) {
    let mut job = job(bag(), 3);
    job.model.tasks.retain(|task| task.name == "topic");
    let rows: Vec<Row> = job.views.train[0].rows.iter().take(3).cloned().collect();
    let view = view(&job, rows.clone());
    job.model.tasks[0].head.encode_targets(Split::Train, &view).unwrap();
    job.views.train[0] = view;
    (job, rows)
}

fn view(job: &Job, rows: Vec<Row>) -> View {
    View::new("chat", InputField::Words("words".into()), rows.into(), &job.model.tokenizer, 32, None).unwrap()
}

/// The loss of a row by itself, when a number of a parameter is moved.
fn loss(job: &mut Job, row: &Row, (index, at): (usize, usize), by: f32) -> f64 {
    let view = view(job, vec![row.clone()]);
    let model = &mut job.model;
    model.tasks[0].head.encode_targets(Split::Validation, &view).unwrap();
    let values = model.parameters.data(index);
    let mut moved = values.clone();
    moved[at] += by;
    model.parameters.set_data(index, moved).unwrap();
    let scores = evaluate(model, Split::Validation, &[view], 64, &AtomicBool::new(false)).unwrap();
    model.parameters.set_data(index, values).unwrap();
    scores.tasks[0].loss.unwrap()
}

#[test]
fn squared_gradients_are_those_of_finite_differences() {
    let (mut job, rows) = of_three_rows();
    let never = AtomicBool::new(false);
    let found = squared_gradients(&job, 100, 17, &never).unwrap().unwrap();
    let mut compared = 0;
    for index in 0..job.model.parameters.len() {
        let parameter = job.model.parameters.parameter(index).clone();
        let Some(squares) = found.get(&parameter.name).filter(|_| parameter.role != Role::Head) else {
            continue;
        };
        assert_eq!(squares.len(), parameter.size(), "{}", parameter.name);
        let at = (0..squares.len()).max_by(|a, b| squares[*a].total_cmp(&squares[*b])).unwrap();
        let slope = |job: &mut Job, row: &Row| {
            let [up, down] = [1e-2, -1e-2].map(|by| loss(job, row, (index, at), by));
            (up - down) / 2e-2
        };
        let mean = rows.iter().map(|row| slope(&mut job, row).powi(2)).sum::<f64>() / 3.0;
        let square = f64::from(squares[at]);
        assert!((square - mean).abs() < 0.03 * mean + 1e-8, "{} {at}: {square} {mean}", parameter.name);
        compared += 1;
    }
    assert!(compared >= 3, "{compared} parameters");
}

#[test]
fn which_rows_are_drawn_depends_on_the_seed_alone() {
    let (job, _) = of_three_rows();
    let never = AtomicBool::new(false);
    let of = |rows, seed| squared_gradients(&job, rows, seed, &never).unwrap().unwrap();
    assert_eq!(of(1, 17), of(1, 17));
    assert!((18..30).any(|seed| of(1, seed) != of(1, 17)));
    // All rows, in another order: the same sum but for rounding.
    let [one, other] = [of(3, 1), of(3, 2)];
    for (name, values) in one {
        assert!(values.iter().zip(&other[&name]).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs()), "{name}");
    }
    assert!(squared_gradients(&job, 3, 17, &AtomicBool::new(true)).unwrap().is_none());
}
