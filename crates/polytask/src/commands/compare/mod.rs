//! `polytask compare`: whether one model for several tasks is better than others, with error bars.

mod analysis;
mod contestants;
mod grid;
mod page;
mod text;
mod trained;
mod tuning;

pub use analysis::{Comparison, ContestantFigures, ScoreFigures, TaskFigures};
pub use trained::Trained;
pub use tuning::Tuned;

use crate::cli;
use crate::commands::{self, train::write};
use crate::config::Config;
use crate::failure::Failure;
use crate::study::derive::Budget;
use crate::study::groups::Groups;
use crate::study::settings::with_overrides;
use crate::study::setup::{begin, config_file, has_equal_seeds, measure};
use crate::study::{Runner, StudyDir, TrialResult};
use crate::terminal::figures::counted;
use crate::terminal::output;
use contestants::{Contestants, TOGETHER};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is compared: `study.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The command that it belongs to.
    study: CompareStudy,
    /// Seeds.
    pub seeds: u64,
    /// What models for fewer tasks get.
    pub budget: Budget,
    /// `KEY=VALUE,...`: of the models for all tasks.
    pub grid: Vec<String>,
    /// `KEY=VALUE,...`: what every model keeps the best of.
    #[serde(default)]
    pub tune: Vec<String>,
    /// A model for every two tasks.
    pub pairs: bool,
    /// Groups of tasks with a model each.
    pub groups: Option<Groups>,
    /// A model for each task.
    pub alone: bool,
    /// Models that were trained before.
    #[serde(default)]
    pub trained: Vec<Trained>,
    /// Whether these are all that is compared.
    #[serde(default)]
    pub no_training: bool,
    /// The split that is scored.
    pub split: String,
    /// Bootstrap samples.
    pub resamples: usize,
}

/// The name of this sort of study, so that no other is resumed in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CompareStudy {
    Compare,
}

impl Definition {
    /// Each task alone against all together, with so many seeds.
    pub fn plain(seeds: u64) -> Definition {
        Definition {
            study: CompareStudy::Compare,
            seeds,
            budget: Budget::Steps,
            grid: Vec::new(),
            tune: Vec::new(),
            pairs: false,
            groups: None,
            alone: true,
            trained: Vec::new(),
            no_training: false,
            split: "test".into(),
            resamples: 400,
        }
    }
}

/// Trains, and prints who is better.
pub fn compare(args: &cli::Compare) -> Result<u8, Failure> {
    let (dir, definition, config) = match &args.resume {
        Some(root) => {
            let (dir, mut definition): (StudyDir, Definition) = StudyDir::resume(root)?;
            let config = commands::load(&config_file(&dir), &cli::Overrides::default())?;
            for trained in trained::parse(&args.trained)? {
                definition.trained.retain(|known| known.name != trained.name);
                definition.trained.push(trained);
            }
            definition.check(&config)?;
            if !args.trained.is_empty() {
                dir.define(&definition)?;
            }
            (Some(dir), definition, config)
        }
        None => {
            let Some(file) = &args.file else {
                return Err(Failure::refused(["give a config, or --resume DIR"]));
            };
            let config = commands::load(file, &args.overrides)?;
            (None, definition(args, &config)?, config)
        }
    };
    definition.check(&config)?;
    let measured = measure(&config)?;
    let dir = match dir {
        Some(dir) => Some(dir),
        None if args.dry_run => None,
        None => Some(begin(args.dir.as_deref(), &name(args), &definition, &config, &measured)?),
    };
    // A study reads the config that it wrote, so that what is resumed is what was begun.
    let file = dir.as_ref().map(config_file);
    let config = file.map_or(Ok(config), |file| commands::load(&file, &cli::Overrides::default()))?;
    let contestants = Contestants::of(&config, &definition, &measured.reference)?;
    let jobs = args.jobs.map(|jobs| jobs as usize);
    let (trainings, work) = amount(&contestants, &definition, &config)?;
    let jobs = jobs.unwrap_or_else(|| measured.jobs(&config, trainings));
    if !args.json {
        output::line(format_args!("\n  {}", describe(&contestants, &definition, &config)));
        let said = match definition.no_training {
            true => "nothing is trained".to_owned(),
            false => measured.describe(&counted(trainings, "training"), work, jobs),
        };
        output::line(format_args!("  {said}\n"));
    }
    let Some(dir) = dir else { return Ok(0) };
    dir.begin_session(&config, &commands::open_device(config.train.device)?)?;
    let comparison = run(&dir, &config, &definition, contestants, jobs, args.json)?;
    if args.json {
        output::line(serde_json::to_string_pretty(&comparison).map_err(Failure::failed)?);
    } else {
        output::text(text::tables(&comparison));
        output::line(format_args!("\n  with figures: {}", dir.root().join("report.html").display()));
    }
    Ok(0)
}

/// Trains what is not trained, and writes `comparison.json`.
fn run(
    dir: &StudyDir,
    config: &Config,
    definition: &Definition,
    mut contestants: Contestants,
    jobs: usize,
    quiet: bool,
) -> Result<Comparison, Failure> {
    let runner = Runner::new(config, jobs, (&definition.split, definition.resamples), quiet);
    let resume = format!("polytask compare --resume {}", dir.root().display());
    let mut tuned = Vec::new();
    let settings = tuning::combinations(&definition.tune, config)?;
    if !settings.is_empty() {
        tuned = tuning::tune(&mut contestants, &settings, (&runner, dir, &resume))?;
    }
    let (trials, work) = contestants.trials(definition.seeds);
    let results: Vec<TrialResult> = runner.run(dir, &trials, &work, &resume)?;
    let comparison = Comparison { tuned, ..Comparison::of(&contestants, definition, &results) };
    let json = serde_json::to_vec_pretty(&comparison).map_err(Failure::failed)?;
    write(&dir.root().join("comparison.json"), &json)?;
    let environment = dir.end_session()?;
    let html = page::page(&comparison, &contestants, (config, environment.as_ref()), dir);
    write(&dir.root().join("report.html"), html.as_bytes())?;
    Ok(comparison)
}

/// Compares each task alone with all together in a new directory, and gives what there is to say; for the demo.
pub fn compare_plainly(config: &Config, dir: &Path, seeds: u64) -> Result<String, Failure> {
    let definition = Definition::plain(seeds);
    let measured = measure(config)?;
    let dir = begin(Some(dir), "demo", &definition, config, &measured)?;
    let config = commands::load(&config_file(&dir), &cli::Overrides::default())?;
    let contestants = Contestants::of(&config, &definition, &measured.reference)?;
    let (trainings, _) = amount(&contestants, &definition, &config)?;
    let jobs = measured.jobs(&config, trainings);
    dir.begin_session(&config, &commands::open_device(config.train.device)?)?;
    let comparison = run(&dir, &config, &definition, contestants, jobs, false)?;
    Ok(text::tables(&comparison))
}

/// The trial of the model for all tasks with the first seed.
pub fn first_trial(dir: &Path) -> PathBuf {
    dir.join("trials").join(contestants::trial_name(TOGETHER, 0))
}

fn name(args: &cli::Compare) -> String {
    let stem = args.file.as_ref().and_then(|file| file.file_stem());
    format!("{}-compare", stem.map_or("run".into(), |stem| stem.to_string_lossy()))
}

fn definition(args: &cli::Compare, config: &Config) -> Result<Definition, Failure> {
    Ok(Definition {
        study: CompareStudy::Compare,
        seeds: args.seeds,
        budget: args.budget,
        grid: args.grid.clone(),
        tune: args.tune.clone(),
        pairs: args.pairs,
        groups: args.groups.as_ref().map(|file| Groups::read(file, config)).transpose()?,
        alone: !args.no_alone,
        trained: trained::parse(&args.trained)?,
        no_training: args.no_training,
        split: args.split.clone(),
        resamples: args.resamples as usize,
    })
}

impl Definition {
    /// What cannot be compared.
    fn check(&self, config: &Config) -> Result<(), Failure> {
        for combination in grid::combinations(&self.grid, config)? {
            with_overrides(config, &combination.set)?;
        }
        tuning::combinations(&self.tune, config)?;
        let refused = |reason: &str| Err(Failure::refused([reason]));
        let tasks = config.task.len();
        trained::check(&self.trained, self.seeds, config)?;
        if tasks == 1 && self.grid.is_empty() && self.trained.is_empty() {
            return refused(
                "there is one task: nothing is shared that could help or hurt; add tasks, or --grid",
            );
        }
        if self.pairs && tasks < 3 {
            return refused("--pairs: with two tasks the model for all is the pair");
        }
        if config.train.max_minutes.is_some() {
            return refused(
                "train.max_minutes: how far a training gets in that time depends on what else the machine does, so that nothing could be held against it; give train.epochs or train.max_steps",
            );
        }
        has_equal_seeds(config, self.seeds)?;
        if self.budget == Budget::Compute && !config.phase.is_empty() {
            return refused(
                "--budget compute: the config has [[phase]]s, which have lengths of their own; take steps or epochs",
            );
        }
        Ok(())
    }
}

/// How many trainings there are, and what all take, in tokens. With the first seed a model is trained with every setting that is tried.
fn amount(
    contestants: &Contestants,
    definition: &Definition,
    config: &Config,
) -> Result<(usize, f64), Failure> {
    let settings = tuning::combinations(&definition.tune, config)?.len().max(1);
    let of_model = settings + definition.seeds as usize - 1;
    let work: f64 = contestants.models.iter().map(|model| model.work).sum();
    let models = contestants.models.iter().filter(|model| model.is_trained_here()).count();
    Ok((models * of_model, work * of_model as f64))
}

fn describe(contestants: &Contestants, definition: &Definition, config: &Config) -> String {
    let names: Vec<&str> = contestants.list.iter().map(|contestant| contestant.name.as_str()).collect();
    let seed = config.train.seed;
    let seeds = match definition.seeds {
        1 => format!("seed {seed}"),
        n => format!("seeds {seed} to {}", seed + n - 1),
    };
    let names = names.join(" | ");
    match definition.no_training {
        true => format!("{names}; the splits of {seeds}"),
        false => format!("{names}; {seeds}; {}", definition.budget.describe()),
    }
}
