//! Rotary positions: a rotation, whose way back is the opposite one.

use super::node::{FusedOp, as_f32_slice, dim, whole};
use crate::reference;
use crate::settings::RotarySettings;
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::rotary;

/// `x -> x` with columns rotated
pub(super) struct Rotary(RotarySettings);

fn rotated(x: FlexTensor, settings: &RotarySettings, inverse: bool) -> FlexTensor {
    let (width, mut x) = (dim(&x, 1), whole(x));
    let RotarySettings { heads, positions, angles } = settings;
    debug_assert_eq!(as_f32_slice(&x).len(), width * positions.len());
    rotary::rotate(x.storage_mut(), width, *heads, positions, angles, inverse);
    x
}

impl FusedOp<1> for Rotary {
    type Settings = RotarySettings;

    fn forward(
        settings: RotarySettings,
        [x]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let y = rotated(x, &settings, false);
        (y, requires_grad[0].then_some(Rotary(settings)))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(rotated(d, &self.0, true))]
    }

    fn reference<B: Backend>(settings: RotarySettings, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::rotary::<B>(x, &settings)
    }
}
