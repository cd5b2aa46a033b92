//! A step of a method that looks at the gradients of the tasks: each task's rows by themselves, a gradient for every task, of
//! which the balancer sees the inner products, and whatever else it needs.
//!
//! Without a cut ([`Scope::AllShared`]) every task's rows run through the whole trunk by themselves; rows that several tasks share
//! run once for each of them. With one, all rows run together up to the cut, then each task's from there, and the weighted
//! gradient at the cut goes back through the lower part once.

use crate::{
    buffers::Buffers,
    evaluate::rows_labelled,
    events::{BadTask, Cosine, TaskGradients},
    gradients::Gradients,
    jacobian::{Jacobian, products},
    job::Model,
    measures::Measures,
    scope::Scope,
    step::{Gathered, Losses, Movers, Packs, bad_losses, bad_task, forward, noise, rows_of_all},
    trunk::{self, Pass},
};
use balance::{Balancer, Gramian, Halves, Needs, Step};
use burn::tensor::Tensor;
use data::{Pack, RowRef, Split};
use model::Parameters;
use std::borrow::Cow;
use tasks::BatchRow;

/// Some rows of one of the step's packs.
struct Piece {
    /// Which of the step's packs.
    micro: usize,
    /// Which half of its rows: 0 where these are all.
    half: usize,
    pack: Pack,
    /// The states below the trained part of the backbone, where they are known.
    below: Option<Tensor<2>>,
}

/// The gradient of a step by the balancer's weights.
pub(crate) fn apart(
    step: Packs<'_>,
    below: Vec<Option<Tensor<2>>>,
    movers: &mut Movers<'_>,
) -> Result<Gathered, Vec<BadTask>> {
    let (model, scope) = (step.model, movers.settings.train.gradient_scope);
    let needs = movers.balancer.needs();
    let (pieces, sides) = pieces(&step, below, needs == Needs::TwoHalves);
    let Parts { mut jacobian, measures, cuts } = gather(&step, &pieces, sides, scope)?;
    let losses = measures.means(model);

    let raw = products(&jacobian.rows());
    let gramian = gramian(&step, &sum_of_sides(&raw, sides))?;
    let halves = (needs == Needs::TwoHalves).then(|| between_halves(&step, &pieces, &raw));
    let seen = pass(&step, &mut jacobian, movers.balancer, movers.buffers, &losses)?;
    let lookahead = match (needs, movers.validation) {
        (Needs::Lookahead, Some(validation)) => {
            let trial = jacobian.trial(&movers.balancer.trial(&losses));
            let rate = movers.rates.trunk * movers.factor;
            Some(lookahead(&jacobian, validation.gradient(&step, &trial, rate)?))
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

/// The packs of the step, or the two halves of each, and how many there are of each.
fn pieces(step: &Packs<'_>, below: Vec<Option<Tensor<2>>>, halve: bool) -> (Vec<Piece>, usize) {
    let mut pieces = Vec::new();
    for (micro, (pack, below)) in step.packs.iter().zip(below).enumerate() {
        if !halve {
            pieces.push(Piece { micro, half: 0, pack: pack.clone(), below });
            continue;
        }
        for half in 0..2 {
            let (pack, below) = some_rows(step, pack, below.as_ref(), &rows_of_half(pack, half));
            pieces.push(Piece { micro, half, pack, below });
        }
    }
    (pieces, if halve { 2 } else { 1 })
}

/// Every other row of each view.
fn rows_of_half(pack: &Pack, half: usize) -> Vec<usize> {
    let mut seen: Vec<usize> = Vec::new();
    let mut place = |view: usize| {
        seen.resize(seen.len().max(view + 1), 0);
        seen[view] += 1;
        seen[view] - 1
    };
    (0..pack.len()).filter(|row| place(pack.rows[*row].view as usize) % 2 == half).collect()
}

/// Some rows of a pack, and the states below them.
fn some_rows(
    step: &Packs<'_>,
    pack: &Pack,
    below: Option<&Tensor<2>>,
    rows: &[usize],
) -> (Pack, Option<Tensor<2>>) {
    let refs: Vec<RowRef> = rows.iter().map(|row| pack.rows[*row]).collect();
    let below = below.map(|below| {
        let tokens = rows.iter().flat_map(|row| pack.offsets[*row] as u32..pack.offsets[row + 1] as u32);
        kernels::pick(below.clone(), &tokens.collect::<Vec<u32>>())
    });
    (Pack::of(&step.views.train, &refs), below)
}

/// What the pieces of a step gave.
struct Parts {
    jacobian: Jacobian,
    measures: Measures,
    /// Of each piece what was run below the cut, where there is one.
    cuts: Vec<Option<Cut>>,
}

/// A pass up to the cut.
struct Cut {
    /// What it was made of.
    parameters: Parameters,
    /// `[tokens, hidden]`, at the end of its graph.
    states: Tensor<2>,
}

/// Runs every task's rows of every piece. Row `half K + task` of the Jacobian is a task's gradient over one half of the rows.
fn gather(step: &Packs<'_>, pieces: &[Piece], sides: usize, scope: Scope) -> Result<Parts, Vec<BadTask>> {
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
            let faults = bad_losses(model, step.views, &piece.pack, &losses.values);
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
        cuts.push(cut.filter(|_| pieces.len() == 1).map(|(cut, _)| cut));
    }
    Ok(Parts { jacobian, measures, cuts })
}

/// Weight 1 for one of the tasks.
fn only(task: usize, tasks: usize) -> Vec<f64> {
    (0..tasks).map(|other| if other == task { 1.0 } else { 0.0 }).collect()
}

/// How much of a task's rows in the piece's pack the piece has.
fn share(step: &Packs<'_>, piece: &Piece, task: usize) -> f64 {
    let rows = |pack: &Pack| rows_labelled(pack, &step.model.tasks[task], Split::Train).len() as f64;
    rows(&piece.pack) / rows(&step.packs[piece.micro]).max(1.0)
}

/// The seeds of a piece's dropout.
fn noise_of<'a>(step: &'a Packs<'_>, piece: &'a Piece, suffix: String) -> impl Fn(&str) -> u64 + 'a {
    let half = if piece.half == 0 { "" } else { ", second half" };
    move |name: &str| noise(step.seed, &format!("{name}{suffix}{half}"), step.index, piece.micro)
}

/// The rows of one task through the whole trunk.
fn alone(step: &Packs<'_>, piece: &Piece, task: usize, rows: &[BatchRow]) -> Losses {
    let model = step.model;
    let (part, below) = some_rows(step, &piece.pack, piece.below.as_ref(), &places(rows));
    let rows = rows_of_one(model, &part, task);
    let noise = noise_of(step, piece, format!(" for {}", model.tasks[task].name));
    forward(model, &model.parameters, &part, below, &rows, Split::Train, Some(&noise))
}

fn places(rows: &[BatchRow]) -> Vec<usize> {
    rows.iter().map(|row| row.pack_row as usize).collect()
}

/// The rows of one task of a pack, none of the others.
fn rows_of_one(model: &Model, pack: &Pack, task: usize) -> Vec<Vec<BatchRow>> {
    let of = |other| {
        if other == task { rows_labelled(pack, &model.tasks[task], Split::Train) } else { Vec::new() }
    };
    (0..model.tasks.len()).map(of).collect()
}

/// All rows of a piece up to the cut, and the pack as it is there.
fn cut<'p>(step: &Packs<'_>, piece: &'p Piece, rows: &[Vec<BatchRow>], scope: Scope) -> (Cut, Cow<'p, Pack>) {
    let model = step.model;
    let parameters = trunk::parameters_for(model, &model.parameters, &piece.pack);
    let (below, seed) = (piece.below.clone(), Some(noise_of(step, piece, String::new())("the trunk")));
    if scope == Scope::LastLayer {
        let states = trunk::middle(model, &parameters, &piece.pack, below, seed);
        return (Cut { parameters, states }, Cow::Borrowed(&piece.pack));
    }
    let Pass { states, pack } = trunk::pass(model, &parameters, &piece.pack, rows, below, seed);
    (Cut { parameters, states }, pack)
}

/// The same numbers where a graph begins.
fn leaf(states: &Tensor<2>) -> Tensor<2> {
    states.clone().inner().autodiff().require_grad()
}

/// The rows of one task from the cut on.
fn above(
    step: &Packs<'_>,
    piece: &Piece,
    task: usize,
    rows: &[BatchRow],
    (cut, pack, leaf): (&Cut, &Pack, &Tensor<2>),
    scope: Scope,
) -> Losses {
    let (model, parameters) = (step.model, cut.parameters.clone());
    let noise = noise_of(step, piece, format!(" for {}", model.tasks[task].name));
    if scope == Scope::Representation {
        let rows = rows_of_one(model, pack, task);
        return Losses::of_heads(model, parameters, (leaf, pack), &rows, Split::Train, Some(&noise));
    }
    let (part, states) = some_rows(step, pack, Some(leaf), &places(rows));
    let (rows, states) = (rows_of_one(model, &part, task), states.unwrap_or_else(|| leaf.clone()));
    let seed = Some(noise("the trunk"));
    let Pass { states, pack } = trunk::last(model, &parameters, &part, &rows, states, seed);
    Losses::of_heads(model, parameters, (&states, &pack), &rows, Split::Train, Some(&noise))
}

/// Carries the gradients of the states at the cut through what lies below it.
fn backward_below(
    step: &Packs<'_>,
    pieces: &[Piece],
    cuts: Vec<Option<Cut>>,
    mut at_cut: Gradients,
    scope: Scope,
    into: &mut Gradients,
) {
    for (index, (piece, kept)) in pieces.iter().zip(cuts).enumerate() {
        let Some(crate::Gradient::Matrix(d)) = at_cut.take(index) else { continue };
        let again = || cut(step, piece, &rows_of_all(step.model, &piece.pack, Split::Train), scope).0;
        let Cut { parameters, states } = kept.unwrap_or_else(again);
        if !states.is_require_grad() && !states.is_tracked() {
            continue; // All of it is frozen.
        }
        let product = (states * d.autodiff()).sum();
        into.add(Gradients::backward(product, &parameters));
    }
}

/// The Gramian out of inner products, if all of them are numbers.
fn gramian(step: &Packs<'_>, products: &[f64]) -> Result<Gramian, Vec<BadTask>> {
    let tasks = step.model.tasks.len();
    let finite = |i: &usize| products[i * tasks..][..tasks].iter().all(|x| x.is_finite());
    let broken: Vec<usize> = (0..tasks).filter(|i| !finite(i)).collect();
    let gramian = Gramian::new(tasks, products.to_vec());
    gramian.ok().filter(|_| broken.is_empty()).ok_or_else(|| {
        let named = if broken.is_empty() { (0..tasks).collect() } else { broken };
        let fault = |i| bad_task(step.model, step.views, step.packs, i, "gradient not finite".into());
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
