//! Forward, backward and optimizer of a bare encoder: what every run is made of, without data around it.

use crate::{median, peak_mib};
use burn::tensor::Device;
use clap::ValueEnum;
use model::{
    BertConfig, EncoderInput, FromScratch, Init, MatrixId, PackOffset, Parameters, Precision, Trunk,
    TrunkPass, VectorId,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;
use train::{Gradients, OptimizerConfig, OptimizerState};

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
    pub intermediate: usize,
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
        let weights = self.layers * (4 * self.hidden * self.hidden + 2 * self.hidden * self.intermediate);
        let attention = self.layers * 2 * self.hidden * self.length;
        3.0 * 2.0 * self.tokens() as f64 * (weights + attention) as f64
    }
}

fn sizes(
    vocabulary: usize,
    layers: usize,
    [hidden, intermediate]: [usize; 2],
    heads: usize,
    [rows, length]: [usize; 2],
) -> Sizes {
    Sizes { vocabulary, layers, hidden, heads, intermediate, rows, length }
}

struct Head {
    weight: MatrixId,
    bias: VectorId,
}

/// An encoder from scratch with heads.
struct Network {
    parameters: Parameters,
    trunk: Trunk,
    heads: Vec<Head>,
}

/// Drawn rows of equal length, and a class for each.
struct DrawnPack {
    ids: Vec<u32>,
    positions: Vec<u32>,
    segments: Vec<u32>,
    offsets: kernels::RowOffsets,
    target: Vec<u32>,
    /// The ids that occur, rising.
    occurring: Vec<u32>,
}

/// Times steps on the same pack.
pub fn measure(sizes: Sizes, tasks: usize, precision: Precision, repeats: usize) -> Value {
    let mut network = Network::new(sizes, tasks, precision);
    let pack = DrawnPack::new(sizes);
    let optimizer = OptimizerConfig::default();
    let rates = optimizer.rates([]);
    let mut state = OptimizerState::new(network.parameters.len());
    let (mut seconds, mut faults) = (Vec::new(), 0);
    for step in 0..WARM + repeats {
        if step == WARM {
            faults = polytask::memory::minor_page_faults().unwrap_or(0);
        }
        let began = Instant::now();
        let gradients = network.gradients(&pack, step as u64);
        optimizer.step(&mut network.parameters, gradients, &mut state, &rates, 1.0, 1.0);
        seconds.push(began.elapsed().as_secs_f64());
    }
    let faults = (polytask::memory::minor_page_faults().unwrap_or(0) - faults) / repeats.max(1) as u64;
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

impl Network {
    fn new(sizes: Sizes, tasks: usize, precision: Precision) -> Network {
        let mut parameters = Parameters::new(&Device::flex().autodiff(), 17);
        let config = BertConfig {
            layers: sizes.layers,
            hidden: sizes.hidden,
            heads: sizes.heads,
            intermediate_size: Some(sizes.intermediate),
            max_length: sizes.length.max(512),
            dropout: 0.1,
        };
        let backbone = model::build(&FromScratch::Bert(config), sizes.vocabulary, [0, 0], &mut parameters)
            .expect("the sizes are good");
        let mut trunk = Trunk::new(backbone);
        trunk.set_precision(precision);
        let heads = (0..tasks).map(|task| head(&mut parameters, task, sizes.hidden)).collect();
        Network { parameters, trunk, heads }
    }

    /// The gradients of the sum of all heads' losses.
    fn gradients(&self, pack: &DrawnPack, dropout_seed: u64) -> Gradients {
        let Network { parameters, trunk, heads } = self;
        let input = EncoderInput {
            ids: &pack.ids,
            positions: &pack.positions,
            segments: &pack.segments,
            offsets: &pack.offsets,
            datasets: &[],
            offset: PackOffset::default(),
        };
        let narrow = parameters.with_row_subset(trunk.spec().token_embedding, &pack.occurring);
        let dropout_seed = Some(dropout_seed);
        let pass = TrunkPass { dropout_seed, ..TrunkPass::evaluation(&narrow, input) };
        let pooled = kernels::segment_mean(trunk.states(&pass), &pack.offsets);
        let losses = heads.iter().map(|head| {
            let logits = kernels::linear(
                pooled.clone(),
                parameters.matrix(head.weight),
                parameters.vector(head.bias),
                Precision::F32,
            );
            kernels::cross_entropy(logits, &pack.target, None, 0.0)
        });
        let loss = losses.reduce(|a, b| a + b).expect("there is a head");
        Gradients::backward(loss, &narrow)
    }
}

impl DrawnPack {
    fn new(sizes: Sizes) -> DrawnPack {
        let tokens = sizes.tokens();
        let ids: Vec<u32> = (0..tokens).map(|i| (i * 7919 % sizes.vocabulary) as u32).collect();
        let occurring = ids.iter().copied().collect::<BTreeSet<u32>>().into_iter().collect();
        DrawnPack {
            ids,
            positions: (0..tokens).map(|i| (i % sizes.length) as u32).collect(),
            segments: vec![0; tokens],
            offsets: (0..=sizes.rows).map(|i| i * sizes.length).collect(),
            target: (0..sizes.rows).map(|i| (i % CLASSES) as u32).collect(),
            occurring,
        }
    }
}

fn head(parameters: &mut Parameters, task: usize, hidden: usize) -> Head {
    let mut head = parameters.head(&task.to_string());
    Head {
        weight: head.matrix("weight", [CLASSES, hidden], Init::Normal(0.02)),
        bias: head.vector("bias", CLASSES, Init::Zeros),
    }
}
