//! The command line: its commands and options, in words; `commands` runs them.

use crate::commands::affinity::By;
use crate::commands::predict::InputFormat;
use crate::study::derive::Budget;
use clap::{Args, Parser, Subcommand, ValueEnum};
use model::DeviceName;
use std::path::PathBuf;

/// Trains one language model on many tasks, and uses it.
#[derive(Parser)]
#[command(
    name = "polytask",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Train the classic example: one small model for three tasks, beside three separate models
    Demo(Demo),
    /// Train the model that a config describes
    Train(Train),
    /// Train a student from the answers of models that were trained before, the teachers that a config's [distill] names
    Distill(Distill),
    /// Show a run, or the runs in a directory, live in the terminal while they are trained
    Watch(Watch),
    /// Write the page of a run, or of several runs side by side: curves, scores, errors; and the curves as CSV
    Report(Report),
    /// Score a trained model on a split of its corpora
    Evaluate(Evaluate),
    /// Answer every task for texts on standard input, one JSON object a line
    Predict(Predict),
    /// Validate config, data and model without training, and print the plan
    Check(Check),
    /// Try learning rates from next to nothing until training diverges, and propose one; trains nothing for good
    LrFind(LrFind),
    /// Print what each task will get of a run, rows, epochs, tokens, computation, time, without training
    Plan(Plan),
    /// Report what is in a config's corpora: sizes, labels, repeated rows and leaks, how far apart they are
    Inspect(Inspect),
    /// Train the model for all tasks and a model for each task alone, over several seeds, and say whether sharing helped
    Compare(Compare),
    /// Measure which tasks help which, and propose which to train together
    Affinity(Affinity),
    /// Train with many settings, as the config's [sweep] says, and write the config that was best in validation
    Sweep(Sweep),
    /// Merge models that were trained from one checkpoint into one for all their tasks, without training
    Merge(Merge),
    /// Cut out of a trained model the layers, heads and feed-forward columns that its tasks depend on least
    Prune(Prune),
    /// Write a trained model whose matrices are products of two smaller ones, for the inputs that its corpora give
    Factorize(Factorize),
    /// Write a trained model with int8 weights: a quarter of the size, faster on processors with instructions for it
    Quantize(Quantize),
    /// Write a trained model as a file for other programs: ONNX, or GGUF of a decoder
    Export(Export),
    /// Write a commented starter config
    Init(Init),
    /// List what can be configured: kinds, backbones, samplers, balancers, optimizers, schedules, lr_adaptation, sharing, merging, metrics
    List {
        /// Only this family
        family: Option<String>,
    },
    /// Explain one member of a family: formula, defaults, when to use it, source
    Explain {
        /// Its name, as `polytask list` shows it
        name: String,
    },
    /// Print the JSON Schema of the config, for editors
    Schema,
    /// One training of a study, in a process of its own
    #[command(hide = true)]
    Trial(Trial),
}

/// How a config file is read.
#[derive(Args, Clone, Default)]
pub struct Overrides {
    /// Override a key of the config, for example `train.epochs=1`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Give `${NAME}` in the config's paths a value, over its `[paths]`; may be repeated
    #[arg(long = "define", value_name = "NAME=VALUE")]
    pub define: Vec<String>,
}

/// `polytask demo`
#[derive(Args)]
pub struct Demo {
    /// Seed of the corpus, of the weights and of every draw
    #[arg(long, default_value_t = 17)]
    pub seed: u64,
    /// What computes: cpu, cuda or wgpu
    #[arg(long, value_parser = device, default_value_t)]
    pub device: DeviceName,
    /// Where to put the corpus, the configs and the runs
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    pub dir: PathBuf,
}

/// `polytask train`
#[derive(Args)]
pub struct Train {
    /// The config
    #[arg(value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub file: Option<PathBuf>,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
    /// The run's directory, empty or not there [default: runs/ and the config's name, numbered if it exists]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub run: Option<PathBuf>,
    /// Train a model for each group of tasks in a file, as `affinity` writes it, each a run in the directory
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub groups: Option<PathBuf>,
    /// Go on with an interrupted run, exactly where its last checkpoint stands; with `--set train.epochs=N` (or train.max_steps,
    /// train.max_tokens, train.max_minutes), train an interrupted or finished run further
    #[arg(long, value_name = "RUN", conflicts_with = "define")]
    pub resume: Option<PathBuf>,
    /// Show tables and curves on the whole screen while it is trained, as `polytask watch` does
    #[arg(long, conflicts_with = "groups")]
    pub dashboard: bool,
}

/// `polytask distill`
#[derive(Args, Clone)]
pub struct Distill {
    /// The config of the student, with a table `[distill]`
    #[arg(value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub file: Option<PathBuf>,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
    /// The run's directory, empty or not there [default: runs/ and the config's name, numbered if it exists]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub run: Option<PathBuf>,
    /// Go on with an interrupted run, exactly where its last checkpoint stands; the teachers' answers that are there are taken
    #[arg(long, value_name = "RUN", conflicts_with = "define")]
    pub resume: Option<PathBuf>,
    /// Show tables and curves on the whole screen while it is trained, as `polytask watch` does
    #[arg(long)]
    pub dashboard: bool,
}

/// `polytask watch`
#[derive(Args)]
pub struct Watch {
    /// The run's directory; or a directory of runs, or of a study
    #[arg(value_name = "RUN|DIR")]
    pub path: PathBuf,
    /// Print one table of where things stand, and end; so it is without a terminal
    #[arg(long)]
    pub once: bool,
}

/// `polytask report`
#[derive(Args)]
pub struct Report {
    /// The run's directory; several are laid side by side
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Where to write the page [default: report.html in the run, of several runs ./report.html]
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the curves as CSV, a line for each point: into FILE.csv, or into a folder with a file for each run
    #[arg(long, value_name = "FILE.csv|DIR")]
    pub csv: Option<PathBuf>,
    /// Export the runs to an MLflow server too, for example http://127.0.0.1:5000; again: what is new of them
    #[arg(long, value_name = "URL")]
    pub mlflow: Option<String>,
    /// The experiment there; it is made where there is none
    #[arg(long, value_name = "NAME", default_value = "polytask", requires = "mlflow")]
    pub experiment: String,
}

/// `polytask evaluate`
#[derive(Args)]
pub struct Evaluate {
    /// The run's directory
    pub run: PathBuf,
    /// What computes: cpu, cuda or wgpu [default: what the run was trained on]
    #[arg(long, value_parser = device)]
    pub device: Option<DeviceName>,
    /// The split to score: train, validation or test
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Print one JSON object in place of the table
    #[arg(long)]
    pub json: bool,
}

/// `polytask predict`
#[derive(Args)]
pub struct Predict {
    /// The run's directory, or a `model/` directory out of one
    pub run: PathBuf,
    /// Files with rows to answer, in any format that corpora have [default: standard input]
    pub files: Vec<PathBuf>,
    /// The format: `text` (a text a line), `jsonl` (an object a line, or an array of objects), csv, tsv, conll, conllu, fasttext, parquet; `auto` goes by a file's name, of standard input by its first line
    #[arg(long, alias = "input", default_value = "auto", value_parser = InputFormat::parse)]
    pub format: InputFormat,
    /// The separator of columns in CSV, TSV and CoNLL
    #[arg(long)]
    pub delimiter: Option<char>,
    /// Only the answers of this task; may be repeated
    #[arg(long)]
    pub task: Vec<String>,
    /// A field of the row that its answer repeats, for example `id`; may be repeated
    #[arg(long, value_name = "FIELD")]
    pub echo: Vec<String>,
    /// A setting of decoding in the place of the config's, for tasks that write, for example `beams=4`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub decoding: Vec<String>,
    /// List the probabilities of all labels, not of the most probable ones alone
    #[arg(long)]
    pub all_probabilities: bool,
    /// Threads [default: as many as processors]
    #[arg(long)]
    pub threads: Option<usize>,
    /// What computes: cpu, cuda or wgpu
    #[arg(long, value_parser = device, default_value_t)]
    pub device: DeviceName,
}

/// `polytask check`
#[derive(Args)]
pub struct Check {
    /// The config; or a file with data, of which its fields are shown and a config is proposed
    pub file: PathBuf,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
}

/// `polytask inspect`
#[derive(Args)]
pub struct Inspect {
    /// The config
    pub file: PathBuf,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
    /// Write the report as a page with figures, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    pub json: bool,
    /// Measure distances between corpora by their tokens alone, without running the backbone
    #[arg(long)]
    pub no_states: bool,
}

/// `polytask lr-find`
#[derive(Args)]
pub struct LrFind {
    /// The config
    pub file: PathBuf,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
    /// How many rates, a step of training each
    #[arg(long, default_value_t = 100)]
    pub steps: usize,
    /// The lowest learning rate of the trunk; heads keep their ratio to it
    #[arg(long, value_name = "RATE", default_value_t = 1e-7)]
    pub from: f64,
    /// The highest
    #[arg(long, value_name = "RATE", default_value_t = 1.0)]
    pub to: f64,
    /// Draw the losses into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object in place of the table
    #[arg(long)]
    pub json: bool,
}

/// `polytask plan`
#[derive(Args)]
pub struct Plan {
    /// The config
    pub file: PathBuf,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
    /// Draw the shares and the learning rate over the run
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    pub json: bool,
    /// Do not measure what each task costs on this machine
    #[arg(long)]
    pub no_timing: bool,
}

/// `polytask compare`
#[derive(Args)]
pub struct Compare {
    /// The config
    #[arg(value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub file: Option<PathBuf>,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
    /// Seeds, beginning with `train.seed`; with one there is no verdict
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000), conflicts_with = "resume")]
    pub seeds: u64,
    /// What models for fewer tasks get
    #[arg(long, value_enum, default_value = "steps", conflicts_with = "resume")]
    pub budget: Budget,
    /// Compare several models for all tasks: `balance=equal,uncertainty,upgrad`, also `sampling`, `sharing`, or any key that says how
    /// tasks go together, such as `train.gradient_scope`; may be repeated, for all combinations
    #[arg(long, value_name = "KEY=VALUE,...", conflicts_with = "resume")]
    pub grid: Vec<String>,
    /// Train every model with each value and keep the best in validation, with the first seed, such as
    /// `optimizer.adamw.learning_rate=1e-4,3e-4`; may be repeated, for all combinations
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub tune: Vec<String>,
    /// A model for every two tasks, too
    #[arg(long, conflicts_with = "resume")]
    pub pairs: bool,
    /// A model for each group of a file, too, as `affinity` writes it
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub groups: Option<PathBuf>,
    /// Leave the models for each task alone out: the first model for all is the reference then
    #[arg(long, conflicts_with = "resume")]
    pub no_alone: bool,
    /// Models that were trained before, pruned and quantized ones too, a run for each seed: `int8=runs/int8`; may be repeated. With
    /// --resume they join a comparison
    #[arg(long, value_name = "NAME=RUN,...")]
    pub trained: Vec<String>,
    /// Train nothing: the models of --trained are held against the first of them
    #[arg(long, requires = "trained", conflicts_with_all = ["resume", "grid", "tune", "pairs", "groups", "no_alone"])]
    pub no_training: bool,
    /// The split to score: test or validation; validation takes its place where a corpus has no labelled test rows
    #[arg(long, default_value = "test", value_parser = ["test", "validation"], conflicts_with = "resume")]
    pub split: String,
    /// Bootstrap samples of the scored rows
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(50..=100_000), conflicts_with = "resume")]
    pub resamples: u64,
    /// Trainings at once [default: as many as processors, where memory allows]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub jobs: Option<u64>,
    /// The directory, empty or not there [default: runs/ and the config's name with `-compare`, numbered if it exists]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub dir: Option<PathBuf>,
    /// Go on with an interrupted comparison
    #[arg(long, value_name = "DIR", conflicts_with_all = ["set", "define"])]
    pub resume: Option<PathBuf>,
    /// Say what it costs, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    pub json: bool,
}

/// `polytask affinity`
#[derive(Args)]
pub struct Affinity {
    /// The config
    #[arg(value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub file: Option<PathBuf>,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
    /// Train a model for every two tasks, too, and hold it against one for each
    #[arg(long, conflicts_with = "resume")]
    pub pairs: bool,
    /// Train each task from the trunk of each other, too, and hold it against the task alone
    #[arg(long, conflicts_with = "resume")]
    pub intermediate: bool,
    /// Seeds of every training, beginning with `train.seed` [default: 1, with --pairs or --intermediate 3]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000), conflicts_with = "resume")]
    pub seeds: Option<u64>,
    /// How often the model for all tasks is measured, about; a config with `train.affinity_steps` says so itself
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(4..=100_000), conflicts_with = "resume")]
    pub measurements: u64,
    /// By what to group tasks [default: pairs where they are trained, else tag]
    #[arg(long, value_enum)]
    pub by: Option<By>,
    /// The most models that `groups.toml` has; the table has every number
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub models: u64,
    /// The split that --pairs and --intermediate score: validation, so that groups are not chosen by the test, or test
    #[arg(long, default_value = "validation", value_parser = ["validation", "test"], conflicts_with = "resume")]
    pub split: String,
    /// Trainings at once [default: as many as processors, where memory allows]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub jobs: Option<u64>,
    /// The directory, empty or not there [default: runs/ and the config's name with `-affinity`, numbered if it exists]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub dir: Option<PathBuf>,
    /// Go on with an interrupted study, or group a finished one by something else
    #[arg(long, value_name = "DIR", conflicts_with_all = ["set", "define"])]
    pub resume: Option<PathBuf>,
    /// Say what it costs, and stop
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    pub json: bool,
}

/// `polytask sweep`
#[derive(Args)]
pub struct Sweep {
    /// The config, with a table [sweep] that says what to try
    #[arg(value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub file: Option<PathBuf>,
    /// How it is read
    #[command(flatten)]
    pub overrides: Overrides,
    /// Trainings at once [default: as many as processors, where memory allows]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub jobs: Option<u64>,
    /// The directory, empty or not there [default: runs/ and the config's name with `-sweep`, numbered if it exists]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub dir: Option<PathBuf>,
    /// Go on with an interrupted sweep
    #[arg(long, value_name = "DIR", conflicts_with_all = ["set", "define"])]
    pub resume: Option<PathBuf>,
    /// Say what is tried and what it costs, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object in place of the table
    #[arg(long)]
    pub json: bool,
}

/// `polytask export`
#[derive(Args)]
pub struct Export {
    /// The run's directory, or a `model/` directory out of one
    pub run: PathBuf,
    /// The format
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// What to write: of onnx a folder, empty or not there; of gguf a file that is not there
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Only this task; may be repeated [default: all]
    #[arg(long)]
    pub task: Vec<String>,
    /// The numbers of the trunk's weights, of onnx [default: f32]
    #[arg(long, value_enum)]
    pub precision: Option<ExportPrecision>,
    /// Only the LoRA of the one task that --task names, of gguf: for a file of the frozen base
    #[arg(long, conflicts_with_all = ["quantization", "precision"])]
    pub adapter: bool,
    /// The numbers of the matrices, of gguf [default: f16]
    #[arg(long, value_enum)]
    pub quantization: Option<ExportQuantization>,
}

/// A file format of other programs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A graph for onnxruntime and others: the trunk and all heads
    Onnx,
    /// A decoder for llama.cpp and what is built on it
    Gguf,
}

/// What the matrices of a GGUF file are made of.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ExportQuantization {
    /// 32-bit floating point
    F32,
    /// 16-bit floating point
    F16,
    /// 8 bits, in blocks of 32
    #[value(name = "q8_0")]
    Q80,
    /// 4 bits, in blocks of 32
    #[value(name = "q4_0")]
    Q40,
    /// 4 bits, in blocks of 256
    #[value(name = "q4_k")]
    Q4K,
}

/// What an ONNX graph's large products are made of.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportPrecision {
    /// 32-bit floating point
    #[default]
    F32,
    /// Bytes, with a scale for each output of a layer; of the states one for the batch
    Int8,
    /// The same, of the states one for each token
    #[value(name = "int8_per_token")]
    Int8PerToken,
}

impl ExportPrecision {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ExportPrecision::F32 => "f32",
            ExportPrecision::Int8 => "int8",
            ExportPrecision::Int8PerToken => "int8_per_token",
        }
    }
}

/// `polytask merge`
#[derive(Args)]
pub struct Merge {
    /// The runs, or their `model/` directories, two or more
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The method: `polytask list merging` has them all
    #[arg(long, value_name = "NAME", default_value = "average")]
    pub method: String,
    /// The directory of the result, empty or not there [default: runs/merged, numbered if it exists]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The checkpoint that all of them were trained from [default: that of their configs, where it is the same]
    #[arg(long, value_name = "FOLDER")]
    pub base: Option<String>,
    /// How much each counts: `1,0.5` in the order of the runs, or `intent=1,polarity=0.5` by a run or one of its tasks [default: alike]
    #[arg(long, value_name = "WEIGHTS")]
    pub weights: Option<String>,
    /// The factor of the merged change: task_arithmetic, ties, dare_*, della*, breadcrumbs*
    #[arg(long, allow_negative_numbers = true)]
    pub lambda: Option<f64>,
    /// The share of changes that is kept: ties, dare_*, della*, breadcrumbs*
    #[arg(long, allow_negative_numbers = true)]
    pub density: Option<f64>,
    /// How far the probabilities of large and small changes are from the density: della*
    #[arg(long, allow_negative_numbers = true)]
    pub epsilon: Option<f64>,
    /// The share of the largest changes that is dropped: breadcrumbs*
    #[arg(long, allow_negative_numbers = true)]
    pub gamma: Option<f64>,
    /// The share of positions that is kept: sce
    #[arg(long, allow_negative_numbers = true)]
    pub share: Option<f64>,
    /// A factor for each row of a matrix: model_stock
    #[arg(long)]
    pub per_row: bool,
    /// Training rows of each task: fisher
    #[arg(long, value_name = "N")]
    pub fisher_rows: Option<usize>,
    /// The seed of random masks and of the rows that are drawn: dare_*, della*, fisher
    #[arg(long)]
    pub seed: Option<u64>,
    /// Fit the heads again on the merged trunk, which stays as it is, with the training rows of all runs: a second model in DIR/refit
    #[arg(long)]
    pub refit: bool,
    /// Steps of that
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000_000), requires = "refit")]
    pub refit_steps: u64,
    /// The split on which all models are scored: train, validation or test
    #[arg(long, default_value = "validation")]
    pub split: String,
    /// Score nothing
    #[arg(long, conflicts_with = "split")]
    pub no_evaluate: bool,
    /// What scores, and computes gradients: cpu, cuda or wgpu
    #[arg(long, value_parser = device, default_value_t)]
    pub device: DeviceName,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    pub json: bool,
}

/// The bits of a code.
#[derive(Clone, Copy, ValueEnum)]
pub enum Bits {
    /// Eight.
    #[value(name = "8")]
    Eight,
    /// Four.
    #[value(name = "4")]
    Four,
}

/// How numbers are rounded to four bits.
#[derive(Clone, Copy, ValueEnum)]
pub enum Rounding {
    /// Half-quadratic quantization.
    Hqq,
    /// The range of each group.
    Minmax,
    /// Later inputs make up for the errors of earlier ones.
    Gptq,
}

/// `polytask quantize`
#[derive(Args)]
pub struct Quantize {
    /// The run's directory
    pub run: PathBuf,
    /// The directory of the result, empty or not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The bits of a code: 8 is faster, 4 is smaller
    #[arg(long, value_enum, default_value = "8")]
    pub bits: Bits,
    /// How four bits are found: hqq, by default; minmax, the range of each group; gptq, for what layers read on rows of the corpora
    #[arg(long, value_enum, value_name = "METHOD")]
    pub rounding: Option<Rounding>,
    /// Rows of each corpus that gptq reads, of the train split
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = rows)]
    pub rows: usize,
    /// The seed that they are drawn by
    #[arg(long, default_value_t = 17)]
    pub seed: u64,
    /// The most points of a hundred that a task's validation score may lose: layers get more bits until all tasks are within
    #[arg(long, value_name = "POINTS")]
    pub keep_score: Option<f64>,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    pub json: bool,
}

/// `polytask prune`
#[derive(Args)]
pub struct Prune {
    /// The run's directory
    pub run: PathBuf,
    /// The directory of the result, empty or not there; or that of the same command, interrupted: it goes on with what it had measured
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The share of feed-forward columns that stays in every layer
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub ffn: Option<f64>,
    /// The share of attention heads that stays in every layer, with their keys and values; of decoders
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub heads: Option<f64>,
    /// How many dimensions of the states stay; of BERT and its relatives a multiple of the size of a head, whole heads go with them
    #[arg(long, value_name = "N")]
    pub hidden: Option<usize>,
    /// How many layers stay
    #[arg(long, value_name = "N")]
    pub layers: Option<usize>,
    /// Which of them
    #[arg(long, value_enum, default_value = "importance", requires = "layers")]
    pub layers_by: LayersBy,
    /// Rows of each task that importance is measured on
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = rows)]
    pub rows: usize,
    /// The split that they are of: train, validation or test
    #[arg(long, default_value = "train")]
    pub split: String,
    /// The seed that they are drawn by
    #[arg(long, default_value_t = 17)]
    pub seed: u64,
    /// What computes: cpu, cuda or wgpu [default: what the run was trained on]
    #[arg(long, value_parser = device)]
    pub device: Option<DeviceName>,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    pub json: bool,
}

/// `polytask factorize`
#[derive(Args)]
pub struct Factorize {
    /// The run's directory
    pub run: PathBuf,
    /// The directory of the result, empty or not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The share of its parameters that each matrix of attention and feed-forward parts keeps
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, conflicts_with_all = ["attention", "ffn"])]
    pub rank: Option<f64>,
    /// The same of the attention alone: queries, keys, values, output
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub attention: Option<f64>,
    /// The same of feed-forward parts alone
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub ffn: Option<f64>,
    /// The rank of the table of token vectors: [vocabulary, RANK] x [RANK, width]
    #[arg(long, value_name = "RANK")]
    pub embeddings: Option<usize>,
    /// Rows of each corpus whose states the errors of matrices are weighed by
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = rows)]
    pub rows: usize,
    /// The split that they are of: train, validation or test
    #[arg(long, default_value = "train")]
    pub split: String,
    /// The seed that they are drawn by
    #[arg(long, default_value_t = 17)]
    pub seed: u64,
    /// What computes: cpu, cuda or wgpu [default: what the run was trained on]
    #[arg(long, value_parser = device)]
    pub device: Option<DeviceName>,
    /// Print one JSON object in place of the tables
    #[arg(long)]
    pub json: bool,
}

/// Which layers stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LayersBy {
    /// The most important ones
    #[default]
    Importance,
    /// By the losses of the tasks without them: the least harmful one goes first, then again with that one gone
    Loss,
    /// Evenly spread ones, as a student of `distill.layers` has them
    Spacing,
}

impl LayersBy {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            LayersBy::Importance => "importance",
            LayersBy::Loss => "loss",
            LayersBy::Spacing => "spacing",
        }
    }
}

/// `polytask trial`
#[derive(Args)]
pub struct Trial {
    /// The config
    pub config: PathBuf,
    /// The directory of the run
    pub run: PathBuf,
    /// The split to score
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Bootstrap samples
    #[arg(long, default_value_t = 0)]
    pub resamples: usize,
    /// Threads, unless the config says how many
    #[arg(long)]
    pub threads: Option<usize>,
    /// Pause at the first evaluation after so many epochs
    #[arg(long)]
    pub until_epoch: Option<usize>,
    /// Train nothing: score the model of this run
    #[arg(long)]
    pub trained: Option<PathBuf>,
}

/// `polytask init`
#[derive(Args)]
pub struct Init {
    /// The file to write
    #[arg(default_value = "polytask.toml")]
    pub file: PathBuf,
}

/// A number of rows.
fn rows(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|rows| *rows > 0)
        .ok_or_else(|| "expected a number of rows, 1 or more".to_owned())
}

/// A device by its name.
fn device(name: &str) -> Result<DeviceName, String> {
    let found = DeviceName::ALL.into_iter().find(|device| device.name() == name);
    found.ok_or_else(|| format!("expected {}", DeviceName::ALL.map(DeviceName::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
