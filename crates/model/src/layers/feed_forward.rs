//! The feed-forward block.

use super::{BlockSettings, lecun_normal};
use crate::init::Init;
use crate::io::names::ParameterBuilder;
use crate::parameters::VectorId;
use crate::sharing::{Half, Map, SiteWeight};
use crate::trunk::{Activation, FeedForwardId, LayerContext, LinearId};
use burn::tensor::Tensor;
use kernels::{Dropout, Glu};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct FeedForward {
    norm: VectorId,
    maps: FeedForwardId,
    /// The layer of the encoder that a sharing scheme may touch it in.
    layer: Option<usize>,
}

impl FeedForward {
    /// Makes the parameters called `name.*`; `layer` as in the field.
    pub fn make(
        make: &mut ParameterBuilder<'_>,
        name: &str,
        layer: Option<usize>,
        s: &BlockSettings,
    ) -> Self {
        let norm = make.vector(&format!("{name}.norm"), Init::Ones);
        let mut linear = |name: String, inputs| {
            let weight = make.matrix(&name, lecun_normal(inputs));
            LinearId { weight, bias: None }
        };
        let maps = FeedForwardId {
            ffn_in: linear(format!("{name}.wide"), s.hidden),
            gate: s.gated.then(|| linear(format!("{name}.gate"), s.hidden)),
            ffn_out: linear(format!("{name}.narrow"), s.intermediate_size),
            activation: if s.gated { Activation::Glu(Glu::GeluTanh) } else { Activation::Relu },
        };
        Self { norm, maps, layer }
    }

    /// Its linear maps.
    pub fn site_weights(&self, s: &BlockSettings) -> Vec<SiteWeight> {
        let (h, f) = (s.hidden, s.intermediate_size);
        let part = |map, linear: LinearId, outputs, inputs| SiteWeight {
            map,
            weight: linear.weight,
            bias: linear.bias,
            rows: 0..outputs,
            inputs,
        };
        let mut sites = vec![part(Map::FfnIn, self.maps.ffn_in, f, h)];
        sites.extend(self.maps.gate.map(|gate| part(Map::FfnGate, gate, f, h)));
        sites.push(part(Map::FfnOut, self.maps.ffn_out, h, f));
        sites
    }

    /// The states after the block; dropout inside it and at its end.
    pub fn run(
        &self,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        s: &BlockSettings,
        [inside, end]: [Option<Dropout>; 2],
    ) -> Tensor<2> {
        let n = kernels::rms_norm(x.clone(), context.vector(self.norm), s.eps);
        let y = context.feed_forward(self.layer, n.clone(), &self.maps, inside);
        let (y, end) = context.after_half(self.layer, Half::FeedForward, &n, y, end);
        kernels::add(x, kernels::dropout(y, end))
    }
}
