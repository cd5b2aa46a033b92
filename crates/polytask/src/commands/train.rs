//! `polytask train`: a run from its config, or on from where it was interrupted.

use super::further;
use super::train_groups::train_groups;
use crate::cli;
use crate::config::Config;
use crate::dashboard::{self, TrainingDashboard};
use crate::distill::{self, answers};
use crate::event_sinks::EventSinks;
use crate::failure::{FAILED, Failure, INTERRUPTED};
use crate::job::assemble::{Assembled, assemble};
use crate::job::run_lock::RunLock;
use crate::memory::memory_plan::plan_batches;
use crate::memory::{self, ProcessMemoryLimit};
use crate::run_report::{self, environment::Environment, held_out::HeldOut};
use crate::study::dir::is_study;
use crate::survey::{Survey, gravest};
use crate::terminal::{figures::count, figures::counted, output, progress::Detail};
use burn::tensor::Device;
use data::{ChatSource, EntityMarkers, InputField};
use model::DeviceName;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use train::{Event, Job, MemoryLimit, Outcome, RunDir, RunHooks, Start, TrainError};

/// How many findings in the data are said before training.
const FINDINGS: usize = 5;

/// Trains; exit code 130 if interrupted.
pub fn train(args: &cli::Train) -> Result<u8, Failure> {
    if let (Some(file), Some(groups)) = (&args.file, &args.groups) {
        return train_groups(args, file, groups);
    }
    let (config, run, lock, start) = match (&args.file, &args.resume) {
        (_, Some(resume)) => {
            let run = RunDir::new(resume);
            if is_study(resume) {
                return Err(Failure::refused([format!(
                    "{0} is a study, not a run: its runs lie in {0}/trials; go on with it by `polytask compare`, `affinity` or `sweep`, with --resume {0}",
                    resume.display()
                )]));
            }
            let made = [
                ("merged", super::merge::is_merged(resume)),
                ("pruned", super::prune::is_pruned(resume)),
                ("factorized", super::factorize::is_factorized(resume)),
            ];
            if let Some((how, _)) = made.iter().find(|(_, is_made)| *is_made) {
                return Err(Failure::refused([format!(
                    "{0} is a {how} model, not a run: nothing was trained there that could go on; train its tasks further, from the {how} \
                     trunk, with: polytask train {0}/config.toml",
                    resume.display()
                )]));
            }
            let config = further::longer_config(&run, &args.overrides)?;
            let lock = RunLock::existing(&run)?;
            (config, run, lock, Start::Resume)
        }
        (Some(file), None) => {
            let config = super::load(file, &args.overrides)?;
            let (run, lock) = match &args.run {
                Some(root) => {
                    let run = RunDir::new(root);
                    let lock = RunLock::create(&run)?;
                    (run, lock)
                }
                None => RunLock::numbered(Path::new("runs"), &name(file))?,
            };
            (config, run, lock, Start::Fresh)
        }
        (None, None) => return Err(Failure::refused(["give a config file, or --resume RUN"])),
    };
    let device = super::open_device(config.train.device)?;
    let dashboard = args.dashboard.then(|| TrainingDashboard::begin(&run, request_stop)).flatten();
    if dashboard.is_some() {
        // On a screen of its own Ctrl-C is a key; signals of others end the run as ever.
        stop_flag();
    }
    let outcome = super::with_threads(config.train.threads, || {
        output::line(format_args!("  {}", describe(&config, &device)));
        run_config(&config, &device, &run, start, Detail::Tables)
    });
    drop(dashboard);
    let outcome = outcome?;
    drop(lock);
    match outcome {
        Outcome::Finished { .. } => {
            let root = run.root().display();
            output::line(format_args!(
                "  next: polytask evaluate {root}, or echo {} | polytask predict {root}",
                line(&config)
            ));
            Ok(0)
        }
        Outcome::AlreadyFinished { step, .. } => {
            let root = run.root().display();
            output::line(format_args!("  {root} is finished, after {} steps: nothing was done", count(step)));
            output::line(format_args!(
                "  to train it further: polytask train --resume {root} {}",
                further::suggestion(&config.train)
            ));
            Ok(0)
        }
        Outcome::Interrupted { step, .. } => {
            output::line(format_args!(
                "  saved after step {}; go on with: polytask train --resume {}",
                count(step),
                run.root().display()
            ));
            Ok(INTERRUPTED)
        }
    }
}

/// Trains what a config describes on its device, in a run's directory, whose lock the caller holds.
pub fn run_config(
    config: &Config,
    device: &Device,
    run: &RunDir,
    start: Start,
    detail: Detail,
) -> Result<Outcome, Failure> {
    run_observed(config, device, run, start, detail, &mut |_| ())
}

/// As [`run_config`]; `observe` sees every event.
pub fn run_observed(
    config: &Config,
    device: &Device,
    run: &RunDir,
    start: Start,
    detail: Detail,
    observe: &mut dyn FnMut(&Event),
) -> Result<Outcome, Failure> {
    let mut assembled = assemble(config, device)?;
    if start == Start::Fresh {
        let (findings, more) = gravest(&Survey::brief(&assembled));
        output::text(super::deserve_a_look(&findings, more, FINDINGS));
        assembled.report.findings = findings;
    }
    run_assembled(config, device, assembled, run, (start, detail), observe)
}

/// As [`run_observed`], of a job that was assembled already; `detail` says how much is shown.
pub fn run_assembled(
    config: &Config,
    device: &Device,
    assembled: Assembled,
    run: &RunDir,
    (start, detail): (Start, Detail),
    observe: &mut dyn FnMut(&Event),
) -> Result<Outcome, Failure> {
    let Assembled { mut job, mut report } = assembled;
    let mut config = config.clone();
    answers::expect(&config, &mut job);
    report.count_taught(&job);
    train::check_pruning(&job, &config.settings()).map_err(|e| Failure::refused([e]))?;
    // Whether a run has become longer can be told only with what its heads learn from.
    if start == Start::Resume && !learn(&config, &mut job, run, device, detail)? {
        return Ok(untrained(run));
    }
    // A run that is resumed has its batch size already.
    if start == Start::Fresh
        && let Some(found) = plan_batches(&mut config, &job)?
        && detail != Detail::Warnings
    {
        output::line(format_args!("  {found}"));
    }
    let limit = memory_limit(&config, &job);
    let text = config.resolved_toml();
    if start == Start::Fresh || is_lengthened(&job, &config, &text, run)? {
        write(&run.config(), text.as_bytes())?;
    }
    // A run that was ended between the two has none.
    if !run.data().exists() {
        let data = serde_json::to_vec_pretty(&report).map_err(Failure::failed)?;
        write(&run.data(), &data)?;
    }
    if start == Start::Fresh && !learn(&config, &mut job, run, device, detail)? {
        return Ok(untrained(run));
    }
    Environment::begin(run, &config, device)?;
    let mut sinks = EventSinks::open(run, detail)?;
    let began = Instant::now();
    let outcome = train::run(
        &mut job,
        &config.settings(),
        run,
        start,
        RunHooks {
            stop: stop_flag(),
            clock: &|| began.elapsed(),
            memory_limit: limit.as_ref(),
            emit: &mut |event| {
                if let Event::Started(_) = event {
                    forget_scores(run);
                }
                sinks.take(event);
                observe(event);
            },
        },
    );
    let closed = sinks.close();
    if detail != Detail::Warnings
        && let Err(failure) = write_report(&config, &job, run, outcome.as_ref().ok(), (device, detail))
    {
        // The model is there, or the checkpoint: what is told of them is not worth a failed run.
        output::error(format_args!(
            "warning: the run's report is not complete: {}",
            failure.messages.join("; ")
        ));
    }
    let outcome = outcome.map_err(Failure::failed)?;
    closed.map(|()| outcome)
}

/// Gives the heads the answers of their teachers; false where it was asked to stop before that.
fn learn(
    config: &Config,
    job: &mut Job,
    run: &RunDir,
    device: &Device,
    detail: Detail,
) -> Result<bool, Failure> {
    answers::learn(config, job, Some(run), device, (detail != Detail::Warnings, stop_flag()))
}

/// A run that was asked to stop before its first step. What it has is its config, which it begins with when it is resumed.
fn untrained(run: &RunDir) -> Outcome {
    Outcome::Interrupted { step: 0, checkpoint: run.checkpoint(0) }
}

/// Removes the scores that `evaluate` kept: they are of a model that this training replaces.
fn forget_scores(run: &RunDir) {
    for split in data::Split::ALL {
        let _ = std::fs::remove_file(super::evaluate::scores_path(run, split));
    }
}

/// Writes when a run ended, what the model of a finished one answers on held-out rows, and the run's page, also of one that failed
/// (`outcome` is `None`). Prints what each task got and gave.
fn write_report(
    config: &Config,
    job: &Job,
    run: &RunDir,
    outcome: Option<&Outcome>,
    (device, detail): (&Device, Detail),
) -> Result<(), Failure> {
    Environment::end(run)?;
    if matches!(outcome, Some(Outcome::AlreadyFinished { .. })) {
        return Ok(());
    }
    let is_finished = matches!(outcome, Some(Outcome::Finished { .. }));
    if is_finished {
        HeldOut::write(job, config.train.tokens_per_batch, run, stop_flag())?;
        if let Err(failure) = distill::report::write(config, job, run, device, detail != Detail::Warnings) {
            let reasons = failure.messages.join("; ");
            output::error(format_args!("warning: the student is not held against its teachers: {reasons}"));
        }
        write_branches(job, run, detail)?;
    }
    let read = run_report::RunFiles::read(run.root())?;
    if is_finished && detail == Detail::Tables {
        output::text(run_report::outcome_table(&read));
    }
    let page = run_report::page_path(run);
    write(&page, run_report::run_page(&read).as_bytes())?;
    if detail == Detail::Tables {
        output::line(format_args!("  curves, scores and errors: {}", page.display()));
    }
    Ok(())
}

/// Writes and says which branches a search for them has found, as a table that trains them.
fn write_branches(job: &Job, run: &RunDir, detail: Detail) -> Result<(), Failure> {
    let Some(levels) = job.model.trunk.sharing().branches(&job.model.parameters) else { return Ok(()) };
    let path = run.root().join("branches.toml");
    if levels.is_empty() {
        // That of an earlier training says what this one has not found.
        let _ = std::fs::remove_file(&path);
        if detail != Detail::Warnings {
            output::line(format_args!(
                "  branches: none; the search has found that all tasks share every layer"
            ));
        }
        return Ok(());
    }
    let table =
        BTreeMap::from([("sharing", BTreeMap::from([("branch", BTreeMap::from([("levels", &levels)]))]))]);
    let text = toml::to_string(&table).map_err(Failure::failed)?;
    write(&path, text.as_bytes())?;
    if detail != Detail::Warnings {
        for level in &levels {
            let groups: Vec<String> = level.groups.iter().map(|group| group.join(" + ")).collect();
            output::line(format_args!("  branches from layer {}: {}", level.first_layer, groups.join(" | ")));
        }
        output::line(format_args!("  in place of [sharing.learn_to_branch], {} trains them", path.display()));
    }
    Ok(())
}

/// Whether a run that goes on, or begins again for want of a checkpoint, has got a greater length on the command line, so that its own
/// config has to say so.
///
/// # Errors
/// It cannot be trained further: to be found before its config is written.
fn is_lengthened(job: &Job, config: &Config, text: &str, run: &RunDir) -> Result<bool, Failure> {
    let path = run.config();
    if files::read(&path).map_err(|e| Failure::io("reading", &path, e))? == text.as_bytes() {
        return Ok(false);
    }
    match train::lengthened(job, &config.settings(), run) {
        Ok(Some(_)) => Ok(true),
        Ok(None) => train::checkpoints(run).map(|steps| steps.is_empty()).map_err(Failure::failed),
        Err(error @ TrainError::NotLonger { .. }) => Err(Failure::refused([error])),
        Err(error) => Err(Failure::failed(error)),
    }
}

/// The memory limit of a run on the processor: `[train] max_memory_gib`, or all that there is.
fn memory_limit(config: &Config, job: &Job) -> Option<Arc<dyn MemoryLimit>> {
    let bytes = config.train.max_memory_gib.map(memory::bytes_of_gib);
    let bytes = bytes.or_else(memory::allowed).filter(|_| config.train.device == DeviceName::Cpu)?;
    // A backward pass takes as much as all gradients at once.
    Some(Arc::new(ProcessMemoryLimit::new(bytes, memory::gradient_bytes(&job.model.parameters))))
}

/// Whether the run was asked to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// A flag that SIGINT, SIGTERM and SIGHUP set. A second signal ends the program at once.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    // Fails only where a handler is set already: by an earlier run of this program, to the same effect.
    let _ = ctrlc::set_handler(request_stop);
    &STOP
}

/// Asks the run to stop after its step; asked again, ends the program at once.
fn request_stop() {
    if STOP.swap(true, Ordering::Relaxed) {
        dashboard::restore_terminal();
        output::error("stopped at once: what was done since the last checkpoint is lost");
        std::process::exit(FAILED.into());
    }
    output::error("\nstopping after this step; again to stop at once, without saving");
}

/// The name of a config's run.
pub(super) fn name(file: &Path) -> String {
    file.file_stem().map_or("run".into(), |stem| stem.to_string_lossy().into_owned())
}

/// A line that `predict` answers, as a shell wants it: a text, or an object with the fields of the first task if none reads one.
fn line(config: &Config) -> String {
    let kinds = config.task.iter().filter_map(|(name, task)| task.build(name).ok());
    let inputs: Vec<InputField> = kinds.map(|kind| kind.input()).collect();
    let object = |input: &InputField| match input {
        InputField::Pair(first, second) | InputField::Windows { fields: [first, second], .. } => {
            Some(format!(r#"{{"{first}": "a text", "{second}": "another"}}"#))
        }
        InputField::Choices(first, second) => {
            Some(format!(r#"{{"{first}": "a text", "{second}": ["one", "another"]}}"#))
        }
        InputField::Marked(EntityMarkers { text, head, tail, words, .. }) => {
            let (value, spans) = match words {
                true => (r#"["one", "two"]"#, [[0, 1], [1, 2]]),
                false => (r#""one two""#, [[0, 3], [4, 7]]),
            };
            let [first, second] = spans.map(|[start, end]| format!("[{start}, {end}]"));
            Some(format!(r#"{{"{text}": {value}, "{head}": {first}, "{tail}": {second}}}"#))
        }
        InputField::Chat { source: ChatSource::Messages(field), .. } => {
            Some(format!(r#"{{"{field}": [{{"role": "user", "content": "a text"}}]}}"#))
        }
        InputField::Chat { source: ChatSource::Turn { .. }, .. } => None,
        InputField::Text(_)
        | InputField::Windowed { .. }
        | InputField::Prefixed { .. }
        | InputField::Completion { .. }
        | InputField::Words(_)
        | InputField::SplitText(_) => None,
    };
    let objects: Option<Vec<String>> = inputs.iter().map(object).collect();
    match objects.and_then(|objects| objects.into_iter().next()) {
        Some(object) => format!("'{object}'"),
        None => "\"a text\"".into(),
    }
}

fn describe(config: &Config, device: &Device) -> String {
    let tasks: Vec<&str> = config.task.keys().map(String::as_str).collect();
    format!(
        "polytask {}: {} ({}), seed {}, {}, on {}{}",
        env!("CARGO_PKG_VERSION"),
        counted(tasks.len(), "task"),
        tasks.join(", "),
        config.train.seed,
        counted(rayon::current_num_threads(), "thread"),
        super::describe_device(config.train.device, device),
        super::describe_precision(&config.train)
    )
}

/// Writes a file whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    files::write(path, bytes).map_err(|e| Failure::io("writing", path, e))
}
