//! The layers over spans and over pairs of spans.

use burn::tensor::Tensor;
use kernels::{Dropout, Precision};
use model::{Init, MatrixId, Parameters, VectorId};

use super::config::Objective;
use super::span_batch::{CandidateSpan, Pair, between};
use crate::heads::states;

/// The sizes of the layers. `h` is the width of the token states.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// `h`
    pub hidden: usize,
    /// `d`, the width of the state of a span, and of a pair.
    pub span: usize,
    /// `w`, the maximum number of words of a span.
    pub max_width: usize,
    /// `t`, types of entity.
    pub types: usize,
    /// `r`, types of relation.
    pub relations: usize,
    /// Whether entities, relations or both are learned.
    pub learn: Objective,
}

/// A linear layer, `[out, in]` and `[out]`.
#[derive(Debug, Clone, Copy)]
struct Linear {
    weight: MatrixId,
    bias: VectorId,
}

impl Linear {
    fn new(parameters: &mut Parameters, task: &str, name: &str, [outputs, inputs]: [usize; 2]) -> Self {
        let bound = || Init::Uniform(1.0 / (inputs as f32).sqrt());
        let mut head = parameters.head(task);
        Linear {
            weight: head.matrix(&format!("{name}.weight"), [outputs, inputs], bound()),
            bias: head.vector(&format!("{name}.bias"), outputs, bound()),
        }
    }

    fn of(&self, parameters: &Parameters, x: Tensor<2>) -> Tensor<2> {
        kernels::linear(x, parameters.matrix(self.weight), parameters.vector(self.bias), Precision::F32)
    }

    /// The layer, its outputs cut into two halves.
    fn halves(&self, parameters: &Parameters, x: Tensor<2>) -> [Tensor<2>; 2] {
        let both = self.of(parameters, x);
        let [_, outputs] = both.dims();
        [both.clone().narrow(1, 0, outputs / 2), both.narrow(1, outputs / 2, outputs / 2)]
    }
}

/// The parameters of the task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    /// `[2d, h]`: the contributions of the first and the last word to a span.
    edges: Linear,
    /// `[w, d]`: the contribution of its width.
    widths: MatrixId,
    /// `[t + 1, d]`: scores of types; the last is "no entity".
    types: Option<Linear>,
    pairs: Option<PairLayers>,
}

/// The parameters of relations.
#[derive(Debug, Clone, Copy)]
struct PairLayers {
    /// `[2d, d]`: the contributions of head and tail to a pair.
    ends: Linear,
    /// `[2 (t + 1), d]`: the contributions of the types of head and tail.
    end_types: MatrixId,
    /// `[d, h]`: the contribution of the words between.
    between: Linear,
    /// `[r, d]`: scores of relations.
    relations: Linear,
}

impl Network {
    pub fn new(parameters: &mut Parameters, task: &str, sizes: Sizes) -> Self {
        let Sizes { hidden, span, max_width, types, relations, learn } = sizes;
        let table = |parameters: &mut Parameters, name: &str, rows| {
            parameters.head(task).matrix(name, [rows, span], Init::Normal(0.02))
        };
        let widths = table(parameters, "widths", max_width);
        let end_types = learn.relations().then(|| table(parameters, "end_types", 2 * (types + 1)));
        let mut linear = |name, shape| Linear::new(parameters, task, name, shape);
        Network {
            edges: linear("edges", [2 * span, hidden]),
            widths,
            types: learn.entities().then(|| linear("types", [types + 1, span])),
            pairs: end_types.map(|end_types| PairLayers {
                ends: linear("ends", [2 * span, span]),
                end_types,
                between: linear("between", [span, hidden]),
                relations: linear("relations", [relations, span]),
            }),
        }
    }

    /// The states of spans, `[spans, d]`, from those of words, `[words, h]`.
    pub fn spans(&self, parameters: &Parameters, words: &Tensor<2>, spans: &[CandidateSpan]) -> Tensor<2> {
        let widths = parameters.matrix(self.widths);
        let widest = widths.dims()[0] as u32;
        let [firsts, lasts] = self.edges.halves(parameters, words.clone());
        let index = |of: fn(&CandidateSpan) -> u32| spans.iter().map(of).collect::<Vec<u32>>();
        let width: Vec<u32> = spans.iter().map(|s| (s.words[1] - s.words[0]).min(widest) - 1).collect();
        kernels::relu(sum([
            kernels::gather_rows(firsts, &index(|span| span.at[0])),
            kernels::gather_rows(lasts, &index(|span| span.at[1])),
            kernels::gather_rows(widths, &width),
        ]))
    }

    /// Scores of the types of spans, `[spans, t + 1]`; `None` where entities are not learned.
    pub fn types(
        &self,
        parameters: &Parameters,
        spans: Tensor<2>,
        dropout: Option<Dropout>,
    ) -> Option<Tensor<2>> {
        Some(self.types?.of(parameters, kernels::dropout(spans, dropout)))
    }

    /// Scores of relations, `[pairs, r]`, between `ends`, whose states are `states` `[ends, d]` and whose types `types`; `None`
    /// where relations are not learned.
    pub fn relations(
        &self,
        parameters: &Parameters,
        words: &Tensor<2>,
        (ends, types, states): (&[CandidateSpan], &[u32], Tensor<2>),
        pairs: &[Pair],
        dropout: Option<Dropout>,
    ) -> Option<Tensor<2>> {
        let layers = self.pairs?;
        let end_types = parameters.matrix(layers.end_types);
        let of_tails = end_types.dims()[0] as u32 / 2;
        let [heads, tails] = layers.ends.halves(parameters, states);
        let index = |of: &dyn Fn(&Pair) -> u32| pairs.iter().map(of).collect::<Vec<u32>>();
        let words_between =
            |pair: &Pair| between(ends[pair.head as usize], ends[pair.tail as usize]).collect();
        let words_between: Vec<Vec<u32>> = pairs.iter().map(words_between).collect();
        let pairs = kernels::relu(sum([
            kernels::gather_rows(heads, &index(&|pair| pair.head)),
            kernels::gather_rows(tails, &index(&|pair| pair.tail)),
            kernels::gather_rows(end_types.clone(), &index(&|pair| types[pair.head as usize])),
            kernels::gather_rows(end_types, &index(&|pair| of_tails + types[pair.tail as usize])),
            states::segment_means(&layers.between.of(parameters, words.clone()), &words_between),
        ]));
        Some(layers.relations.of(parameters, kernels::dropout(pairs, dropout)))
    }
}

/// The sum of some matrices of one shape, first to last.
fn sum<const N: usize>(summands: [Tensor<2>; N]) -> Tensor<2> {
    summands.into_iter().reduce(kernels::add).expect("there is a summand")
}
