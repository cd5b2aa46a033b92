//! Steps of the trainer itself on tasks with rows of their own: what a balancing method adds to them.

use crate::{median, peak_mib, step::Sizes};
use burn::tensor::Device;
use data::{
    Encoded, InputField, NO_WORD_ID, Place, Row, Split, Tokenizer, TokenizerConfig, Value, View, random,
};
use model::{BertConfig, FromScratch, Parameters, Trunk};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, atomic::AtomicBool};
use std::time::Instant;
use train::{Event, HeadlessTask, Job, Model, RunDir, RunHooks, Settings, Start, TaskTable, Views};

const CLASSES: usize = 10;
/// Steps before those that count.
const WARM: usize = 2;

/// What is measured.
pub struct Case {
    /// A method's name.
    pub method: String,
    /// `train.gradient_scope`
    pub scope: String,
    /// How many classification tasks.
    pub tasks: usize,
    /// Rows of each in a step, in the mean; `length` tokens each.
    pub rows: usize,
    /// Tokens a row.
    pub length: usize,
    /// `train.activation_checkpointing`
    pub activation_checkpointing: bool,
}

/// Times steps of a run that learns nothing: token ids and labels are drawn.
pub fn measure(case: &Case, sizes: Sizes, repeats: usize) -> Result<serde_json::Value, String> {
    let steps = WARM + repeats;
    let mut job = job(case, sizes, steps);
    let settings = Settings {
        train: parsed(json!({
            "max_steps": steps,
            "tokens_per_batch": case.tasks * case.rows * case.length,
            "gradient_scope": case.scope,
            "activation_checkpointing": case.activation_checkpointing,
        }))?,
        balance: parsed(json!({ case.method.clone(): {} }))?,
        ..Settings::default()
    };
    let dir = std::env::temp_dir().join(format!("polytask-bench-{}", std::process::id()));
    let (mut seconds, mut peak, mut faults) = (Vec::new(), 0.0, Vec::new());
    let began = Instant::now();
    let mut emit = |event: &Event| {
        if let Event::Step(step) = event {
            seconds.push(step.seconds);
            // Before the result is written, which takes memory of its own.
            peak = peak_mib();
            faults.push(polytask::memory::minor_page_faults().unwrap_or(0));
        }
    };
    let stop = AtomicBool::new(false);
    let clock = || began.elapsed();
    let hooks = RunHooks { stop: &stop, clock: &clock, memory_limit: None, emit: &mut emit };
    let done = train::run(&mut job, &settings, &RunDir::new(&dir), Start::Fresh, hooks);
    let _ = std::fs::remove_dir_all(&dir);
    done.map_err(|error| error.to_string())?;
    let counted = seconds.split_off(WARM.min(seconds.len()));
    let faults = faults[faults.len() - 1] - faults[WARM.min(faults.len()) - 1];
    Ok(json!({
        "milliseconds": 1e3 * median(counted),
        "page_faults_per_step": faults / repeats.max(1) as u64,
        "peak_mib": peak,
    }))
}

fn parsed<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// An encoder from scratch, and tasks with as many rows as the steps take.
fn job(case: &Case, sizes: Sizes, steps: usize) -> Job {
    let mut parameters = Parameters::new(&Device::flex().autodiff(), 17);
    let bert = BertConfig {
        layers: sizes.layers,
        hidden: sizes.hidden,
        heads: sizes.heads,
        intermediate_size: Some(sizes.intermediate),
        max_length: 512,
        dropout: 0.1,
    };
    let backbone = model::build(&FromScratch::Bert(bert), sizes.vocabulary, [0, 0], &mut parameters)
        .expect("the sizes are good");
    let mut trunk = Trunk::new(backbone);
    trunk.set_activation_checkpointing(case.activation_checkpointing);
    let tokenizer = Tokenizer::train(&["nothing"], &TokenizerConfig { size: 300, ..Default::default() })
        .expect("a vocabulary");
    let mut views = Views::default();
    let mut tasks = Vec::new();
    for task in 0..case.tasks {
        let name = format!("task{task}");
        let view = view(&name, case.rows * steps, case.length, sizes.vocabulary, task as u64);
        let table: TaskTable = serde_json::from_value(json!({
            "corpus": name, "classification": { "text": "text", "label": "label" }
        }))
        .expect("a classification");
        let kind = table.build(&name).expect("a classification");
        let label_space = kind.fit_labels(&view.rows).expect("labels");
        let task = HeadlessTask { name, table, kind, label_space, view: task };
        let mut slot = task.build(&trunk, None, &tokenizer, &mut parameters).expect("a head");
        slot.head.encode_targets(Split::Train, &view).expect("labels");
        views.train.push(view);
        tasks.push(slot);
    }
    let datasets = Vec::new();
    Job {
        model: Model {
            parameters,
            trunk,
            decoder: None,
            tokenizer,
            max_length: 512,
            datasets,
            same_text: Vec::new(),
            tasks,
        },
        views,
    }
}

/// Rows of drawn token ids, with labels in turn.
fn view(corpus: &str, rows: usize, length: usize, vocabulary: usize, seed: u64) -> View {
    let mut rng = random::stream(seed, "token ids", 0);
    let ids = (0..rows * length).map(|_| random::uniform_below(&mut rng, vocabulary as u64) as u32).collect();
    let encoded = Encoded {
        ids,
        offsets: (0..=rows).map(|row| row * length).collect(),
        word_ids: vec![NO_WORD_ID; rows * length],
        first_segment_len: Vec::new(),
        offset_mapping: Vec::new(),
        truncated: vec![0; rows],
        unknown: 0,
        sequences: Vec::new(),
    };
    let file: Arc<Path> = Arc::from(Path::new("drawn"));
    let row = |line: usize| Row {
        place: Place { file: file.clone(), line },
        fields: [(Arc::from("label"), Value::Text((line % CLASSES).to_string()))].into_iter().collect(),
    };
    let rows = (0..rows).map(row).collect();
    View { corpus: corpus.into(), input: InputField::Text("text".into()), rows, encoded, masking: None }
}
