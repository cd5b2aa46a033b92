//! The extension trait: what a backend must be able to do, with bodies made of the engine's own operations.

use crate::{Noise, Precision, Rows, plain};
use burn::backend::{Backend, ExtensionType, backend_extension, tensor::FloatTensor};
use std::sync::Arc;

/// The targets of a cross-entropy and how they count.
#[derive(Clone, Debug)]
pub struct Classes {
    /// The true class of each row.
    pub target: Arc<[u32]>,
    /// The weight of each class; 1 where not given.
    pub weight: Option<Arc<[f32]>>,
    /// The share of each target that is spread evenly over all classes.
    pub smoothing: f32,
}

impl Classes {
    /// The weight of a class.
    pub(crate) fn weight_of(&self, class: usize) -> f32 {
        self.weight.as_ref().map_or(1.0, |weight| weight[class])
    }

    /// The targets' weights added up: what the loss is divided by.
    pub(crate) fn total(&self) -> f64 {
        self.target.iter().map(|&class| f64::from(self.weight_of(class as usize))).sum()
    }
}

/// One step of AdamW: its settings and how many steps it makes with this one.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// How much of the first moment stays, usually 0.9.
    pub beta1: f32,
    /// How much of the second moment stays, usually 0.999.
    pub beta2: f32,
    /// Added to the root of the second moment, usually 1e-8.
    pub eps: f32,
    /// Weight decay, apart from the gradient: weights shrink by `learning_rate * decay`.
    pub decay: f32,
    /// Step size.
    pub learning_rate: f32,
    /// What the gradient is multiplied by before anything else: the factor of clipping, 1 without.
    pub scale: f32,
    /// Number of this step, from 1.
    pub time: u32,
}

impl AdamW {
    /// What the moments are divided by because they began at zero: `1 - beta1^time`, `sqrt(1 - beta2^time)`.
    pub(crate) fn corrections(&self) -> (f64, f64) {
        let left = |beta: f32| 1.0 - f64::from(beta).powi(self.time as i32);
        (left(self.beta1), left(self.beta2).sqrt())
    }
}

/// Input and weights of a post-norm transformer layer: thirteen tensors.
///
/// The order of [`LayerInputs::into_array`] is that of the fields.
#[derive(Clone, ExtensionType)]
pub(crate) struct LayerInputs<B: Backend> {
    pub x: FloatTensor<B>,
    pub qkv_weight: FloatTensor<B>,
    pub qkv_bias: FloatTensor<B>,
    pub output_weight: FloatTensor<B>,
    pub output_bias: FloatTensor<B>,
    pub attention_gamma: FloatTensor<B>,
    pub attention_beta: FloatTensor<B>,
    pub wide_weight: FloatTensor<B>,
    pub wide_bias: FloatTensor<B>,
    pub narrow_weight: FloatTensor<B>,
    pub narrow_bias: FloatTensor<B>,
    pub gamma: FloatTensor<B>,
    pub beta: FloatTensor<B>,
}

impl<B: Backend> LayerInputs<B> {
    pub(crate) fn into_array(self) -> [FloatTensor<B>; 13] {
        [
            self.x,
            self.qkv_weight,
            self.qkv_bias,
            self.output_weight,
            self.output_bias,
            self.attention_gamma,
            self.attention_beta,
            self.wide_weight,
            self.wide_bias,
            self.narrow_weight,
            self.narrow_bias,
            self.gamma,
            self.beta,
        ]
    }
}

/// What an attention needs besides tensors and rows.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSettings {
    /// Heads, which divide the columns evenly.
    pub heads: usize,
    /// Whether a query sees only the keys up to its own place. Places are counted from the end of the row, so that the
    /// last query sees every key, also where there are fewer queries than keys. A query that comes before the first key
    /// sees nothing and gets zeros.
    pub causal: bool,
    /// Drops attention probabilities. In a row of `m` queries and `n` keys element `(head, query, key)` has the index
    /// `(head m + query) n + key` after `heads m n` for each of the rows before.
    pub noise: Option<Noise>,
}

/// What embeddings need besides their tables.
#[derive(Clone, Debug)]
pub(crate) struct EmbedSettings {
    /// For each table the row of each token.
    pub ids: [Arc<[u32]>; 3],
    /// Added to the variance.
    pub eps: f32,
    /// Drops the result.
    pub noise: Option<Noise>,
}

/// What a transformer layer needs besides tensors.
#[derive(Clone, Copy, Debug)]
pub struct LayerSettings {
    /// Attention heads.
    pub heads: usize,
    /// What its products are made of; those of the attention itself are f32.
    pub precision: Precision,
    /// Added to the variance in both norms.
    pub eps: f32,
    /// Dropout of attention probabilities, of the attention's output, of the feed-forward block's output.
    pub noise: [Option<Noise>; 3],
}

/// Operations over packs. `Flex` (the CPU) overrides all of them; every other backend keeps these bodies.
///
/// The names begin with `fused_` so that they do not hide the engine's own.
#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")))]
pub(crate) trait PackOps: Backend {
    fn fused_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        plain::linear::<Self>(x, w, b, precision)
    }

    fn fused_linear_gelu(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        plain::linear_gelu::<Self>(x, w, b, precision)
    }

    fn fused_ffn(
        x: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        b1: FloatTensor<Self>,
        w2: FloatTensor<Self>,
        b2: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        plain::ffn::<Self>(x, w1, b1, w2, b2, precision)
    }

    fn fused_attention(qkv: FloatTensor<Self>, rows: Rows, settings: AttentionSettings) -> FloatTensor<Self> {
        plain::attention::<Self>(qkv, &rows, settings)
    }

    fn fused_cross_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        rows: [Rows; 2],
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        plain::cross_attention::<Self>(q, kv, &rows, settings)
    }

    fn fused_relative_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        rows: [Rows; 2],
        settings: AttentionSettings,
    ) -> FloatTensor<Self> {
        plain::relative_attention::<Self>(q, kv, bias, &rows, settings)
    }

    fn fused_layer(
        #[extension_type] inputs: LayerInputs<Self>,
        rows: Rows,
        settings: LayerSettings,
    ) -> FloatTensor<Self> {
        plain::layer::<Self>(inputs.into_array(), &rows, settings)
    }

    fn fused_add_norm(
        y: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
        noise: Option<Noise>,
    ) -> FloatTensor<Self> {
        plain::add_norm::<Self>(y, residual, gamma, beta, eps, noise)
    }

    fn fused_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        plain::norm::<Self>(x, gamma, beta, eps)
    }

    fn fused_add_rms_norm(
        y: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        eps: f32,
        noise: Option<Noise>,
    ) -> FloatTensor<Self> {
        plain::add_rms_norm::<Self>(y, residual, gamma, eps, noise)
    }

    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        plain::rms_norm::<Self>(x, gamma, eps)
    }

    fn fused_embed_norm(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        settings: EmbedSettings,
    ) -> FloatTensor<Self> {
        plain::embed_norm::<Self>([a, b, c, gamma, beta], &settings)
    }

    fn fused_gated_gelu(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::gated_gelu::<Self>(a, b)
    }

    fn fused_dropout(x: FloatTensor<Self>, noise: Noise) -> FloatTensor<Self> {
        plain::dropout::<Self>(x, Some(noise))
    }

    fn fused_pick(x: FloatTensor<Self>, index: Arc<[u32]>) -> FloatTensor<Self> {
        plain::pick::<Self>(x, &index)
    }

    fn fused_mean_rows(x: FloatTensor<Self>, rows: Rows) -> FloatTensor<Self> {
        plain::mean_rows::<Self>(x, &rows)
    }

    fn fused_cross_entropy(logits: FloatTensor<Self>, classes: Classes) -> FloatTensor<Self> {
        plain::cross_entropy::<Self>(logits, &classes)
    }

    fn fused_adamw(
        w: FloatTensor<Self>,
        g: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::adamw::<Self>(w, g, m, v, step)
    }

    fn fused_squared_norm(g: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::squared_norm::<Self>(g)
    }
}
