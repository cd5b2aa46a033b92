//! `polytask check`: config, data and model validated without training, and the plan of the run. Of a file with data: its fields.

mod data_file;

use crate::cli;
use crate::config::Config;
use crate::distill::answers;
use crate::failure::Failure;
use crate::job::assemble::{Assembled, assemble};
use crate::job::corpora::{DataReport, TaskLabels};
use crate::memory::memory_plan::plan_batches;
use crate::survey::{Survey, gravest};
use crate::terminal::figures::{bytes, count, counted, short};
use crate::terminal::output;
use crate::terminal::progress::unevaluated;
use crate::terminal::table::Table;
use data::{PackStream, Split};
use model::{LanePolicy, Owner, Parameter};
use std::collections::BTreeMap;
use tasks::SummaryStatistics;
use train::{GradientMemory, GradientScope, Job, Plan};

/// How many labels a line names.
const NAMED: usize = 6;

/// Prints the plan, or every error that was found.
pub fn check(args: &cli::Check) -> Result<u8, Failure> {
    if data::format_of_name(&args.file).is_some() {
        return data_file::check(&args.file);
    }
    let mut config = super::load(&args.file, &args.overrides)?;
    let device = super::open_device(config.train.device)?;
    let assembled = super::with_threads(config.train.threads, || assemble(&config, &device))?;
    let (findings, more) =
        gravest(&super::with_threads(config.train.threads, || Ok(Survey::brief(&assembled)))?);
    let Assembled { mut job, report } = assembled;
    let taught = super::with_threads(config.train.threads, || answers::check(&config, &mut job, &device))?;
    let fitted = super::with_threads(config.train.threads, || plan_batches(&mut config, &job))?;
    let planned = train::plan(&job, &config.settings()).map_err(|e| Failure::refused([e]))?;
    let streams = train::streams(&job, &config.settings()).map_err(|e| Failure::refused([e]))?;
    let comparison = GradientMemory::of(&job, &config.settings()).map_err(|e| Failure::refused([e]))?;
    output::line(format_args!(
        "\n  rows and tokens (lengths in tokens: shortest, median, 90 %, 99 %, longest)\n\n{}",
        rows(&report)
    ));
    output::line(format_args!("  labels\n\n{}", labels(&report)));
    if !taught.is_empty() {
        output::line(format_args!("  teachers\n\n{taught}"));
    }
    output::text(super::deserve_a_look(&findings, more, findings.len()));
    output::line(format_args!("  parameters\n\n{}", parameters(&job)));
    match &streams[..] {
        [stream] => {
            output::line(format_args!("  draws\n\n{}", draws(stream, planned.step_plan.epochs().len())));
        }
        _ => streams.iter().enumerate().for_each(|(i, stream)| {
            output::line(format_args!("  draws of an epoch in phase {}\n\n{}", i + 1, draws(stream, 1)));
        }),
    }
    fitted.into_iter().for_each(|found| output::line(format_args!("  {found}\n")));
    if let Some(told) = unevaluated(&train::unevaluated_tasks(&job), job.model.tasks.len()) {
        output::line(format_args!("  {told}\n"));
    }
    output::line(format_args!(
        "{}{}",
        plan(&config, &job, &planned),
        comparison.map(balancing).unwrap_or_default()
    ));
    let verdict = match findings.len() + more {
        0 => "is fine".into(),
        1 => "can be trained; one thing above deserves a look".into(),
        n => format!("can be trained; {n} things above deserve a look"),
    };
    let command = if config.distill.is_some() { "distill" } else { "train" };
    output::line(format_args!(
        "  {} {verdict}: polytask {command} {}",
        args.file.display(),
        args.file.display()
    ));
    Ok(0)
}

fn rows(report: &DataReport) -> String {
    let mut table = Table::new(&[
        "corpus",
        "split",
        "read",
        "tasks in one pass",
        "rows",
        "tokens",
        "lengths",
        "cut",
        "unknown",
    ]);
    for view in &report.views {
        let lengths: Vec<String> = view.lengths.iter().map(usize::to_string).collect();
        table.row([
            view.corpus.clone(),
            view.split.to_string(),
            view.field.clone(),
            view.tasks.join(", "),
            count(view.rows),
            count(view.tokens),
            lengths.join(" "),
            if view.truncated_rows == 0 {
                "-".into()
            } else {
                format!("{} rows, {} tokens", count(view.truncated_rows), count(view.truncated_tokens))
            },
            format!("{:.2} %", 100.0 * view.unknown_tokens as f64 / view.tokens.max(1) as f64),
        ]);
    }
    table.render()
}

fn labels(report: &DataReport) -> String {
    let mut table =
        Table::new(&["task", "split", "labelled", "without", "labels", "most frequent, or range", "remarks"]);
    for found in &report.labels {
        let (kinds, content) = content(found);
        table.row([
            found.task.clone(),
            found.split.to_string(),
            count(found.labelled),
            if found.missing == 0 { "-".into() } else { count(found.missing) },
            kinds,
            content,
            remarks(found),
        ]);
    }
    table.render()
}

/// How many labels of the space occur, and the most frequent ones; of numbers, their statistics.
fn content(found: &TaskLabels) -> (String, String) {
    if let Some(SummaryStatistics { min, mean, max, .. }) = found.numbers {
        return ("numbers".into(), format!("{min} to {max}, mean {mean:.4}"));
    }
    let mut counts: Vec<&(String, usize)> = found.counts.iter().filter(|(_, n)| *n > 0).collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let named: Vec<String> =
        counts.iter().take(NAMED).map(|(label, n)| format!("{label} {}", count(*n))).collect();
    let more = counts.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    (format!("{} of {}", counts.len(), found.counts.len()), named.join(", ") + &more)
}

fn remarks(found: &TaskLabels) -> String {
    let mut remarks = Vec::new();
    if !found.unseen.is_empty() {
        let names: Vec<String> =
            found.unseen.iter().take(NAMED).map(|(l, n)| format!("{l} {}", count(*n))).collect();
        remarks.push(format!("never in training: {}", names.join(", ")));
    }
    if found.rare > 0 {
        remarks.push(format!("{} labels too rare to learn", count(found.rare)));
    }
    if found.truncated > 0 {
        remarks.push(format!("{} labels lost to max_length", count(found.truncated)));
    }
    if found.without_token > 0 {
        remarks.push(format!("{} words without a token", count(found.without_token)));
    }
    if found.out_of_reach > 0 {
        remarks.push(format!("{} labels out of the settings' reach", count(found.out_of_reach)));
    }
    remarks.join("; ")
}

fn parameters(job: &Job) -> String {
    let (model, all) = (&job.model, &job.model.parameters);
    let size = |wanted: &dyn Fn(&Parameter) -> bool| {
        all.iter().filter(|p| wanted(p)).map(Parameter::size).sum::<usize>()
    };
    let scheme = model.trunk.sharing().config().name();
    let mut table = Table::new(&["part", "parameters", ""]);
    let is_shared = |p: &Parameter| p.is_trunk() && p.owner == Owner::Trunk;
    let shared = size(&is_shared);
    table.row(["shared by all tasks".into(), short(shared), model.trunk.spec().name.to_string()]);
    if let Some(embedding) = model.trunk.dataset_embedding() {
        let size = all.parameter(embedding.index()).size();
        table.row(["of them dataset embeddings".into(), short(size), model.datasets.join(", ")]);
    }
    let added = size(&|p| is_shared(p) && !p.is_base());
    if added > 0 {
        table.row(["of them added".into(), short(added), format!("sharing.{scheme}")]);
    }
    let frozen = size(&|p| !p.trainable);
    if frozen > 0 {
        let what = match model.trunk.frozen() {
            Some(layers) => format!("embeddings and {layers} layers"),
            None => format!("by sharing.{scheme}"),
        };
        table.row(["not trained".into(), short(frozen), what]);
    }
    for (tasks, size) in private(all) {
        table.row([
            format!("in the trunk for {}", tasks.join(", ")),
            short(size),
            format!("sharing.{scheme}"),
        ]);
    }
    let heads = size(&|p| !p.is_trunk());
    for slot in &model.tasks {
        let own = size(&|p| !p.is_trunk() && p.owner.first_task() == Some(&slot.name));
        table.row([
            format!("head of {}", slot.name),
            short(own),
            slot.config.kind(&slot.name).unwrap_or_default().into(),
        ]);
    }
    let together = size(&|_| true);
    let apart = size(&|p| p.is_base()) * model.tasks.len() + heads;
    let share = 100.0 * together as f64 / apart.max(1) as f64;
    table.rule();
    table.row([
        "one model".into(),
        short(together),
        match job.model.tasks.len() {
            1 => String::new(),
            tasks => format!("{share:.0} % of what {tasks} separate models have"),
        },
    ]);
    table.render()
}

/// What tasks, or groups of tasks, have for themselves in the trunk.
fn private(parameters: &model::Parameters) -> BTreeMap<Vec<String>, usize> {
    let mut found: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for parameter in parameters.iter().filter(|p| p.is_trunk()) {
        if let Owner::Tasks(tasks) = &parameter.owner {
            *found.entry(tasks.clone()).or_default() += parameter.size();
        }
    }
    found
}

/// How often a training row goes through the trunk on average: with private parameters in it once for each task, or group of tasks,
/// that reads the row.
fn passes_of_a_row(job: &Job) -> f64 {
    let model = &job.model;
    let groups: Vec<Vec<String>> = match model.trunk.sharing().lanes() {
        LanePolicy::Shared => return 1.0,
        LanePolicy::PerTask => model.tasks.iter().map(|task| vec![task.name.clone()]).collect(),
        LanePolicy::PerGroup(groups) => groups,
    };
    let (mut rows, mut passes) = (0usize, 0usize);
    for (view, of) in job.views.train.iter().enumerate() {
        for row in 0..of.encoded.rows() {
            let reads = |name: &String| {
                let tasks = model.tasks.iter().filter(|task| task.view == view && task.name == *name);
                tasks.into_iter().any(|task| task.head.labelled(Split::Train, row))
            };
            let found = groups.iter().filter(|group| group.iter().any(reads)).count();
            rows += usize::from(found > 0);
            passes += found;
        }
    }
    if rows > 0 { passes as f64 / rows as f64 } else { 1.0 }
}

/// How often an epoch draws each corpus, and how often the run goes through it; where epochs differ, the first and the last.
fn draws(stream: &PackStream, epochs: usize) -> String {
    let header = ["corpus", "rows", "share", "draws an epoch", "times through", "in all epochs"];
    let mut table = Table::new(&header);
    let (first, last) = (stream.draws_by_corpus(0), stream.draws_by_corpus(epochs.saturating_sub(1)));
    let mut drawn = vec![0; first.len()];
    for epoch in 0..epochs {
        drawn.iter_mut().zip(stream.draws_by_corpus(epoch)).for_each(|(sum, found)| *sum += found.draws);
    }
    for ((first, last), drawn) in first.iter().zip(&last).zip(drawn) {
        let times = |draws: u64| format!("{:.2}", draws as f64 / first.rows.max(1) as f64);
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        table.row([
            first.corpus.to_string(),
            count(first.rows),
            format!("{} %", between(percent(first.share), percent(last.share))),
            between(count(first.draws as usize), count(last.draws as usize)),
            between(times(first.draws), times(last.draws)),
            times(drawn),
        ]);
    }
    table.render()
}

/// One figure, or two where they differ.
fn between(first: String, last: String) -> String {
    if first == last { first } else { format!("{first} to {last}") }
}

fn plan(config: &Config, job: &Job, planned: &Plan) -> String {
    let (steps, epochs) = (planned.step_plan.total(), planned.step_plan.epochs());
    let per_step = planned.tokens.div_ceil(steps.max(1));
    let size = |wanted: &dyn Fn(&Parameter) -> bool| {
        job.model.parameters.iter().filter(|p| wanted(p)).map(Parameter::size).sum::<usize>()
    };
    // Of a frozen prefix that is kept nothing is computed again.
    let kept = match config.settings().cache_frozen {
        true => 2.0 * size(&|p| p.is_linear_weight() && !p.trainable) as f64,
        false => 0.0,
    };
    let passes = passes_of_a_row(job);
    let work = (train::flops_per_token(&job.model, None) - kept) * passes * per_step as f64 / 1e9;
    let trained = job.model.parameters.iter().filter(|p| p.trainable);
    let state = |p| {
        config.optimizer.state_shapes(p).iter().map(|shape| shape.iter().product::<usize>()).sum::<usize>()
    };
    let kept: usize = trained.map(|p| p.size() + state(p)).sum();
    let weights: usize = job.model.parameters.iter().map(Parameter::bytes).sum();
    let memory = weights + 4 * kept;
    format!(
        "  plan\n\n  {} in {}, about {} tokens a step (batches of at most {}, {} to a step)\n  \
         about {work:.1} GFLOP a step in the products with the trunk's weights, forward and backward{}\n  \
         {} for weights, gradients and the state of the optimizer; activations come on top\n  \
         computed on {}{}\n",
        counted(steps, "step"),
        counted(epochs.len(), "epoch"),
        count(per_step),
        count(config.train.tokens_per_batch),
        config.train.gradient_accumulation_steps,
        match passes > 1.0 {
            true => format!(
                ";\n  a row goes through the trunk {passes:.2} times, once for each task that reads it"
            ),
            false => String::new(),
        },
        bytes(memory),
        super::describe_device(config.train.device, job.model.device()),
        super::describe_precision(&config.train),
    )
}

/// What comparing gradients takes.
fn balancing(comparison: GradientMemory) -> String {
    let over = match comparison.scope {
        GradientScope::AllShared => "all shared parameters",
        GradientScope::LastLayer => "the last layer that the tasks share, and of its input",
        GradientScope::Representation => "the states that the heads get",
    };
    let kept = match comparison.kept {
        0 => String::new(),
        numbers => format!(", and {} from step to step", bytes(4 * numbers)),
    };
    format!(
        "  balancing keeps {} gradients of {over}: at most {} each, {} together{kept}\n",
        comparison.gradients,
        bytes(4 * comparison.numbers),
        bytes(4 * comparison.numbers * comparison.gradients),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::{CorpusRows, Packing, SamplerConfig, sampler};

    fn lines(sampling: &SamplerConfig) -> Vec<String> {
        let corpus =
            |name: &str, rows: u32| CorpusRows::new(name, (0..rows).collect(), vec![1; rows as usize]);
        let corpora = vec![corpus("large", 900), corpus("none", 0), corpus("small", 100)];
        let table =
            draws(&PackStream::new(corpora, sampling, 3, Packing { tokens: 100, one_corpus: false }, 1), 3);
        table.lines().skip(2).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn draws_are_printed_by_corpus() {
        let found = lines(&SamplerConfig::Equal(sampler::Equal {}));
        let expected =
            ["large 900 50.0 % 500 0.56 1.67", "none 0 0.0 % 0 0.00 0.00", "small 100 50.0 % 500 5.00 15.00"];
        assert_eq!(found, expected);
    }

    #[test]
    fn where_epochs_differ_the_first_and_the_last_are_printed() {
        let found = lines(&SamplerConfig::Annealed(sampler::Annealed {}));
        let expected = [
            "large 900 90.0 to 60.8 % 900 to 608 1.00 to 0.68 2.55",
            "none 0 0.0 % 0 0.00 0.00",
            "small 100 10.0 to 39.2 % 100 to 392 1.00 to 3.92 7.03",
        ];
        assert_eq!(found, expected);
    }
}
