//! The pre-norm blocks that T5's encoder and every decoder are made of (Raffel et al. 2020): norms without a shift, linear maps
//! without a bias, and what a block finds is added to the states that entered it.
//!
//! ```text
//! n = rms_norm(x)
//! attention:    x + dropout(Wo attend(Wq n, Wkv s))        s = n, or the states of another network; scores without a root
//! feed-forward: x + dropout(W2 dropout(gelu(W1 n) (Wg n))) gated, or W2 dropout(relu(W1 n))
//! ```

mod attention;
mod feed_forward;
mod relative_bias;

pub(crate) use attention::Attention;
pub(crate) use feed_forward::FeedForward;
pub(crate) use relative_bias::{RelativePositionBuckets, longest};

use crate::init::Init;
use crate::io::names::NameTable;
use crate::parameters::{Depth, Role};

/// What all blocks of a network have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSettings {
    /// Width of a state.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Columns of all heads together (T5: `num_heads * d_kv`); it need not be `hidden`.
    pub attention_dim: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Whether the feed-forward block has a gate.
    pub gated: bool,
    /// Added to the mean square in norms.
    pub eps: f32,
    /// Dropout of states and attention probabilities.
    pub dropout: f32,
}

impl BlockSettings {
    /// Adds the parameters of an attention block: `name` and `hf_name` are the names without the last part; the norm has a name
    /// of its own in files.
    pub fn name_attention(
        &self,
        names: &mut NameTable,
        name: &str,
        [hf_name, norm]: [&str; 2],
        depth: Depth,
    ) {
        let (h, inner) = (self.hidden, self.attention_dim);
        names.push(format!("{name}.norm"), [format!("{norm}.weight")], &[h], (Role::Norm, depth));
        names.push(format!("{name}.q"), [format!("{hf_name}.q.weight")], &[inner, h], (Role::Linear, depth));
        let kv = ["k", "v"].map(|part| format!("{hf_name}.{part}.weight"));
        names.push(format!("{name}.kv"), kv, &[2 * inner, h], (Role::Linear, depth));
        names.push(
            format!("{name}.output"),
            [format!("{hf_name}.o.weight")],
            &[h, inner],
            (Role::Linear, depth),
        );
    }

    /// Adds the parameters of a feed-forward block.
    pub fn name_feed_forward(
        &self,
        names: &mut NameTable,
        name: &str,
        [hf_name, norm]: [&str; 2],
        depth: Depth,
    ) {
        let (h, f) = (self.hidden, self.intermediate_size);
        names.push(format!("{name}.norm"), [format!("{norm}.weight")], &[h], (Role::Norm, depth));
        let (ffn_in, gate) = if self.gated { ("wi_0", Some("wi_1")) } else { ("wi", None) };
        names.push(
            format!("{name}.wide"),
            [format!("{hf_name}.{ffn_in}.weight")],
            &[f, h],
            (Role::Linear, depth),
        );
        if let Some(gate) = gate {
            names.push(
                format!("{name}.gate"),
                [format!("{hf_name}.{gate}.weight")],
                &[f, h],
                (Role::Linear, depth),
            );
        }
        names.push(
            format!("{name}.narrow"),
            [format!("{hf_name}.wo.weight")],
            &[h, f],
            (Role::Linear, depth),
        );
    }
}

/// Normal with variance `1 / inputs` (LeCun et al. 1998): keeps the size of numbers that `inputs` are added up to.
pub(crate) fn lecun_normal(inputs: usize) -> Init {
    Init::Normal((inputs as f32).powf(-0.5))
}
