//! `polytask affinity`: which tasks help which, and which to train together.

mod analysis;
mod grouping;
mod matrix;
mod measurements;
mod page;
mod text;
mod trainings;

pub use grouping::{By, Partition};
pub use matrix::{Estimate, Mark, Matrix};

use crate::cli;
use crate::commands::{self, train::write};
use crate::config::Config;
use crate::failure::Failure;
use crate::study::cost::Measured;
use crate::study::groups::Groups;
use crate::study::setup::{begin, config_file, has_equal_seeds, measure};
use crate::study::{Runner, StudyDir, TrialResult};
use crate::terminal::figures::counted;
use crate::terminal::output;
use analysis::Findings;
use measurements::Measurements;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trainings::Trainings;

/// What is looked for: `study.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Definition {
    /// The command that it belongs to.
    study: AffinityStudy,
    seeds: u64,
    /// A model for every two tasks, against one for each.
    pairs: bool,
    /// Each task from the trunk of each other.
    intermediate: bool,
    /// How often the model for all tasks is measured, about.
    measurements: usize,
    split: String,
    resamples: usize,
}

/// The name of this sort of study, so that no other is resumed in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AffinityStudy {
    Affinity,
}

/// Trains, and prints which tasks help which.
pub fn affinity(args: &cli::Affinity) -> Result<u8, Failure> {
    let (dir, definition, config) = match (&args.resume, &args.file) {
        (Some(root), _) => {
            let (dir, definition): (StudyDir, Definition) = StudyDir::resume(root)?;
            let config = commands::load(&config_file(&dir), &cli::Overrides::default())?;
            (Some(dir), definition, config)
        }
        (None, Some(file)) => (None, definition(args), commands::load(file, &args.overrides)?),
        (None, None) => return Err(Failure::refused(["give a config, or --resume DIR"])),
    };
    definition.check(&config)?;
    let by = grouping::chosen(args.by, definition.pairs)?;
    let measured = measure(&config)?;
    let dir = match dir {
        Some(dir) => Some(dir),
        None if args.dry_run => None,
        None => Some(begin(args.dir.as_deref(), &name(args), &definition, &config, &measured)?),
    };
    // A study reads the config that it wrote, so that what is resumed is what was begun.
    let file = dir.as_ref().map(config_file);
    let config = file.map_or(Ok(config), |file| commands::load(&file, &cli::Overrides::default()))?;
    let trainings = Trainings::of(&config, &definition, &measured.reference, dir.as_ref())?;
    let jobs = args.jobs.map(|jobs| jobs as usize);
    let jobs =
        jobs.unwrap_or_else(|| measured.jobs(&config, trainings.together.len().max(trainings.count())));
    if !args.json {
        output::text(describe(&trainings, &definition, &config, &measured, jobs));
    }
    let Some(dir) = dir else { return Ok(0) };
    dir.begin_session(&config, &commands::open_device(config.train.device)?)?;
    let results = run(&dir, &config, &definition, &trainings, jobs, args.json)?;
    let measurements = Measurements::read(&dir, &trainings)?;
    let findings = Findings::of(&trainings, &definition, &measurements, &results, by);
    keep(&dir, &config, &findings, args)?;
    if args.json {
        output::line(serde_json::to_string_pretty(&findings).map_err(Failure::failed)?);
    } else {
        output::text(text::report(&findings));
        output::text(kept(&dir, &findings, args));
    }
    Ok(0)
}

/// Trains what is not trained. Those that begin from the trunk of others come after them.
fn run(
    dir: &StudyDir,
    config: &Config,
    definition: &Definition,
    trainings: &Trainings,
    jobs: usize,
    quiet: bool,
) -> Result<BTreeMap<String, TrialResult>, Failure> {
    let runner = Runner::new(config, jobs, (&definition.split, definition.resamples), quiet);
    let resume = format!("polytask affinity --resume {}", dir.root().display());
    let mut results = BTreeMap::new();
    for wave in trainings.waves() {
        let (trials, work): (Vec<_>, Vec<f64>) = wave.iter().cloned().unzip();
        for result in runner.run(dir, &trials, &work, &resume)? {
            results.insert(result.name.clone(), result);
        }
    }
    Ok(results)
}

/// Writes what was found into the study's directory.
fn keep(dir: &StudyDir, config: &Config, findings: &Findings, args: &cli::Affinity) -> Result<(), Failure> {
    let json = serde_json::to_vec_pretty(findings).map_err(Failure::failed)?;
    write(&dir.root().join("affinity.json"), &json)?;
    let environment = dir.end_session()?;
    let page = page::page(findings, (config, environment.as_ref()));
    write(&dir.root().join("report.html"), page.as_bytes())?;
    let models = args.models as usize;
    let partition = findings.partitions.iter().rfind(|one| one.budget <= models);
    let Some(partition) = partition else { return Ok(()) };
    let groups = toml::to_string(&Groups { groups: partition.groups.clone() }).map_err(Failure::failed)?;
    let text = format!("{}{groups}", grouping::comment(findings, partition));
    write(&dir.root().join("groups.toml"), text.as_bytes())
}

/// What lies where, and what to do with it.
fn kept(dir: &StudyDir, findings: &Findings, args: &cli::Affinity) -> String {
    let root = dir.root().display();
    if findings.partitions.is_empty() {
        return format!("  kept in {root}: report.html and affinity.json\n");
    }
    let models = counted(args.models as usize, "model");
    let file = args.file.as_ref().map_or(config_file(dir), Clone::clone);
    format!(
        "  kept in {root}: report.html, affinity.json, and groups.toml for at most {models}\n  \
         next, to see whether it is so: polytask compare {} --groups {root}/groups.toml\n",
        file.display()
    )
}

fn name(args: &cli::Affinity) -> String {
    let stem = args.file.as_ref().and_then(|file| file.file_stem());
    format!("{}-affinity", stem.map_or("run".into(), |stem| stem.to_string_lossy()))
}

fn definition(args: &cli::Affinity) -> Definition {
    let trains_more = args.pairs || args.intermediate;
    Definition {
        study: AffinityStudy::Affinity,
        seeds: args.seeds.unwrap_or(if trains_more { 3 } else { 1 }),
        pairs: args.pairs,
        intermediate: args.intermediate,
        measurements: args.measurements as usize,
        split: args.split.clone(),
        resamples: 400,
    }
}

impl Definition {
    /// What cannot be measured.
    fn check(&self, config: &Config) -> Result<(), Failure> {
        let refused = |reason: &str| Err(Failure::refused([reason]));
        if config.task.len() < 2 {
            return refused(
                "there is one task, which has nothing to be held against; add tasks to the config",
            );
        }
        if config.task.len() > metrics::MOST_TASKS {
            return refused("more than 64 tasks: take some of them, in a config of their own");
        }
        if config.train.max_minutes.is_some() {
            return refused(
                "train.max_minutes: how far a training gets in that time depends on what else the machine does, so that nothing could be held against it; give train.epochs or train.max_steps",
            );
        }
        has_equal_seeds(config, self.seeds)?;
        if self.intermediate && config.sharing != model::SharingConfig::default() {
            return refused(
                "--intermediate: a saved trunk is a backbone without what [sharing] adds to it, so that a task would begin without most of what the other learned; leave [sharing] out",
            );
        }
        Ok(())
    }
}

/// What is trained, and what it costs.
fn describe(
    trainings: &Trainings,
    definition: &Definition,
    config: &Config,
    measured: &Measured,
    jobs: usize,
) -> String {
    let seed = config.train.seed;
    let seeds = match definition.seeds {
        1 => format!("seed {seed}"),
        n => format!("seeds {seed} to {}", seed + n - 1),
    };
    let every = trainings.every;
    let mut out = format!(
        "\n  {seeds}; the model for {} is measured every {} of {}, each time on up to {} rows of each task\n",
        counted(config.task.len(), "task"),
        counted(every, "step"),
        measured.reference.steps(),
        train::AFFINITY_ROWS_PER_TASK
    );
    for (what, count) in trainings.parts() {
        out += &format!("  {:>5}  {what}\n", count);
    }
    let all = counted(trainings.count(), "training");
    out + &format!("  {}\n\n", measured.describe(&all, trainings.work(), jobs))
}
