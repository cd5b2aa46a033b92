//! `polytask demo`: the classic example. One small model (embedding, average pooling, three outputs) is trained on
//! topic, sentiment and named entities of the same texts, and held against three separate models, over three seeds.

mod grammar;

use crate::cli;
use crate::commands::{self, compare, predict::answer_texts};
use crate::config::{self, Config};
use crate::failure::{FAILED, Failure, REFUSED};
use crate::job::run_lock::RunLock;
use crate::terminal::figures::{count, counted};
use crate::terminal::output;
use burn::tensor::Device;
use std::fs;
use std::path::Path;
use train::RunDir;

const CONFIG: &str = include_str!("demo.toml");

/// Seeds of the comparison.
const SEEDS: u64 = 3;

/// Writes the corpus, trains the models, prints the comparison and some answers.
pub fn demo(args: &cli::Demo) -> Result<u8, Failure> {
    let device = commands::open_device(args.device)?;
    let _lock = remove_previous(&args.dir)?;
    write_corpus(args)?;
    let config_file = args.dir.join("demo.toml");
    commands::train::write(&config_file, CONFIG.as_bytes())?;
    output::line(format_args!(
        "  One model for the three tasks ({}), and a model for each alone, with the same backbone,\n  the same first weights and \
         as many steps; {}\n",
        config_file.display(),
        counted(SEEDS as usize, "seed")
    ));
    let dir = args.dir.join("compare");
    let tables = compare::compare_plainly(&read(&config_file, args)?, &dir, SEEDS)?;
    output::text(tables);
    let root = compare::first_trial(&dir);
    output::line("\n  What the one model says of three sentences that it never saw\n");
    commands::with_threads(None, || answers(&root, &device))?;
    output::line(format_args!("\n  Look at it:       {}", dir.join("report.html").display()));
    output::line(format_args!(
        "  Ask it yourself:  echo \"a sentence\" | polytask predict {}",
        root.display()
    ));
    output::line("  Your own data:    polytask init, then polytask check and polytask train");
    Ok(0)
}

fn write_corpus(args: &cli::Demo) -> Result<(), Failure> {
    let data = args.dir.join("data");
    let corpus = grammar::corpus(args.seed);
    grammar::write(&data, &corpus).map_err(|e| Failure::io("writing the corpus in", &data, e))?;
    output::line(format_args!(
        "\n  {} training, {} validation and {} test sentences in {}; the latter two come from templates and\n  names that \
         training never shows. Three tasks on the same texts: topic and sentiment, which all sentences have, and\n  named entities, \
         which cost most to mark: {} training sentences have them.\n",
        count(corpus.train.len()),
        count(corpus.validation.len()),
        count(corpus.test.len()),
        data.display(),
        count(grammar::WITH_ENTITIES)
    ));
    Ok(())
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
    for name in ["data", "compare"] {
        let old = dir.join(name);
        if old.exists() {
            fs::remove_dir_all(&old).map_err(|e| Failure::io("removing", &old, e))?;
        }
    }
    Ok(lock)
}

fn read(file: &Path, args: &cli::Demo) -> Result<Config, Failure> {
    let set = [format!("train.seed={}", args.seed), format!("train.device={}", args.device)];
    let loaded = config::load(file, &set, &[]);
    loaded.map(|(config, _)| config).map_err(|text| Failure { messages: vec![text], code: FAILED })
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
