//! The biaffine scores of arcs and of their relations.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use kernels::{Dropout, Precision};
use model::{Init, MatrixId, Parameters, VectorId};

/// Added to the score of a node that cannot be the head of a word: its probability becomes 0.
const MASKED: f32 = -1e9;

/// The slope of the activation below 0.
const LEAK: f32 = 0.1;

/// A linear layer of the head: `[in]` to `[out]`.
#[derive(Debug, Clone, Copy)]
struct Layer {
    weight: MatrixId,
    bias: VectorId,
}

impl Layer {
    /// Adds `head.TASK.NAME.weight` and `.bias`, which start alike.
    fn new(parameters: &mut Parameters, task: &str, name: &str, shape: [usize; 2], init: Init) -> Self {
        let mut head = parameters.head(task);
        Layer {
            weight: head.matrix(&format!("{name}.weight"), shape, init.clone()),
            bias: head.vector(&format!("{name}.bias"), shape[0], init),
        }
    }

    fn of(&self, parameters: &Parameters, x: Tensor<2>) -> Tensor<2> {
        kernels::linear(x, parameters.matrix(self.weight), parameters.vector(self.bias), Precision::F32)
    }
}

/// The layers of one score: of arcs, or of relations.
#[derive(Debug, Clone, Copy)]
struct Side {
    dependent: Layer,
    head: Layer,
    /// `[width, width]`, or for each relation `[width + 1, width]`: initialized to 0, so that no arc is preferred.
    product: Layer,
}

/// The layers of a parser: `[hidden]` to scores of arcs and of `relations`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Biaffine {
    /// The representation of the root, in place of a word's state.
    root: VectorId,
    arc: Side,
    relation: Side,
}

/// Words, and behind them the root, as dependents and as heads, `[words + 1, width]`.
pub(crate) struct Words {
    arc: [Tensor<2>; 2],
    relation: [Tensor<2>; 2],
    root: u32,
}

impl Biaffine {
    /// Adds the layers to the parameters of a task. `widths` are those of arcs and of relations.
    pub fn new(
        parameters: &mut Parameters,
        task: &str,
        hidden: usize,
        widths: [usize; 2],
        relations: usize,
    ) -> Self {
        let bound = || Init::Uniform(1.0 / (hidden as f32).sqrt());
        let root = parameters.head(task).vector("root", hidden, Init::Normal(1.0));
        let mut side = |name: &str, width: usize, outputs: usize| Side {
            dependent: Layer::new(parameters, task, &format!("{name}_dependent"), [width, hidden], bound()),
            head: Layer::new(parameters, task, &format!("{name}_head"), [width, hidden], bound()),
            product: Layer::new(parameters, task, name, [outputs, width], Init::Zeros),
        };
        let arc = side("arc", widths[0], widths[0]);
        let relation = side("relation", widths[1], relations * (widths[1] + 1));
        Biaffine { root, arc, relation }
    }

    /// The representations of words, given by their states `[words, hidden]`, as dependents and as heads. `dropout` gives the dropout
    /// of each of the four layers.
    pub fn words(
        &self,
        parameters: &Parameters,
        states: Tensor<2>,
        dropout: impl Fn(u64) -> Option<Dropout>,
    ) -> Words {
        let [n, hidden] = states.dims();
        let root = parameters.vector(self.root).reshape([1, hidden]);
        let states = Tensor::cat(vec![states, root], 0);
        let of = |layer: Layer, index| {
            let x = kernels::leaky_relu(layer.of(parameters, states.clone()), LEAK);
            kernels::dropout(x, dropout(index))
        };
        Words {
            arc: [of(self.arc.dependent, 0), of(self.arc.head, 1)],
            relation: [of(self.relation.dependent, 2), of(self.relation.head, 3)],
            root: n as u32,
        }
    }

    /// The score of each head for each word of some rows, `[their words, 1 + words of the longest]`: first the root, then the
    /// words of its row; the word itself and the padding behind its row get [`MASKED`]. `rows` are the ranges of the rows' words;
    /// no range may be empty.
    pub fn arcs(&self, parameters: &Parameters, words: &Words, rows: &[Range<usize>]) -> Tensor<2> {
        let width = rows.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let [dependent, head] = &words.arc;
        let size = dependent.dims()[1];
        // Shorter rows are padded by repeating their last word; the padding is dropped from the result.
        let (mut dependents, mut heads, mut own, mut open) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, row) in rows.iter().enumerate() {
            let word = |at: usize| (row.start + at.min(row.len() - 1)) as u32;
            dependents.extend((0..width).map(word));
            heads.push(words.root);
            heads.extend((0..width).map(word));
            own.extend((0..row.len()).map(|at| (i * width + at) as u32));
            let shut = |at: usize, head: usize| head > row.len() || head == at + 1;
            let scores = |at| (0..=width).map(move |head| if shut(at, head) { MASKED } else { 0.0 });
            open.extend((0..row.len()).flat_map(scores));
        }
        let by_row = |x: Tensor<2>, index: &[u32], wide: usize| {
            kernels::gather_rows(x, index).reshape([rows.len(), wide, size])
        };
        let dependents = by_row(self.arc.product.of(parameters, dependent.clone()), &dependents, width);
        let heads = by_row(head.clone(), &heads, width + 1);
        let scores = dependents.matmul(heads.swap_dims(1, 2)).reshape([rows.len() * width, width + 1]);
        let open = Tensor::from_data(TensorData::new(open, [own.len(), width + 1]), &scores.device());
        kernels::gather_rows(scores, &own) + open
    }

    /// The score of each relation for some arcs, `[arcs, relations]`; a head that is `None` is the root.
    pub fn relations(
        &self,
        parameters: &Parameters,
        words: &Words,
        arcs: &[(u32, Option<u32>)],
    ) -> Tensor<2> {
        let (dependents, heads): (Vec<u32>, Vec<u32>) =
            arcs.iter().map(|(dependent, head)| (*dependent, head.unwrap_or(words.root))).unzip();
        let [dependent, head] = &words.relation;
        let n = arcs.len();
        let dependents = kernels::gather_rows(dependent.clone(), &dependents);
        let product = self.relation.product.of(parameters, dependents);
        let one = Tensor::ones([n, 1], &product.device());
        let heads = Tensor::cat(vec![kernels::gather_rows(head.clone(), &heads), one], 1);
        kernels::batched_matvec(product, heads)
    }
}

/// Groups of rows of similar length, as indices in `rows`: the longest row of a group is less than twice as long as its shortest, so
/// that [`Biaffine::arcs`] needs little padding. Empty rows are in no group.
pub(crate) fn length_groups(rows: &[Range<usize>]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
        groups.entry(row.len().ilog2() as usize).or_default().push(at);
    }
    groups.into_values().collect()
}
