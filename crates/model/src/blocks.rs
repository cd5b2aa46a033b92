//! The pre-norm blocks that T5's encoder and every decoder are made of (Raffel et al. 2020): norms without a shift, linear maps
//! without a bias, and what a block finds is added to the states that entered it.
//!
//! ```text
//! n = rms_norm(x)
//! attention:    x + dropout(Wo attend(Wq n, Wkv s))        s = n, or the states of another network; scores without a root
//! feed-forward: x + dropout(W2 dropout(gelu(W1 n) (Wg n))) gated, or W2 dropout(relu(W1 n))
//! ```

use crate::init::Init;
use crate::names::{Maker, NameTable};
use crate::parameters::{Matrix, Parameters, Vector};
use burn::tensor::{Tensor, activation::relu};
use kernels::{Noise, Precision};

/// What all blocks of a network have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSettings {
    /// Width of a state.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Columns of all heads together; it need not be `hidden`.
    pub inner: usize,
    /// Width inside the feed-forward part.
    pub feed_forward: usize,
    /// Whether the feed-forward part has a gate.
    pub gated: bool,
    /// Added to the mean square in norms.
    pub eps: f32,
    /// Dropout of states and attention weights.
    pub dropout: f32,
    /// What products are made of.
    pub precision: Precision,
}

impl BlockSettings {
    /// Adds the parameters of an attention: `ours` and `theirs` are the names without the last part; the norm has a name of its
    /// own in files.
    pub fn name_attention(&self, names: &mut NameTable, ours: &str, theirs: &str, norm: &str) {
        let (h, inner) = (self.hidden, self.inner);
        names.push(format!("{ours}.norm"), [format!("{norm}.weight")], &[h]);
        names.push(format!("{ours}.q"), [format!("{theirs}.q.weight")], &[inner, h]);
        let kv = ["k", "v"].map(|part| format!("{theirs}.{part}.weight"));
        names.push(format!("{ours}.kv"), kv, &[2 * inner, h]);
        names.push(format!("{ours}.output"), [format!("{theirs}.o.weight")], &[h, inner]);
    }

    /// Adds the parameters of a feed-forward block.
    pub fn name_feed_forward(&self, names: &mut NameTable, ours: &str, theirs: &str, norm: &str) {
        let (h, f) = (self.hidden, self.feed_forward);
        names.push(format!("{ours}.norm"), [format!("{norm}.weight")], &[h]);
        let (wide, gate) = if self.gated { ("wi_0", Some("wi_1")) } else { ("wi", None) };
        names.push(format!("{ours}.wide"), [format!("{theirs}.{wide}.weight")], &[f, h]);
        if let Some(gate) = gate {
            names.push(format!("{ours}.gate"), [format!("{theirs}.{gate}.weight")], &[f, h]);
        }
        names.push(format!("{ours}.narrow"), [format!("{theirs}.wo.weight")], &[h, f]);
    }

    /// The noise of one dropout site, after what comes `before`.
    pub fn noise(&self, seed: Option<u64>, site: u64, before: usize) -> Option<Noise> {
        crate::backbone::noise(self.dropout, seed, site, before)
    }
}

/// Normal, as wide as keeps the size of numbers that `inputs` are added up to.
pub(crate) fn draw(inputs: usize) -> Init {
    Init::Normal((inputs as f32).powf(-0.5))
}

/// A linear map without a bias.
pub(crate) fn linear(parameters: &Parameters, x: Tensor<2>, w: Matrix, precision: Precision) -> Tensor<2> {
    let w = parameters.get(w);
    let none = Tensor::zeros([w.dims()[0]], &x.device());
    kernels::linear(x, w, none, precision)
}

/// Queries from states, keys and values from these or from others.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    norm: Vector,
    q: Matrix,
    kv: Matrix,
    output: Matrix,
}

impl Attention {
    pub fn make(make: &mut Maker<'_>, name: &str, s: &BlockSettings) -> Self {
        Self {
            norm: make.vector(&format!("{name}.norm"), Init::Ones),
            // No root divides the scores: the queries begin as much smaller.
            q: make.matrix(&format!("{name}.q"), draw(s.hidden * s.inner / s.heads)),
            kv: make.matrix(&format!("{name}.kv"), draw(s.hidden)),
            output: make.matrix(&format!("{name}.output"), draw(s.inner)),
        }
    }

    /// The states as the attention sees them, `[n, hidden]`.
    pub fn normed(&self, parameters: &Parameters, x: Tensor<2>, s: &BlockSettings) -> Tensor<2> {
        kernels::rms_norm(x, parameters.at(self.norm), s.eps)
    }

    /// Queries `[n, inner]` of normed states.
    pub fn queries(&self, parameters: &Parameters, normed: Tensor<2>, s: &BlockSettings) -> Tensor<2> {
        linear(parameters, normed, self.q, s.precision)
    }

    /// Keys and values `[n, 2 inner]`.
    pub fn keys(&self, parameters: &Parameters, states: Tensor<2>, s: &BlockSettings) -> Tensor<2> {
        linear(parameters, states, self.kv, s.precision)
    }

    /// The states after the block, from those before it and from what the attention found `[n, inner]`.
    pub fn end(
        &self,
        parameters: &Parameters,
        x: Tensor<2>,
        found: Tensor<2>,
        s: &BlockSettings,
        noise: Option<Noise>,
    ) -> Tensor<2> {
        x + kernels::dropout(linear(parameters, found, self.output, s.precision), noise)
    }
}

/// The feed-forward block.
#[derive(Debug, Clone)]
pub(crate) struct FeedForward {
    norm: Vector,
    wide: Matrix,
    gate: Option<Matrix>,
    narrow: Matrix,
}

impl FeedForward {
    pub fn make(make: &mut Maker<'_>, name: &str, s: &BlockSettings) -> Self {
        Self {
            norm: make.vector(&format!("{name}.norm"), Init::Ones),
            wide: make.matrix(&format!("{name}.wide"), draw(s.hidden)),
            gate: s.gated.then(|| make.matrix(&format!("{name}.gate"), draw(s.hidden))),
            narrow: make.matrix(&format!("{name}.narrow"), draw(s.feed_forward)),
        }
    }

    /// The states after the block; dropout inside it and at its end.
    pub fn run(
        &self,
        parameters: &Parameters,
        x: Tensor<2>,
        s: &BlockSettings,
        [inside, end]: [Option<Noise>; 2],
    ) -> Tensor<2> {
        let n = kernels::rms_norm(x.clone(), parameters.at(self.norm), s.eps);
        let wide = linear(parameters, n.clone(), self.wide, s.precision);
        let active = match self.gate {
            Some(gate) => kernels::gated_gelu(wide, linear(parameters, n, gate, s.precision)),
            None => relu(wide),
        };
        let y = linear(parameters, kernels::dropout(active, inside), self.narrow, s.precision);
        x + kernels::dropout(y, end)
    }
}

/// What distances from a query to a key are told apart by: few numbers near by, ranges farther away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buckets {
    /// How many there are.
    pub count: usize,
    /// Distances from here on share the last one.
    pub farthest: usize,
    /// Whether keys after the query have buckets of their own: half of them.
    pub both_ways: bool,
}

impl Buckets {
    /// The bucket of a distance, the key's place less the query's. Raffel et al. 2020, section 2.1, as T5's code has it.
    fn of(&self, distance: isize) -> u32 {
        let (count, first, away) = match self.both_ways {
            true => {
                let half = self.count / 2;
                (half, if distance > 0 { half } else { 0 }, distance.unsigned_abs())
            }
            false => (self.count, 0, (-distance.min(0)) as usize),
        };
        let exact = count / 2;
        if away < exact {
            return (first + away) as u32;
        }
        // In f32, as T5 was trained: at the edges of the ranges the rounding decides.
        let ratio = (away as f32 / exact as f32).ln() / (self.farthest as f64 / exact as f64).ln() as f32;
        let range = exact + (ratio * (count - exact) as f32) as usize;
        (first + range.min(count - 1)) as u32
    }

    /// The bias `[2 reach + 1, heads]` of all distances up to `reach`, from that of the buckets `[count, heads]`.
    pub fn bias(&self, parameters: &Parameters, table: Matrix, reach: usize) -> Tensor<2> {
        let reach = reach as isize;
        let index: Vec<u32> = (-reach..=reach).map(|distance| self.of(distance)).collect();
        kernels::pick(parameters.get(table), &index)
    }
}

/// The tokens of the longest row.
pub(crate) fn longest(rows: &[usize]) -> usize {
    rows.windows(2).map(|row| row[1] - row[0]).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `T5Attention._relative_position_bucket` of transformers 5.
    #[test]
    fn buckets_are_those_of_transformers() {
        let of = |both_ways, distances: &[isize]| -> Vec<u32> {
            let buckets = Buckets { count: 32, farthest: 128, both_ways };
            distances.iter().map(|distance| buckets.of(*distance)).collect()
        };
        let distances = [-200, -128, -127, -64, -32, -31, -16, -15, -8, -7, -1, 0, 1, 7, 8, 16, 63, 64, 128];
        let both = [15, 15, 15, 14, 12, 11, 10, 9, 8, 7, 1, 0, 17, 23, 24, 26, 29, 30, 31];
        assert_eq!(of(true, &distances), both);
        let back = [31, 31, 31, 26, 21, 21, 16, 15, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(of(false, &distances), back);
    }
}
