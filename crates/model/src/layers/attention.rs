//! The attention block.

use super::{BlockSettings, lecun_normal};
use crate::init::Init;
use crate::io::names::ParameterBuilder;
use crate::parameters::{MatrixId, VectorId};
use crate::sharing::{Half, Map, SiteWeight};
use crate::trunk::{LayerContext, LinearId};
use burn::tensor::Tensor;
use kernels::Dropout;

/// Queries from states, keys and values from these or from others.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    norm: VectorId,
    q: MatrixId,
    kv: MatrixId,
    output: MatrixId,
    /// The layer of the encoder that a sharing scheme may touch it in.
    layer: Option<usize>,
}

fn linear(weight: MatrixId) -> LinearId {
    LinearId { weight, bias: None }
}

impl Attention {
    /// Makes the parameters called `name.*`; `layer` as in the field.
    pub fn make(
        make: &mut ParameterBuilder<'_>,
        name: &str,
        layer: Option<usize>,
        s: &BlockSettings,
    ) -> Self {
        Self {
            norm: make.vector(&format!("{name}.norm"), Init::Ones),
            // No root divides the scores: the queries begin as much smaller.
            q: make.matrix(&format!("{name}.q"), lecun_normal(s.hidden * s.attention_dim / s.heads)),
            kv: make.matrix(&format!("{name}.kv"), lecun_normal(s.hidden)),
            output: make.matrix(&format!("{name}.output"), lecun_normal(s.attention_dim)),
            layer,
        }
    }

    /// Its linear maps.
    pub fn site_weights(&self, s: &BlockSettings) -> Vec<SiteWeight> {
        let (h, dim) = (s.hidden, s.attention_dim);
        let part = |map, weight, rows, inputs| SiteWeight { map, weight, bias: None, rows, inputs };
        vec![
            part(Map::Query, self.q, 0..dim, h),
            part(Map::Key, self.kv, 0..dim, h),
            part(Map::Value, self.kv, dim..2 * dim, h),
            part(Map::AttentionOutput, self.output, 0..h, dim),
        ]
    }

    /// The states as the attention sees them, `[n, hidden]`.
    pub fn pre_norm(&self, context: &LayerContext<'_>, x: Tensor<2>, s: &BlockSettings) -> Tensor<2> {
        kernels::rms_norm(x, context.vector(self.norm), s.eps)
    }

    /// Queries `[n, attention_dim]` of normed states.
    pub fn queries(&self, context: &LayerContext<'_>, normed: Tensor<2>) -> Tensor<2> {
        context.linear(self.layer, &[Map::Query], normed, linear(self.q))
    }

    /// Keys and values `[n, 2 attention_dim]`.
    pub fn keys_and_values(&self, context: &LayerContext<'_>, states: Tensor<2>) -> Tensor<2> {
        context.linear(self.layer, &[Map::Key, Map::Value], states, linear(self.kv))
    }

    /// The states after the block, from those before it and from the attention's context `[n, attention_dim]`. `normed` is what the
    /// queries were made of, in a layer that a sharing scheme may touch.
    pub fn output_projection(
        &self,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        attended: Tensor<2>,
        normed: Option<&Tensor<2>>,
        dropout: Option<Dropout>,
    ) -> Tensor<2> {
        let y = context.linear(self.layer, &[Map::AttentionOutput], attended, linear(self.output));
        let (y, dropout) = match normed {
            Some(normed) => context.after_half(self.layer, Half::Attention, normed, y, dropout),
            None => (y, dropout),
        };
        kernels::add(x, kernels::dropout(y, dropout))
    }
}
