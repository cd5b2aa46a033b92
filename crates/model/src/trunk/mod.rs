//! The trunk: a backbone and everything that is the same for all of them: which layers are frozen, activation checkpointing, the
//! precision of products, dataset embeddings, the selection of tokens in the last layer, and the sharing scheme.

mod context;
mod dataset_embedding;
mod feed_forward;
mod freeze;
mod input;
mod inserted_rows;
mod lanes;
mod one_for_all;
mod onnx;
mod passes;
mod text_writer;

pub use context::{LayerContext, Prefixed};
pub use feed_forward::{Activation, FeedForwardId, FeedForwardWeights, LinearId};
pub use freeze::Freeze;
pub use input::{EncoderInput, PackOffset, TokenSelection};
pub use lanes::{Lane, Lanes};
pub(crate) use passes::{from_zero, sequences_of};
pub use text_writer::TextWriter;

use crate::backbones::{Backbone, BackboneSpec};
use crate::calibration::InputGrams;
use crate::decoder::Generator;
use crate::error::ModelError;
use crate::parameters::{Depth, Level, MatrixId, Parameters, Role, Stack};
use crate::sharing::{Hard, LanePolicy, Sharing};
use burn::tensor::Tensor;
use kernels::{KvCache, Precision, RowOffsets};
use std::ops::Range;
use std::sync::Arc;

/// The sums of longer rows of int8 could leave 32 bits.
pub(crate) const MOST_INT8_INPUTS: usize = 1 << 16;

/// A backbone with its settings: see the module. The weights are in [`Parameters`].
#[derive(Debug)]
pub struct Trunk {
    backbone: Box<dyn Backbone>,
    sharing: Box<dyn Sharing>,
    precision: Precision,
    activation_checkpointing: bool,
    dataset_embedding: Option<MatrixId>,
    /// Layers that are frozen together with the embeddings.
    frozen: Option<usize>,
    /// As many for a while: those of a phase.
    frozen_in_phase: Option<usize>,
    /// Layers that states pass by, while it is measured what the network is without them.
    left_out: Vec<usize>,
}

/// One pass of some tokens through a trunk.
#[derive(Clone, Copy)]
pub struct TrunkPass<'a> {
    /// The weights.
    pub parameters: &'a Parameters,
    /// The tokens.
    pub input: EncoderInput<'a>,
    /// Which of them have private parameters.
    pub lanes: &'a Lanes,
    /// With a seed there is dropout, a pure function of it and of positions; `None` is evaluation.
    pub dropout_seed: Option<u64>,
    /// How much of the training lies behind, 0 to 1; 1 outside of it.
    pub progress: f64,
    /// Which share of a step the pass is: what losses that a sharing scheme adds are multiplied by; 0 outside of training.
    pub share: f64,
    /// Keys and values of what comes before the tokens in their texts, to which theirs are added: texts that are written token by token.
    pub cache: Option<&'a KvCache>,
    /// What sums up the inputs of linear layers, if anything does.
    pub grams: Option<&'a InputGrams>,
}

impl<'a> TrunkPass<'a> {
    /// A pass outside of training, of tokens that have no private parameters.
    pub fn evaluation(parameters: &'a Parameters, input: EncoderInput<'a>) -> Self {
        TrunkPass {
            parameters,
            input,
            lanes: Lanes::NONE,
            dropout_seed: None,
            progress: 1.0,
            share: 0.0,
            cache: None,
            grams: None,
        }
    }
}

impl Trunk {
    /// A backbone as it is: nothing frozen, f32, hard sharing.
    pub fn new(backbone: Box<dyn Backbone>) -> Self {
        Trunk {
            backbone,
            sharing: Box::new(Hard),
            precision: Precision::F32,
            activation_checkpointing: false,
            dataset_embedding: None,
            frozen: None,
            frozen_in_phase: None,
            left_out: Vec::new(),
        }
    }

    /// What is constant about the backbone.
    pub fn spec(&self) -> &BackboneSpec {
        self.backbone.spec()
    }

    /// The network itself.
    pub(crate) fn backbone(&self) -> &dyn Backbone {
        &*self.backbone
    }

    /// The width of a state.
    pub fn hidden(&self) -> usize {
        self.spec().hidden
    }

    /// How many layers stand above the embeddings.
    pub fn layers(&self) -> usize {
        self.spec().layers.len()
    }

    /// What writes texts from the states, where the backbone has it.
    pub fn generator(&self) -> Option<Arc<dyn Generator>> {
        self.backbone.generator(self.precision)
    }

    /// The numbers that large products are made of; f32 to begin with.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// From now on makes large products of such numbers, where the device can.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// Whether a training pass keeps only what enters each layer, and computes the layer again in the backward pass (Chen et al.
    /// 2016, "Training deep nets with sublinear memory cost"): the same numbers, less memory, about a quarter more time.
    pub fn activation_checkpointing(&self) -> bool {
        self.activation_checkpointing
    }

    /// Sets [`Trunk::activation_checkpointing`].
    pub fn set_activation_checkpointing(&mut self, on: bool) {
        self.activation_checkpointing = on;
    }

    /// The scheme by which tasks share the trunk.
    pub fn sharing(&self) -> &dyn Sharing {
        &*self.sharing
    }

    /// Puts a sharing scheme on the trunk and adds its parameters. At most once, before tasks' heads are built.
    ///
    /// # Errors
    /// When its settings do not fit the trunk.
    pub fn set_sharing(
        &mut self,
        mut scheme: Box<dyn Sharing>,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        if self.spec().is_causal() && scheme.reads_all_tokens() {
            return Err(ModelError::Sharing {
                key: format!("{}.gate", scheme.config().name()),
                found: "\"row\", of a network in which a token sees none after it".into(),
                expected: "\"token\" or \"task\": the mean of a row would tell every token what follows"
                    .into(),
            });
        }
        scheme.build(&self.spec().shape(), tasks, parameters)?;
        if (0..parameters.len())
            .any(|i| parameters.parameter(i).is_copy() && parameters.second_factor(i).is_some())
        {
            return Err(ModelError::Sharing {
                key: scheme.config().name().into(),
                found: "copies of matrices of a low-rank backbone, which are two factors".into(),
                expected: "a scheme that leaves the backbone's matrices as they are, such as `hard`, `lora` or `adapters`, or a backbone \
                           that was not factorized"
                    .into(),
            });
        }
        self.sharing = scheme;
        Ok(())
    }

    /// Whether each task's rows go through the trunk by themselves.
    pub fn has_lanes(&self) -> bool {
        self.sharing.lanes() != LanePolicy::Shared
    }

    /// From now on adds to the vector of every token one of its corpus ([`EncoderInput::datasets`]), of a table `[corpora, hidden]`
    /// that begins as zeros, before the first norm, dropout or layer. At most once, and before anything is frozen.
    pub fn add_dataset_embedding(&mut self, corpora: usize, parameters: &mut Parameters) {
        self.dataset_embedding = Some(dataset_embedding::add(corpora, self.hidden(), parameters));
    }

    /// That table; `None` where corpora have no vectors.
    pub fn dataset_embedding(&self) -> Option<MatrixId> {
        self.dataset_embedding
    }

    /// From now on states pass by these layers, as if they had been cut out ([`crate::pruning`]): for measuring what the network is without
    /// them. Of a trunk with hard sharing.
    pub fn leave_out(&mut self, layers: Vec<usize>) {
        self.left_out = layers;
    }

    /// How many layers are frozen together with the embeddings; `None` where everything is trained.
    pub fn frozen(&self) -> Option<usize> {
        self.frozen.max(self.frozen_in_phase)
    }

    /// Freezes the embeddings and the first `layers` layers (at most [`Trunk::layers`]): their parameters are not trained, nothing is
    /// saved for their gradients, and there is no dropout in them. Their states are what [`Trunk::lower`] gives.
    pub fn freeze(&mut self, layers: usize, parameters: &mut Parameters) {
        self.frozen = Some(layers);
        for index in 0..parameters.len() {
            if self.is_frozen_at(parameters, index, layers) {
                parameters.set_trainable(index, false);
            }
        }
    }

    /// Rounds the matrices of the trunk that are not trained to bf16 and keeps them in half the memory; those of `exactly` alone that this
    /// does not change. How many numbers they are. A matrix that a sharing scheme has copied stays as it is.
    pub fn pack(&self, parameters: &mut Parameters, exactly: bool) -> usize {
        let table = self.spec().language_model.as_ref().and_then(|model| model.output);
        let copied = |index: usize| self.sharing.copies().is_some_and(|copies| copies.has_copies_of(index));
        let mut numbers = 0;
        for index in self.matrices(parameters, table) {
            let is_wanted = !parameters.parameter(index).trainable && !copied(index);
            if is_wanted && (!exactly || parameters.is_exactly_bf16(index)) {
                numbers += parameters.parameter(index).size();
                parameters.pack(index);
            }
        }
        numbers
    }

    /// The matrices of the network's own linear layers, by index, and a table of token vectors.
    fn matrices(&self, parameters: &Parameters, table: Option<MatrixId>) -> Vec<usize> {
        let is_one = |index: &usize| {
            let parameter = parameters.parameter(*index);
            let is_table = table.is_some_and(|table| table.index() == *index);
            parameter.is_base() && parameter.shape().len() == 2 && (parameter.is_linear_weight() || is_table)
        };
        (0..parameters.len()).filter(is_one).collect()
    }

    /// The matrices that int8 may hold, by index: those of linear layers of the network itself, and the token table.
    pub fn int8_candidates(&self, parameters: &Parameters) -> Vec<usize> {
        let is_candidate = |index: &usize| {
            let parameter = parameters.parameter(*index);
            let is_known = parameters.is_second_factor(*index)
                || self.spec().names.entries().iter().any(|entry| entry.name == parameter.name);
            is_known && (1..=MOST_INT8_INPUTS).contains(&parameter.shape()[1])
        };
        let matrices = self.matrices(parameters, Some(self.spec().token_embedding));
        matrices.into_iter().filter(is_candidate).collect()
    }

    /// Whether the first `layers` layers can be frozen without those above: not where these have the same weights (ALBERT).
    pub fn can_freeze(&self, layers: usize) -> bool {
        !self.spec().shape().repeats_across(layers)
    }

    /// Takes the embeddings and the first layers as frozen for a while: there is no dropout in them. Whoever calls it sees to the
    /// parameters ([`Trunk::is_frozen_at`]).
    pub fn set_frozen_in_phase(&mut self, layers: Option<usize>) {
        self.frozen_in_phase = layers;
    }

    /// Whether freezing the first `layers` layers freezes a parameter: one of the network itself, and not of a sharing scheme.
    pub fn is_frozen_at(&self, parameters: &Parameters, index: usize, layers: usize) -> bool {
        let parameter = parameters.parameter(index);
        let output = Depth { stack: Stack::Encoder, level: Level::Output };
        parameter.is_base()
            && (parameter.is_in_prefix(layers) || layers == self.layers() && parameter.depth == Some(output))
    }

    /// Whether a parameter is the trunk's but no backbone's: the sharing scheme's, or the dataset embedding.
    pub(crate) fn adds(&self, parameters: &Parameters, index: usize) -> bool {
        let parameter = parameters.parameter(index);
        let added = matches!(parameter.role, Role::Adapter | Role::Gate) || parameter.is_copy();
        added || self.dataset_embedding.is_some_and(|table| table.index() == index)
    }

    /// Whether a parameter is trained by the last layer's part of a backward pass: the last layer, what is above it, the decoder.
    pub fn is_in_last_layer(&self, parameters: &Parameters, index: usize) -> bool {
        match parameters.parameter(index).depth {
            Some(Depth { stack: Stack::Decoder, .. }) => true,
            Some(Depth { level: Level::Layer(layer), .. }) => usize::from(layer) + 1 == self.layers(),
            Some(Depth { level, .. }) => level == Level::Output,
            None => false,
        }
    }

    /// The layers whose states [`Trunk::lower`] gives: those that are frozen throughout and that no sharing scheme touches.
    fn prefix(&self) -> Option<usize> {
        self.frozen.map(|layers| layers.min(self.sharing.first_layer()))
    }

    /// Layers below this have no dropout, the embeddings included; `None`: all have. A scheme that reads the states of layers, and
    /// changes none, leaves frozen layers without.
    fn without_dropout(&self) -> Option<usize> {
        let only_reads = self.sharing.keeps_layers() && self.sharing.copies().is_none();
        let changed = if only_reads { usize::MAX } else { self.sharing.first_layer() };
        self.frozen().map(|layers| layers.min(changed))
    }

    /// States `[tokens, hidden]` that enter the lowest layer that is trained or touched by the sharing scheme: out of the frozen
    /// prefix, or out of the embeddings where nothing is frozen.
    pub fn lower(&self, pass: &TrunkPass<'_>) -> Tensor<2> {
        let seed = pass.dropout_seed.filter(|_| self.without_dropout().is_none());
        let x = self.backbone.embed(&self.context(pass, seed), &pass.input);
        self.run(pass, 0..self.prefix().unwrap_or(0), x)
    }

    /// The layers that [`Trunk::middle`] runs.
    pub fn middle_layers(&self) -> Range<usize> {
        let first = self.prefix().unwrap_or(0);
        first..self.layers().saturating_sub(1).max(first)
    }

    /// States `[tokens, hidden]` that enter the last layer, from those of [`Trunk::lower`]; these themselves where the last layer is
    /// frozen, or where there is none.
    pub fn middle(&self, pass: &TrunkPass<'_>, below: Tensor<2>) -> Tensor<2> {
        self.run(pass, self.middle_layers(), below)
    }

    /// States after some layers from those before. What the network computes once for a run of layers is computed once.
    pub fn run(&self, pass: &TrunkPass<'_>, layers: Range<usize>, x: Tensor<2>) -> Tensor<2> {
        // A run has dropout throughout or nowhere in it, but for one that a phase freezes in part.
        let still = self.without_dropout().unwrap_or(0).clamp(layers.start, layers.end);
        let x = match layers.start..still {
            none if none.is_empty() => x,
            still => {
                let context = self.context(pass, None);
                still.fold(x, |x, i| self.layer(i, &context, x, &pass.input, None))
            }
        };
        let context = self.context(pass, pass.dropout_seed);
        (still..layers.end).fold(x, |x, i| self.layer(i, &context, x, &pass.input, None))
    }

    /// States `[tokens, hidden]` of the whole trunk from those that enter the last layer; where tokens are selected, only theirs, in
    /// their order. The last layer then does for the other tokens only what these see of them.
    pub fn last(
        &self,
        pass: &TrunkPass<'_>,
        states: Tensor<2>,
        selection: Option<&TokenSelection<'_>>,
    ) -> Tensor<2> {
        let end = self.layers();
        let first = self.prefix().unwrap_or(0);
        let all_still = self.without_dropout() == Some(end);
        let context = self.context(pass, pass.dropout_seed.filter(|_| !all_still));
        let x = if first < end {
            self.layer(end - 1, &context, states, &pass.input, selection)
        } else {
            match selection {
                Some(selection) => kernels::gather_rows(states, selection.tokens),
                None => states,
            }
        };
        match selection {
            Some(selection) => self.finish(&context.select(selection), x, selection.offsets),
            None => self.finish(&context, x, pass.input.offsets),
        }
    }

    /// What the trunk gives, computed once for all tasks, of states `[n, width]` out of the last layer ([`Sharing::finish`]).
    pub fn over_states(&self, parameters: &Parameters, states: Tensor<2>, rows: &RowOffsets) -> Tensor<2> {
        self.sharing.finish(&LayerContext::plain(parameters, self.precision, None), states, rows)
    }

    /// What a task reads of the states that the trunk gives, `[n, hidden]`, where the sharing scheme makes a difference
    /// ([`Sharing::reads_out`]): `states` are those of the task's rows, whose sequences begin and end at `rows`. `None` for what no
    /// task reads: the network's own states.
    pub fn readout(
        &self,
        task: Option<&str>,
        parameters: &Parameters,
        states: Tensor<2>,
        rows: &RowOffsets,
    ) -> Tensor<2> {
        let plain = LayerContext::plain(parameters, self.precision, None);
        self.sharing.readout(task, &plain, states, rows)
    }

    /// States `[tokens, hidden]` of all tokens.
    pub fn states(&self, pass: &TrunkPass<'_>) -> Tensor<2> {
        let below = self.lower(pass);
        let states = self.middle(pass, below);
        self.last(pass, states, None)
    }

    fn context<'a>(&'a self, pass: &TrunkPass<'a>, dropout_seed: Option<u64>) -> LayerContext<'a> {
        let plain = LayerContext::plain(pass.parameters, self.precision, dropout_seed);
        plain.of_trunk(pass, &*self.sharing, self.dataset_embedding)
    }
}
