//! `polytask demo`: the classic example. One small model (embedding, average pooling, three outputs) is trained on
//! topic, sentiment and named entities of the same texts, and held against three separate models.

mod grammar;

use crate::cli;
use crate::commands::{self, evaluate::score, predict::answer_texts, train::run_config};
use crate::config::{self, Config};
use crate::failure::{FAILED, Failure, INTERRUPTED, REFUSED};
use crate::job::run_lock::RunLock;
use crate::terminal::figures::{change, count, duration, points, short};
use crate::terminal::output;
use crate::terminal::progress::Detail;
use crate::terminal::table::Table;
use burn::tensor::Device;
use data::Split;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use train::{Evaluation, Outcome, RunDir, Start};

const CONFIG: &str = include_str!("demo.toml");
const TASKS: [&str; 3] = ["topic", "sentiment", "entities"];

/// A trained model, measured.
struct Measured {
    test: Evaluation,
    parameters: usize,
    time: Duration,
}

/// Writes the corpus, trains the four models, prints the comparison and some answers.
pub fn demo(args: &cli::Demo) -> Result<u8, Failure> {
    let device = commands::open_device(args.device)?;
    commands::with_threads(None, || compare(args, &device))
}

fn compare(args: &cli::Demo, device: &Device) -> Result<u8, Failure> {
    let data = args.dir.join("data");
    let _lock = remove_previous(&args.dir)?;
    let corpus = grammar::corpus(args.seed);
    grammar::write(&data, &corpus).map_err(|e| Failure::io("writing the corpus in", &data, e))?;
    output::line(format_args!(
        "\n  {} training, {} validation and {} test sentences in {}; the latter two come from templates and\n  names that \
         training never shows. Three tasks on the same texts: topic, sentiment, named entities.\n",
        count(corpus.train.len()),
        count(corpus.validation.len()),
        count(corpus.test.len()),
        data.display()
    ));
    let config_file = args.dir.join("demo.toml");
    commands::train::write(&config_file, CONFIG.as_bytes())?;

    output::line(format_args!("  One model for the three tasks ({})\n", config_file.display()));
    let together = train(args, device, &config_file, None)?;
    let mut apart = BTreeMap::new();
    for task in TASKS {
        output::line(format_args!("  A model for {task} alone, with the same epochs and the same backbone"));
        apart.insert(task, train(args, device, &config_file, Some(task))?);
    }
    output::line(format_args!("\n  Test split, in points of a hundred\n\n{}", comparison(&together, &apart)));
    output::line("  What the one model says of three sentences that it never saw\n");
    answers(&args.dir.join("one"), device)?;
    let root = args.dir.join("one");
    output::line(format_args!(
        "\n  Ask it yourself:  echo \"a sentence\" | polytask predict {}",
        root.display()
    ));
    output::line("  Your own data:    polytask init, then polytask check and polytask train");
    Ok(0)
}

/// The demo's directory, locked, without an earlier demo in it. Nothing but what a demo wrote is removed.
fn remove_previous(dir: &Path) -> Result<RunLock, Failure> {
    let run = RunDir::new(dir);
    let lock = match dir.join("demo.toml").exists() {
        true => RunLock::existing(&run)?,
        false => RunLock::create(&run).map_err(|failure| match failure.code {
            REFUSED => Failure::refused([format!(
                "{} holds something else than a demo, or another demo has just begun there; give another --dir",
                dir.display()
            )]),
            _ => failure,
        })?,
    };
    for name in ["data", "one"].into_iter().chain(TASKS) {
        let old = dir.join(name);
        if old.exists() {
            fs::remove_dir_all(&old).map_err(|e| Failure::io("removing", &old, e))?;
        }
    }
    Ok(lock)
}

/// Trains the config, for all tasks or for one alone, and scores the test split.
fn train(args: &cli::Demo, device: &Device, file: &Path, alone: Option<&str>) -> Result<Measured, Failure> {
    let mut config: Config = read(file, args)?;
    if let Some(task) = alone {
        config.task.retain(|name, _| name == task);
    }
    let root: PathBuf = args.dir.join(alone.unwrap_or("one"));
    let run = RunDir::new(&root);
    let detail = if alone.is_some() { Detail::Warnings } else { Detail::Lines };
    let began = Instant::now();
    let lock = RunLock::create(&run)?;
    let outcome = run_config(&config, device, &run, Start::Fresh, detail)?;
    drop(lock);
    if let Outcome::Interrupted { .. } = outcome {
        return Err(Failure { messages: vec!["the demo was interrupted".into()], code: INTERRUPTED });
    }
    let time = began.elapsed();
    let model = commands::open_model(&root, device)?;
    let (trunk, heads) = model.sizes();
    let (test, _) = score(&config, model, Split::Test)?;
    Ok(Measured { test, parameters: trunk + heads.values().sum::<usize>(), time })
}

fn read(file: &Path, args: &cli::Demo) -> Result<Config, Failure> {
    let set = [format!("train.seed={}", args.seed), format!("train.device={}", args.device)];
    let loaded = config::load(file, &set, &[]);
    loaded.map(|(config, _)| config).map_err(|text| Failure { messages: vec![text], code: FAILED })
}

fn comparison(together: &Measured, apart: &BTreeMap<&str, Measured>) -> String {
    let mut table = Table::new(&["task", "metric", "one model", "three models", "difference"]);
    for scored in &together.test.tasks {
        let Some(own) = apart.get(scored.task.as_str()).and_then(|m| m.test.tasks.first()) else { continue };
        table.row([
            scored.task.clone(),
            scored.scores.primary.clone(),
            points(scored.primary()),
            points(own.primary()),
            change(scored.primary() - own.primary()),
        ]);
    }
    let parameters: usize = apart.values().map(|m| m.parameters).sum();
    let time: Duration = apart.values().map(|m| m.time).sum();
    let share = |one: f64, three: f64| format!("{:.0} %", 100.0 * one / three);
    table.rule();
    table.row([
        "parameters".into(),
        String::new(),
        short(together.parameters),
        short(parameters),
        share(together.parameters as f64, parameters as f64),
    ]);
    table.row([
        "training time".into(),
        String::new(),
        duration(together.time),
        duration(time),
        share(together.time.as_secs_f64(), time.as_secs_f64()),
    ]);
    table.render()
}

fn answers(run: &Path, device: &Device) -> Result<(), Failure> {
    let model = commands::open_model(run, device)?;
    let mut out = Vec::new();
    answer_texts(&model, SENTENCES.as_bytes(), &mut out)?;
    for line in String::from_utf8_lossy(&out).lines() {
        let answer: serde_json::Value = serde_json::from_str(line).map_err(Failure::failed)?;
        let tasks = &answer["tasks"];
        let label = |task: &str| {
            let probability = tasks[task]["probability"].as_f64().unwrap_or(0.0);
            format!("{} ({:.2})", tasks[task]["label"].as_str().unwrap_or("?"), probability)
        };
        let entities: Vec<String> = tasks["entities"]["entities"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| {
                format!("{} = {}", e["text"].as_str().unwrap_or("?"), e["label"].as_str().unwrap_or("?"))
            })
            .collect();
        let entities = if entities.is_empty() { "no names".into() } else { entities.join(", ") };
        output::line(format_args!("  \"{}\"", answer["text"].as_str().unwrap_or_default()));
        output::line(format_args!("      {}; {}; {entities}\n", label("topic"), label("sentiment")));
    }
    Ok(())
}

const SENTENCES: &str = "\
The crowd in Lisbon cheered when Jordan scored a wonderful goal in the final minute .
Shares of Santander fell sharply after the bank reported a disappointing quarter .
Although the hotel in Virginia was small , the view over the bay delighted us .
";
