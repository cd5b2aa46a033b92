//! Forward, backward and optimizer of a bare encoder: what every run is made of, without data around it.

use crate::{median, peak_mib};
use burn::tensor::Device;
use clap::ValueEnum;
use model::{Before, BertConfig, Group, Init, Matrix, Parameters, Precision, Scratch, Tokens, Vector};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use train::{Gradients, Moments, Optimizing};

const CLASSES: usize = 3;
/// Steps before those that count.
const WARM: usize = 2;

/// A named shape.
#[derive(Clone, Copy, ValueEnum)]
pub enum Shape {
    /// MiniLM-L6
    S1,
    /// BERT-base
    S2,
    /// Two layers of 128, for counting instructions
    Tiny,
}

/// Sizes of an encoder and of its pack.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub vocabulary: usize,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub wide: usize,
    pub rows: usize,
    pub length: usize,
}

impl Shape {
    /// Its sizes.
    pub fn sizes(self) -> Sizes {
        match self {
            Shape::S1 => sizes(30_522, 6, [384, 1536], 12, [32, 64]),
            Shape::S2 => sizes(30_522, 12, [768, 3072], 12, [8, 128]),
            Shape::Tiny => sizes(1_000, 2, [128, 512], 4, [4, 16]),
        }
    }
}

impl Sizes {
    /// Tokens of a pack.
    pub fn tokens(&self) -> usize {
        self.rows * self.length
    }

    /// Floating-point operations of the matrix products of a step, forward and backward: with the weights, and of
    /// queries, keys, probabilities and values inside each row.
    pub fn operations(&self) -> f64 {
        let weights = self.layers * (4 * self.hidden * self.hidden + 2 * self.hidden * self.wide);
        let attention = self.layers * 2 * self.hidden * self.length;
        3.0 * 2.0 * self.tokens() as f64 * (weights + attention) as f64
    }
}

fn sizes(
    vocabulary: usize,
    layers: usize,
    [hidden, wide]: [usize; 2],
    heads: usize,
    [rows, length]: [usize; 2],
) -> Sizes {
    Sizes { vocabulary, layers, hidden, heads, wide, rows, length }
}

struct Head {
    weight: Matrix,
    bias: Vector,
}

/// Times steps on the same pack.
pub fn measure(sizes: Sizes, tasks: usize, recompute: bool, precision: Precision, repeats: usize) -> Value {
    let mut parameters = Parameters::new(&Device::flex().autodiff(), 17);
    let config = BertConfig {
        layers: sizes.layers,
        hidden: sizes.hidden,
        heads: sizes.heads,
        feed_forward: Some(sizes.wide),
        max_length: sizes.length.max(512),
        dropout: 0.1,
    };
    let mut backbone = model::build(&Scratch::Bert(config), sizes.vocabulary, [0, 0], &mut parameters)
        .expect("the sizes are good");
    backbone.set_precision(precision);
    if recompute {
        backbone.recompute_layers().expect("a BERT has layers");
    }
    let heads: Vec<Head> = (0..tasks).map(|task| head(&mut parameters, task, sizes.hidden)).collect();

    let ids: Vec<u32> = (0..sizes.tokens()).map(|i| (i * 7919 % sizes.vocabulary) as u32).collect();
    let positions: Vec<u32> = (0..sizes.tokens()).map(|i| (i % sizes.length) as u32).collect();
    let rows: kernels::Rows = (0..=sizes.rows).map(|i| i * sizes.length).collect::<Arc<[usize]>>();
    let segments = vec![0; sizes.tokens()];
    let target: Vec<u32> = (0..sizes.rows).map(|i| (i % CLASSES) as u32).collect();

    let occurring: Vec<u32> = ids.iter().copied().collect::<BTreeSet<u32>>().into_iter().collect();

    let optimizer = Optimizing::default();
    let rates = optimizer.rates([]);
    let mut moments = Moments::new(parameters.len());
    let (mut seconds, mut faults) = (Vec::new(), 0);
    for step in 0..WARM + repeats {
        if step == WARM {
            faults = polytask::memory::faults().unwrap_or(0);
        }
        let began = Instant::now();
        let tokens = Tokens {
            ids: &ids,
            positions: &positions,
            segments: &segments,
            rows: &rows,
            corpora: &[],
            before: Before::default(),
        };
        let narrow = parameters.with_rows(backbone.token_table(), &occurring);
        let states = backbone.states(&narrow, tokens, Some(step as u64));
        let pooled = kernels::mean_rows(states, &rows);
        let losses = heads.iter().map(|head| {
            let logits = kernels::linear(
                pooled.clone(),
                parameters.get(head.weight),
                parameters.at(head.bias),
                Precision::F32,
            );
            kernels::cross_entropy(logits, &target, None, 0.0)
        });
        let loss = losses.reduce(|a, b| a + b).expect("there is a head");
        let gradients = Gradients::backward(loss, &narrow);
        drop(narrow);
        optimizer.step(&mut parameters, gradients, &mut moments, &rates, 1.0, 1.0);
        seconds.push(began.elapsed().as_secs_f64());
    }
    let faults = (polytask::memory::faults().unwrap_or(0) - faults) / repeats.max(1) as u64;
    let median = median(seconds.split_off(WARM));
    json!({
        "milliseconds": 1e3 * median,
        "tokens_per_second": sizes.tokens() as f64 / median,
        "gflops": sizes.operations() / median / 1e9,
        "page_faults_per_step": faults,
        "threads": rayon::current_num_threads(),
        "peak_mib": peak_mib(),
    })
}

fn head(parameters: &mut Parameters, task: usize, hidden: usize) -> Head {
    let group = Group::Task(task.to_string());
    Head {
        weight: parameters.matrix(
            &group,
            &format!("head.{task}.weight"),
            [CLASSES, hidden],
            Init::Normal(0.02),
        ),
        bias: parameters.vector(&group, &format!("head.{task}.bias"), CLASSES, Init::Zeros),
    }
}
