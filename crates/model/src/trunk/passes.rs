//! How the tokens of a pack go through one layer: all at once, lane by lane, or once for each column of their states.

use super::Trunk;
use super::context::LayerContext;
use super::input::{EncoderInput, PackOffset, TokenSelection};
use super::inserted_rows::{self, PromptedInput};
use super::lanes::Lane;
use crate::cast::to_u32;
use crate::parameters::Level;
use crate::sharing::LayerPass;
use burn::tensor::Tensor;
use kernels::RowOffsets;
use std::ops::Range;

impl Trunk {
    /// States after a layer from those before it; of the selected tokens, where there is a selection.
    pub(super) fn layer(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        input: &EncoderInput<'_>,
        selection: Option<&TokenSelection<'_>>,
    ) -> Tensor<2> {
        if self.left_out.contains(&index) {
            return match selection {
                Some(selection) => kernels::gather_rows(x, selection.tokens),
                None => x,
            };
        }
        if index < self.sharing.first_layer() {
            return self.backbone.layer(index, context, x, input, selection);
        }
        if self.sharing.prompt_length() > 0 {
            return self.prompted_layer(index, context, x, input, selection);
        }
        let (before, x) = self.last_states(x);
        let x = self.sharing.enter(index, context, x);
        let before = self.sharing.keeps_layers().then(|| before.unwrap_or_else(|| x.clone()));
        let y = match self.sharing.layer_pass(Level::layer(index)) {
            LayerPass::Joint => {
                let beside = self.sharing.beside_layer(index, context, &x, input, selection);
                match beside {
                    None => self.backbone.layer(index, context, x, input, selection),
                    beside => self.backbone.layer(index, &context.with_beside(beside), x, input, selection),
                }
            }
            LayerPass::PerLane => by_lane(context, x, input, selection, |context, x, input, selection| {
                self.backbone.layer(index, context, x, input, selection)
            }),
            LayerPass::PerColumn => self
                .by_column(context, x, |context, x| self.backbone.layer(index, context, x, input, selection)),
        };
        match before {
            None => y,
            Some(before) => {
                let before = match selection {
                    Some(selection) => kernels::gather_rows(before, selection.tokens),
                    None => before,
                };
                kernels::join_columns(vec![before, y])
            }
        }
    }

    /// A layer whose sequences have prompts before them. The first layer puts them there; the last takes them away.
    fn prompted_layer(
        &self,
        index: usize,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        input: &EncoderInput<'_>,
        selection: Option<&TokenSelection<'_>>,
    ) -> Tensor<2> {
        let length = self.sharing.prompt_length();
        let of = |task: Option<&str>| self.sharing.prompt(task, context);
        let x = match index {
            0 => match inserted_rows::insert(context, x.clone(), input.offsets, of) {
                Some((prompted, ..)) => prompted,
                None => return self.backbone.layer(index, context, x, input, selection),
            },
            _ => x,
        };
        if x.dims()[0] == input.ids.len() {
            return self.backbone.layer(index, context, x, input, selection);
        }
        let prompted = PromptedInput::new(input, length);
        let own = context.at(prompted.input().offset);
        match selection {
            Some(selection) => {
                let (tokens, offset) = inserted_rows::prompted_tokens(selection, input.offsets, length);
                let selection = TokenSelection { tokens: &tokens, offsets: selection.offsets, offset };
                self.backbone.layer(index, &own, x, &prompted.input(), Some(&selection))
            }
            None => {
                let states = self.backbone.layer(index, &own, x, &prompted.input(), None);
                match index + 1 == self.layers() {
                    true => {
                        kernels::gather_rows(states, &inserted_rows::token_indices(input.offsets, length))
                    }
                    false => states,
                }
            }
        }
    }

    /// What follows the last layer, for states of so many sequences.
    pub(super) fn finish(&self, context: &LayerContext<'_>, x: Tensor<2>, rows: &RowOffsets) -> Tensor<2> {
        let width = self.hidden();
        let states = match self.sharing.layer_pass(Level::Output) {
            LayerPass::PerLane if !context.lanes().is_empty() => {
                let of_lane = |lane: &Lane| {
                    let own = context.of_lane(&lane.task, context.offset());
                    self.backbone.finish(&own, kernels::take_rows(x.clone(), lane.tokens.clone()))
                };
                Tensor::cat(context.lanes().iter().map(of_lane).collect(), 0)
            }
            _ => {
                // Side by side lie columns, layers, or both.
                let blocks = x.dims()[1] / width;
                let columns = self.sharing.columns();
                let of_block = |block: usize| {
                    let x = kernels::take_columns(x.clone(), block * width..(block + 1) * width);
                    match columns.get(block % columns.len().max(1)) {
                        Some(task) => self.backbone.finish(&context.with_weights_of(task), x),
                        None => self.backbone.finish(context, x),
                    }
                };
                kernels::join_columns((0..blocks).map(of_block).collect())
            }
        };
        self.sharing.finish(context, states, rows)
    }

    /// The states of the layer before, and with them those of all layers before where the scheme keeps them.
    fn last_states(&self, x: Tensor<2>) -> (Option<Tensor<2>>, Tensor<2>) {
        let width = self.hidden() * self.sharing.columns().len().max(1);
        let all = x.dims()[1];
        if !self.sharing.keeps_layers() || all <= width {
            return (None, x);
        }
        (Some(x.clone()), kernels::take_columns(x, all - width..all))
    }

    /// Runs every column with the weights of its task.
    fn by_column(
        &self,
        context: &LayerContext<'_>,
        x: Tensor<2>,
        run: impl Fn(&LayerContext<'_>, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let width = self.hidden();
        let column = |(column, task): (usize, &String)| {
            let x = kernels::take_columns(x.clone(), column * width..(column + 1) * width);
            run(&context.with_weights_of(task), x)
        };
        kernels::join_columns(self.sharing.columns().iter().enumerate().map(column).collect())
    }
}

/// Runs every lane's sequences with the weights of its task; with the backbone's what is in no lane.
fn by_lane(
    context: &LayerContext<'_>,
    x: Tensor<2>,
    input: &EncoderInput<'_>,
    selection: Option<&TokenSelection<'_>>,
    run: impl Fn(&LayerContext<'_>, Tensor<2>, &EncoderInput<'_>, Option<&TokenSelection<'_>>) -> Tensor<2>,
) -> Tensor<2> {
    let lanes: Vec<&Lane> = context.lanes().iter().collect();
    if lanes.is_empty() {
        return run(context, x, input, selection);
    }
    let mut states = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let sequences = sequences_of(input.offsets, &lane.tokens);
        let own = lane.tokens.clone();
        let offsets = from_zero(input.offsets, &sequences);
        let before = |queries: &[usize], keys: &[usize]| PackOffset {
            tokens: queries[sequences.start],
            scores: (0..sequences.start).map(|s| length(queries, s) * length(keys, s)).sum(),
            sequences: sequences.start,
        };
        let offset = context.offset().plus(before(input.offsets, input.offsets));
        let of_lane = EncoderInput {
            ids: &input.ids[own.clone()],
            positions: &input.positions[own.clone()],
            segments: &input.segments[own.clone()],
            offsets: &offsets,
            datasets: input.datasets.get(own.clone()).unwrap_or_default(),
            offset,
        };
        let x = kernels::take_rows(x.clone(), own.clone());
        let of_task = context.of_lane(&lane.task, offset);
        let Some(selection) = selection else {
            states.push(run(&of_task, x, &of_lane, None));
            continue;
        };
        let selected = selection.offsets[sequences.start]..selection.offsets[sequences.end];
        let first = to_u32(own.start);
        let tokens: Vec<u32> = selection.tokens[selected].iter().map(|token| token - first).collect();
        if tokens.is_empty() {
            continue;
        }
        let selected_offsets = from_zero(selection.offsets, &sequences);
        let offset = selection.offset.plus(before(selection.offsets, input.offsets));
        let narrowed = TokenSelection { tokens: &tokens, offsets: &selected_offsets, offset };
        states.push(run(&of_task, x, &of_lane, Some(&narrowed)));
    }
    Tensor::cat(states, 0)
}

/// The sequences that some tokens are.
pub(crate) fn sequences_of(offsets: &[usize], tokens: &Range<usize>) -> Range<usize> {
    let at = |token: usize| offsets.partition_point(|offset| *offset < token);
    at(tokens.start)..at(tokens.end)
}

/// The offsets of some sequences, counted from their beginning.
pub(crate) fn from_zero(offsets: &[usize], sequences: &Range<usize>) -> RowOffsets {
    offsets[sequences.start..=sequences.end].iter().map(|offset| offset - offsets[sequences.start]).collect()
}

fn length(offsets: &[usize], sequence: usize) -> usize {
    offsets[sequence + 1] - offsets[sequence]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequences_of_a_lane_are_those_of_its_tokens() {
        let offsets = [0, 3, 5, 5, 9];
        assert_eq!(sequences_of(&offsets, &(0..5)), 0..2);
        assert_eq!(sequences_of(&offsets, &(5..9)), 2..4);
        assert_eq!(&*from_zero(&offsets, &(1..4)), [0, 2, 2, 6]);
    }
}
