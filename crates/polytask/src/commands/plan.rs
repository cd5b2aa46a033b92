//! `polytask plan`: what each task will get of a run, and what it costs, without training.

use super::train::write;
use crate::cli;
use crate::distill::answers;
use crate::failure::Failure;
use crate::job::assemble::{Assembled, assemble};
use crate::memory::memory_plan::plan_batches;
use crate::terminal::figures::counted;
use crate::terminal::{
    figures::{count, duration},
    output,
    table::Table,
};
use report::{LinePlot, Scale};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use train::{Plan, TaskCost, TaskUsage};

/// Rows of the table of segments.
const SHOWN: usize = 8;

/// Prints the plan.
pub fn plan(args: &cli::Plan) -> Result<u8, Failure> {
    let mut config = super::load(&args.file, &args.overrides)?;
    let device = super::open_device(config.train.device)?;
    super::check_writable(args.svg.as_deref())?;
    let (plan, costs, tasks) = super::with_threads(config.train.threads, || {
        let Assembled { mut job, .. } = assemble(&config, &device)?;
        answers::expect(&config, &mut job);
        if let Some(found) = plan_batches(&mut config, &job)?.filter(|_| !args.json) {
            output::line(format_args!("\n  {found}"));
        }
        let settings = config.settings();
        let plan = train::plan(&job, &settings).map_err(|e| Failure::refused([e]))?;
        let began = Instant::now();
        let clock = || began.elapsed();
        let costs = if args.no_timing { Vec::new() } else { train::measure(&job, &settings, &clock) };
        let tasks: Vec<String> = job.model.tasks.iter().map(|task| task.name.clone()).collect();
        Ok((plan, costs, tasks))
    })?;
    if let Some(file) = &args.svg {
        write(file, drawn(&plan, &tasks).svg().as_bytes())?;
    }
    if args.json {
        output::line(as_json(&plan, &costs));
        return Ok(0);
    }
    output::line(format_args!("\n  {}\n", summary(&plan, &costs)));
    output::line(of_tasks(&plan.tasks, &costs, &tasks));
    output::line(of_corpora(&plan));
    if plan.phases.len() > 1 {
        output::line(of_phases(&plan, &tasks));
    }
    output::line(over_time(&plan, &tasks));
    for (i, phase) in plan.phases.iter().enumerate().filter(|(_, phase)| phase.adaptive) {
        let number = if plan.phases.len() > 1 { format!("phase {}: ", i + 1) } else { String::new() };
        output::line(format_args!(
            "  {number}the sampler {} moves the shares as training goes; here they are as it begins",
            phase.sampler
        ));
    }
    if let Some(file) = &args.svg {
        output::line(format_args!("  drawn in {}", file.display()));
    }
    Ok(0)
}

fn summary(plan: &Plan, costs: &[TaskCost]) -> String {
    let (steps, epochs) = (plan.step_plan.total(), plan.step_plan.epochs().len());
    let time = expected_seconds(&plan.tasks, costs).map(|seconds| {
        let time = duration(Duration::from_secs_f64(seconds));
        format!("; about {time} of passes on this machine, evaluations and the optimizer come on top")
    });
    format!(
        "{} in {}, {} tokens{}",
        counted(steps, "step"),
        counted(epochs, "epoch"),
        count(plan.tokens),
        time.unwrap_or_default()
    )
}

/// Seconds of all passes: the trunk for the tokens that are a task's part, its head for all of them. `None` where nothing was measured.
pub fn expected_seconds(tasks: &BTreeMap<String, TaskUsage>, costs: &[TaskCost]) -> Option<f64> {
    let of = |cost: &TaskCost| seconds(tasks.get(&cost.task)?, cost, tasks);
    (!costs.is_empty()).then(|| costs.iter().filter_map(of).sum())
}

/// Seconds of the passes of one task.
fn seconds(spent: &TaskUsage, cost: &TaskCost, tasks: &BTreeMap<String, TaskUsage>) -> Option<f64> {
    // Operations a token are the same for all tasks; where a row is one task's alone, its tokens are all its part.
    let per_token =
        tasks.values().map(|spent| spent.operations / spent.tokens.max(1) as f64).fold(0.0, f64::max);
    let part = if per_token > 0.0 { spent.operations / per_token } else { spent.tokens as f64 };
    Some(part * (cost.forward + cost.backward) + spent.tokens as f64 * cost.head)
}

fn of_tasks(spent: &BTreeMap<String, TaskUsage>, costs: &[TaskCost], tasks: &[String]) -> String {
    let timed = !costs.is_empty();
    let mut header = vec!["task", "rows", "tokens", "steps", "compute"];
    if timed {
        header.extend(["forward", "head", "backward", "expected"]);
    }
    let mut table = Table::new(&header);
    let shares = train::shares(spent);
    for task in tasks {
        let found = spent.get(task).copied().unwrap_or_default();
        let mut cells = vec![
            task.clone(),
            count(found.rows as usize),
            count(found.tokens as usize),
            count(found.steps as usize),
            percent(shares.get(task).copied().unwrap_or(0.0)),
        ];
        if let Some(cost) = costs.iter().find(|cost| cost.task == *task) {
            cells.extend([cost.forward, cost.head, cost.backward].map(|s| format!("{:.1} ms", 1e6 * s)));
            let time = seconds(&found, cost, spent).map(Duration::from_secs_f64);
            cells.push(time.map(duration).unwrap_or_default());
        }
        table.row(cells);
    }
    let note = if timed {
        "  (forward, head, backward: measured, for 1,000 tokens of the task's rows)\n"
    } else {
        ""
    };
    table.render() + note
}

fn of_corpora(plan: &Plan) -> String {
    let mut table = Table::new(&["corpus", "rows", "draws", "times through"]);
    for (corpus, drawn) in &plan.corpora {
        let times = format!("{:.2}", drawn.draws as f64 / drawn.rows.max(1) as f64);
        table.row([corpus.clone(), count(drawn.rows), count(drawn.draws as usize), times]);
    }
    table.render()
}

fn of_phases(plan: &Plan, tasks: &[String]) -> String {
    let mut header = vec!["phase", "sampler", "steps"];
    header.extend(tasks.iter().map(String::as_str));
    let mut table = Table::new(&header);
    for (i, phase) in plan.phases.iter().enumerate() {
        let shares = train::shares(&phase.usage);
        let mut cells = vec![(i + 1).to_string(), phase.sampler.to_owned(), count(phase.steps)];
        cells.extend(tasks.iter().map(|task| shares.get(task).map_or("-".into(), |share| percent(*share))));
        table.row(cells);
    }
    table.render()
}

/// Learning rate and shares over the run, at even distances.
fn over_time(plan: &Plan, tasks: &[String]) -> String {
    let mut header = vec!["to step", "learning rate"];
    header.extend(tasks.iter().map(String::as_str));
    let mut table = Table::new(&header);
    let length = plan.segments.len().div_ceil(SHOWN).max(1);
    for some in plan.segments.chunks(length) {
        let Some(last) = some.last() else { continue };
        let of = |task: &String| {
            some.iter().filter_map(|segment| segment.operations.get(task)).fold(0.0, |sum, found| sum + found)
        };
        let all: f64 = tasks.iter().map(of).sum();
        let mut cells = vec![count(last.end), format!("{:.2e}", last.learning_rate)];
        cells.extend(tasks.iter().map(|task| percent(of(task) / all.max(f64::MIN_POSITIVE))));
        table.row(cells);
    }
    table.render()
}

/// Shares of the computation, and the learning rate as a part of its greatest.
fn drawn(plan: &Plan, tasks: &[String]) -> LinePlot {
    let mut plot = LinePlot::new("what each task gets", ("step", Scale::Linear), ("share", Scale::Linear));
    for task in tasks {
        let share = |segment: &train::PlanSegment| {
            let all: f64 = segment.operations.values().sum();
            let own = segment.operations.get(task).copied().unwrap_or(0.0);
            (segment.end as f64, own / all.max(f64::MIN_POSITIVE))
        };
        plot.line(task, plan.segments.iter().map(share));
    }
    let most = plan.segments.iter().map(|segment| segment.learning_rate).fold(f64::MIN_POSITIVE, f64::max);
    let rate = |segment: &train::PlanSegment| (segment.end as f64, segment.learning_rate / most);
    plot.line(&format!("learning rate / {most:.1e}"), plan.segments.iter().map(rate));
    plot
}

fn as_json(plan: &Plan, costs: &[TaskCost]) -> Value {
    let cost = |cost: &TaskCost| json!({ "task": cost.task, "forward": cost.forward, "head": cost.head, "backward": cost.backward });
    let segment = |segment: &train::PlanSegment| json!({ "end": segment.end, "learning_rate": segment.learning_rate, "operations": segment.operations });
    let phase = |phase: &train::PlannedPhase| json!({ "tasks": phase.tasks, "steps": phase.steps, "sampler": phase.sampler, "usage": phase.usage });
    json!({
        "steps": plan.step_plan.total(), "epochs": plan.step_plan.epochs(), "tokens": plan.tokens,
        "tasks": plan.tasks, "shares": train::shares(&plan.tasks), "corpora": plan.corpora,
        "seconds_per_token": costs.iter().map(cost).collect::<Vec<_>>(),
        "expected_seconds": expected_seconds(&plan.tasks, costs),
        "phases": plan.phases.iter().map(phase).collect::<Vec<_>>(),
        "segments": plan.segments.iter().map(segment).collect::<Vec<_>>(),
    })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
