//! `polytask sweep`: trainings with many settings; the config that was best in validation.

mod halving;
mod page;
mod text;

use crate::cli;
use crate::commands::{self, train::write};
use crate::config::Config;
use crate::failure::Failure;
use crate::study::settings::{override_of, with_overrides};
use crate::study::setup::measure;
use crate::study::{Runner, StudyDir, SweepConfig, SweepMethod, Trial, TrialResult};
use crate::terminal::figures::counted;
use crate::terminal::output;
use halving::Rungs;
use serde::{Deserialize, Serialize};

/// What is tried: `study.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Definition {
    /// The command that it belongs to.
    study: SweepStudy,
    sweep: SweepConfig,
}

/// The name of this sort of study, so that no other is resumed in its place.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SweepStudy {
    Sweep,
}

/// A sweep: `sweep.json`.
#[derive(Debug, Clone, Serialize)]
struct Found {
    method: SweepMethod,
    /// The keys.
    keys: Vec<String>,
    /// What decides.
    criterion: String,
    /// The trials, the best first: by how long they were trained, then by value.
    trials: Vec<Tried>,
}

/// One trial.
#[derive(Debug, Clone, Serialize)]
struct Tried {
    name: String,
    /// A value for each key.
    settings: Vec<String>,
    /// The best validation value; `None` where there was none.
    value: Option<f64>,
    /// The primary validation score of each task then.
    validation: std::collections::BTreeMap<String, f64>,
    /// The scores of its model on held-out rows; none of a training that did not come to its end. Nothing is chosen by them.
    test: std::collections::BTreeMap<String, f64>,
    /// Epochs trained.
    epochs: usize,
    steps: usize,
    seconds: f64,
}

/// Trains, and writes the best config.
pub fn sweep(args: &cli::Sweep) -> Result<u8, Failure> {
    let (dir, mut config) = match (&args.resume, &args.file) {
        (Some(root), _) => {
            let (dir, definition): (StudyDir, Definition) = StudyDir::resume(root)?;
            let mut config = commands::load(&root.join("config.toml"), &cli::Overrides::default())?;
            config.sweep = Some(definition.sweep);
            (Some(dir), config)
        }
        (None, Some(file)) => (None, commands::load(file, &args.overrides)?),
        (None, None) => return Err(Failure::refused(["give a config, or --resume DIR"])),
    };
    let Some(sweep) = config.sweep.take() else {
        return Err(Failure::refused([NO_TABLE]));
    };
    check_criterion(&sweep)?;
    let trials = trials(&config, &sweep)?;
    if sweep.method == SweepMethod::SuccessiveHalving {
        check_lengths(&config, &sweep)?;
    }
    let rungs = Rungs::of(&sweep, config.train.epochs)?;
    let device = commands::open_device(config.train.device)?;
    let measured = measure(&config)?;
    let jobs = args.jobs.map_or_else(|| measured.jobs(&config, trials.len()), |jobs| jobs as usize);
    if !args.json {
        let tasks: Vec<String> = config.task.keys().cloned().collect();
        let work = measured.reference.work(&tasks) * rungs.share(trials.len());
        let trainings = format!("{}{}", counted(trials.len(), "training"), rungs.describe(trials.len()));
        output::line(format_args!("\n  {}\n", measured.describe(&trainings, work, jobs)));
    }
    if args.dry_run {
        output::text(text::settings(&sweep, &trials));
        return Ok(0);
    }
    let dir = match dir {
        Some(dir) => dir,
        None => begin(args, &config, &sweep)?,
    };
    dir.begin_session(&config, &device)?;
    let found = run(&dir, &config, &sweep, &trials, &rungs, jobs, args.json)?;
    let best = best_config(&trials, &found);
    if let Some(best) = best {
        write(&dir.root().join("best.toml"), best.resolved_toml().as_bytes())?;
    }
    let environment = dir.end_session()?;
    let json = serde_json::to_vec_pretty(&found).map_err(Failure::failed)?;
    write(&dir.root().join("sweep.json"), &json)?;
    write(&dir.root().join("report.html"), page::page(&found, &config, environment.as_ref()).as_bytes())?;
    if args.json {
        output::line(serde_json::to_string_pretty(&found).map_err(Failure::failed)?);
    } else {
        output::text(text::table(&found, dir.root()));
    }
    Ok(0)
}

const NO_TABLE: &str = "the config has no [sweep]: say what to try, for example\n\n  [sweep]\n  method = \"random\"\n  trials = 16\n\n  \
                        [sweep.space]\n  \"optimizer.adamw.learning_rate\" = { min = 1e-5, max = 1e-3, log = true }\n  balance = \
                        [\"equal\", \"uncertainty\"]\n";

/// Trainings are held against each other by one figure on the same rows.
fn check_criterion(sweep: &SweepConfig) -> Result<(), Failure> {
    let ranges = sweep.ranges().map_err(|reason| Failure::refused([reason]))?;
    let changes_it = |key: &str| {
        let parts: Vec<&str> = key.split('.').collect();
        matches!(parts[..], ["task", .., "metric"] | ["train", "metric_for_best_model"])
            || matches!(parts[..], ["corpus", .., "validation" | "validation_split"])
    };
    match ranges.iter().find(|(key, _)| changes_it(key)) {
        Some((key, _)) => Err(Failure::refused([format!(
            "sweep.space.{key}: trainings are chosen by their validation scores, which would be of different metrics or rows; leave it out"
        )])),
        None => Ok(()),
    }
}

/// What decides of a training: the value that chose its result. A mean over the tasks has the importances of the sweep's config in all
/// trainings, also where those are swept.
fn value(config: &Config, result: &TrialResult) -> Option<f64> {
    if config.train.metric_for_best_model.is_some() || result.validation.is_empty() {
        return result.validation_value;
    }
    let importance = |task: &String| config.task.get(task).map_or(0.0, |table| table.training.importance);
    let sum: f64 = result.validation.keys().map(importance).sum();
    if sum == 0.0 {
        return result.validation_value;
    }
    Some(result.validation.iter().map(|(task, score)| importance(task) * score).sum::<f64>() / sum)
}

/// The rungs of successive halving are epochs of one and the same length.
fn check_lengths(config: &Config, sweep: &SweepConfig) -> Result<(), Failure> {
    const LENGTHS: [&str; 4] = ["train.epochs", "train.max_steps", "train.max_tokens", "phase"];
    let refused = |what: &str| {
        Err(Failure::refused([format!(
            "{what}: successive halving holds trainings against each other after as many epochs of train.epochs; take method = \"random\" or \"grid\""
        )]))
    };
    let ranges = sweep.ranges().map_err(|reason| Failure::refused([reason]))?;
    if let Some((key, _)) = ranges.iter().find(|(key, _)| LENGTHS.contains(&key.as_str())) {
        return refused(&format!("sweep.space.{key}"));
    }
    if config.phase.is_empty() { Ok(()) } else { refused("[[phase]]") }
}

/// A trial with its settings.
struct Candidate {
    trial: Trial,
    settings: Vec<String>,
}

/// All trials, each config checked before anything is trained. Settings that are drawn twice are tried once.
fn trials(config: &Config, sweep: &SweepConfig) -> Result<Vec<Candidate>, Failure> {
    if !config
        .task
        .values()
        .any(|task| config.corpus.get(&task.config.corpus).is_some_and(data::CorpusConfig::has_validation))
    {
        return Err(Failure::refused([
            "no corpus has validation rows, by which settings could be chosen: give one `validation` or `validation_split`",
        ]));
    }
    let refused = |reason: String| Failure::refused([reason]);
    let ranges = sweep.ranges().map_err(refused)?;
    let mut found: Vec<Candidate> = Vec::new();
    for settings in sweep.settings(config.train.seed).map_err(refused)? {
        if found.iter().any(|known| known.settings == settings) {
            continue;
        }
        let set: Vec<String> = ranges
            .iter()
            .zip(&settings)
            .filter_map(|((key, _), value)| override_of(key, value, config))
            .collect();
        let config = with_overrides(config, &set)?;
        found.push(Candidate {
            trial: Trial::new(&format!("trial {:03}", found.len() + 1), config),
            settings,
        });
    }
    Ok(found)
}

fn begin(args: &cli::Sweep, config: &Config, sweep: &SweepConfig) -> Result<StudyDir, Failure> {
    let stem = args.file.as_ref().and_then(|file| file.file_stem());
    let name = format!("{}-sweep", stem.map_or("run".into(), |stem| stem.to_string_lossy()));
    let definition = Definition { study: SweepStudy::Sweep, sweep: sweep.clone() };
    let dir = StudyDir::create(args.dir.as_deref(), &name, &definition)?;
    write(&dir.root().join("config.toml"), config.resolved_toml().as_bytes())?;
    Ok(dir)
}

fn run(
    dir: &StudyDir,
    config: &Config,
    sweep: &SweepConfig,
    candidates: &[Candidate],
    rungs: &Rungs,
    jobs: usize,
    quiet: bool,
) -> Result<Found, Failure> {
    let runner = Runner::new(config, jobs, ("test", 0), quiet);
    let resume = format!("polytask sweep --resume {}", dir.root().display());
    let results = rungs.run(&runner, dir, candidates, &resume, &|result| value(config, result))?;
    let mut results = results;
    results.sort_by(|(_, rung_a, a), (_, rung_b, b)| {
        let key = |result| value(config, result).unwrap_or(f64::NEG_INFINITY);
        rung_b.cmp(rung_a).then(key(b).total_cmp(&key(a)))
    });
    let trials =
        results.iter().map(|(index, _, result)| tried(config, &candidates[*index], result)).collect();
    let criterion = config.train.metric_for_best_model.clone();
    Ok(Found {
        method: sweep.method,
        keys: sweep
            .ranges()
            .map_err(|reason| Failure::refused([reason]))?
            .into_iter()
            .map(|(key, _)| key)
            .collect(),
        criterion: criterion.unwrap_or_else(|| "mean of the primary metrics".into()),
        trials,
    })
}

fn tried(config: &Config, candidate: &Candidate, result: &TrialResult) -> Tried {
    Tried {
        name: candidate.trial.name.clone(),
        settings: candidate.settings.clone(),
        value: value(config, result),
        validation: result.validation.clone(),
        test: result.scores.iter().map(|score| (score.task.clone(), score.value)).collect(),
        epochs: result.epochs,
        steps: result.steps,
        seconds: result.seconds,
    }
}

/// The config of the trial with the best value, among those that were trained longest.
fn best_config<'a>(candidates: &'a [Candidate], found: &Found) -> Option<&'a Config> {
    let best = found.trials.first().filter(|best| best.value.is_some())?;
    candidates.iter().find(|one| one.trial.name == best.name).map(|one| &one.trial.config)
}
