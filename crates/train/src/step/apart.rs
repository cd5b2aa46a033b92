//! A step of a method that looks at the gradients of the tasks: each task's rows by themselves, a gradient for every task, of
//! which the balancer sees the inner products, and whatever else it needs.
//!
//! Without a cut ([`Scope::AllShared`]) every task's rows run through the whole trunk by themselves; rows that several tasks share
//! run once for each of them. With one, all rows run together up to the cut, then each task's from there, and the weighted
//! gradient at the cut goes back through the lower part once.

use super::cut::{Cut, above, backward_below, cut, leaf};
use super::pieces::{Piece, noise_of, pieces, places, rows_of_one, share, some_rows};
use super::{
    Fault, Gathered, Losses, Measures, Movers, Packs, bad_losses, bad_task, forward, in_room, rows_of_all,
};
use crate::{
    buffers::Buffers,
    events::{BadTask, Cosine, TaskGradients},
    gradients::Gradients,
    jacobian::{Jacobian, products},
    job::Model,
    scope::Scope,
};
use balance::{Balancer, Gramian, Halves, Needs, Step};
use burn::tensor::Tensor;
use data::Split;
use tasks::BatchRow;

/// The gradient of a step by the balancer's weights.
pub(crate) fn apart(
    step: Packs<'_>,
    below: Vec<Option<Tensor<2>>>,
    movers: &mut Movers<'_>,
) -> Result<Gathered, Fault> {
    let (model, scope) = (step.model, movers.settings.train.gradient_scope);
    let needs = movers.balancer.needs();
    let (pieces, sides) = pieces(&step, below, needs == Needs::TwoHalves);
    let gathered = in_room(movers.room, || gather(&step, &pieces, sides, scope))?;
    let Parts { mut jacobian, measures, cuts } = gathered;
    let losses = measures.means(model);

    let raw = products(&jacobian.rows());
    let gramian = gramian(&step, &sum_of_sides(&raw, sides))?;
    let halves = (needs == Needs::TwoHalves).then(|| between_halves(&step, &pieces, &raw));
    let seen = pass(&step, &mut jacobian, movers.balancer, movers.buffers, &losses)?;
    let lookahead = match (needs, movers.validation) {
        (Needs::Lookahead, Some(validation)) => {
            let trial = jacobian.trial(&movers.balancer.trial(&losses));
            let rate = movers.rates.trunk * movers.factor;
            let averaged = movers.settings.optimizer.averaged(&model.parameters, movers.moments);
            let from = averaged.as_ref().unwrap_or(&model.parameters);
            Some(lookahead(&jacobian, validation.gradient(&step, from, &trial, rate)?))
        }
        _ => None,
    };
    let weights = movers.balancer.weigh(&Step {
        losses: &losses,
        gramian: Some(seen.as_ref().unwrap_or(&gramian)),
        halves: halves.as_ref(),
        lookahead: lookahead.as_deref(),
    });

    let mut measures = measures;
    measures.weights(model, &losses, &weights);
    let mut measured = measures.finish();
    measured.task_gradients = Some(task_gradients(model, &losses, &gramian));
    let direction = jacobian.direction(&weights.repeat(sides));
    let mut gradients = direction.parameters;
    backward_below(&step, &pieces, cuts, direction.states, scope, &mut gradients);
    Ok(Gathered { gradients, measured })
}

/// What the pieces of a step gave.
struct Parts<'m> {
    jacobian: Jacobian,
    measures: Measures,
    /// Of each piece what was run below the cut, where there is one.
    cuts: Vec<Option<Cut<'m>>>,
}

/// Runs every task's rows of every piece. Row `half K + task` of the Jacobian is a task's gradient over one half of the rows.
fn gather<'m>(
    step: &Packs<'m>,
    pieces: &[Piece],
    sides: usize,
    scope: Scope,
) -> Result<Parts<'m>, Vec<BadTask>> {
    let model = step.model;
    let tasks = model.tasks.len();
    let mut jacobian = Jacobian::none(scope, sides * tasks, pieces.len(), &model.parameters);
    let (mut measures, mut cuts) = (Measures::default(), Vec::new());
    for (index, piece) in pieces.iter().enumerate() {
        let rows = rows_of_all(model, &piece.pack, Split::Train);
        let cut = (scope != Scope::AllShared).then(|| cut(step, piece, &rows, scope));
        let leaf = cut.as_ref().map(|(cut, _)| leaf(&cut.states));
        for (task, rows_of_task) in rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let losses = match (&cut, &leaf) {
                (Some((cut, pack)), Some(leaf)) => {
                    above(step, piece, task, rows_of_task, (cut, pack, leaf), scope)
                }
                _ => alone(step, piece, task, rows_of_task),
            };
            let faults = bad_losses(model, step.views, &piece.pack, Split::Train, &losses.values);
            if !faults.is_empty() {
                return Err(faults);
            }
            let share = share(step, piece, task);
            measures.losses(model, &losses, share);
            let scale = share / step.packs.len() as f64;
            if let Some((gradients, states)) = losses.gradients(&only(task, tasks), scale, leaf.as_ref()) {
                jacobian.add(piece.half * tasks + task, gradients, &model.parameters);
                jacobian.add_states(piece.half * tasks + task, index, states);
            }
        }
        // The graph below the cut is kept for its backward pass only where there is one: more would take the memory that
        // accumulation is to save.
        cuts.push(cut.map(|(cut, _)| cut).filter(|cut| pieces.len() == 1 || cut.parts.is_some()));
    }
    Ok(Parts { jacobian, measures, cuts })
}

/// Weight 1 for one of the tasks.
fn only(task: usize, tasks: usize) -> Vec<f64> {
    (0..tasks).map(|other| if other == task { 1.0 } else { 0.0 }).collect()
}

/// The rows of one task through the whole trunk.
fn alone<'m>(step: &Packs<'m>, piece: &Piece, task: usize, rows: &[BatchRow]) -> Losses<'m> {
    let model = step.model;
    let (part, below) = some_rows(&piece.pack, piece.below.as_ref(), &places(rows));
    let rows = rows_of_one(model, &part, task);
    let noise = noise_of(step, piece, format!(" for {}", model.tasks[task].name));
    let learning = Some(step.learning(&noise));
    forward(model, &model.parameters, (&part, below), &rows, Split::Train, learning)
}

/// The Gramian out of inner products, if all of them are numbers.
fn gramian(step: &Packs<'_>, products: &[f64]) -> Result<Gramian, Vec<BadTask>> {
    let tasks = step.model.tasks.len();
    let finite = |i: &usize| products[i * tasks..][..tasks].iter().all(|x| x.is_finite());
    let broken: Vec<usize> = (0..tasks).filter(|i| !finite(i)).collect();
    let gramian = Gramian::new(tasks, products.to_vec());
    gramian.ok().filter(|_| broken.is_empty()).ok_or_else(|| {
        let named = if broken.is_empty() { (0..tasks).collect() } else { broken };
        let fault =
            |i| bad_task(step.model, step.views, step.packs, Split::Train, i, "gradient not finite".into());
        named.into_iter().map(fault).filter(|fault| fault.of > 0).collect()
    })
}

/// The products of the sums over the sides, K x K, from those of all rows.
fn sum_of_sides(products: &[f64], sides: usize) -> Vec<f64> {
    let rows = (products.len() as f64).sqrt().round() as usize;
    let tasks = rows / sides.max(1);
    let mut sum = vec![0.0; tasks * tasks];
    for (at, product) in products.iter().enumerate() {
        sum[(at / rows % tasks) * tasks + at % rows % tasks] += product;
    }
    sum
}

/// The products between the first half's gradients and the second's, each as long as if its half were all there is.
fn between_halves(step: &Packs<'_>, pieces: &[Piece], products: &[f64]) -> Halves {
    let tasks = step.model.tasks.len();
    let share = |half: usize, task: usize| {
        let of: f64 = pieces.iter().filter(|p| p.half == half).map(|piece| share(step, piece, task)).sum();
        of / step.packs.len() as f64
    };
    let entry = |at: usize| {
        let (i, j) = (at / tasks, at % tasks);
        let shares = share(0, i) * share(1, j);
        if shares > 0.0 { products[i * 2 * tasks + tasks + j] / shares } else { 0.0 }
    };
    let values = (0..tasks * tasks).map(entry).collect();
    Halves::new(tasks, values).expect("one entry a pair of tasks")
}

/// Lets the balancer see and change the gradients, where it wants to; then the Gramian of what it left.
fn pass(
    step: &Packs<'_>,
    jacobian: &mut Jacobian,
    balancer: &mut dyn Balancer,
    buffers: &mut Buffers,
    losses: &[Option<f64>],
) -> Result<Option<Gramian>, Vec<BadTask>> {
    let needs = balancer.needs();
    let Some(rows) = balancer.rows() else { return Ok(None) };
    jacobian.pass(rows, losses, buffers, &step.model.parameters);
    if needs != Needs::Gramian {
        return Ok(None);
    }
    gramian(step, &products(&jacobian.rows())).map(Some)
}

/// The products of the rows of J with one gradient more.
fn lookahead(jacobian: &Jacobian, gradient: Gradients) -> Vec<f64> {
    let mut rows = jacobian.rows();
    rows.push(Some(&gradient));
    let products = products(&rows);
    products[products.len() - rows.len()..][..rows.len() - 1].to_vec()
}

/// Norms and cosines of the tasks that took part.
fn task_gradients(model: &Model, losses: &[Option<f64>], gramian: &Gramian) -> TaskGradients {
    let present: Vec<usize> = (0..losses.len()).filter(|i| losses[*i].is_some()).collect();
    let name = |i: usize| model.tasks[i].name.clone();
    let norms = gramian.norms();
    let pairs =
        present.iter().enumerate().flat_map(|(at, i)| present[at + 1..].iter().map(move |j| (*i, *j)));
    let cosine = |(i, j)| Some(Cosine { tasks: (name(i), name(j)), cosine: gramian.cosine(i, j)? });
    TaskGradients {
        norms: present.iter().map(|i| (name(*i), norms[*i])).collect(),
        // Absent tasks have zeros in it, and so no pairs.
        conflicts: gramian.conflicts(),
        cosines: pairs.filter_map(cosine).collect(),
    }
}
