//! Writes texts token by token with a network in which a token sees none after it: the tokens so far go through the trunk with its sharing
//! scheme, of which keys and values are kept ([`KvCache`]).

use super::{EncoderInput, Lanes, PackOffset, Trunk, TrunkPass};
use crate::cast::to_u32;
use crate::parameters::Parameters;
use crate::sharing::LanePolicy;
use burn::tensor::Tensor;
use kernels::{KvCache, Precision};

/// Texts of one task that are being written.
pub struct TextWriter<'a> {
    trunk: &'a Trunk,
    parameters: &'a Parameters,
    task: String,
    /// Row of the dataset embedding, where there is one.
    dataset: Option<u32>,
    texts: Vec<Text>,
    /// `None` where the sharing scheme needs all tokens of a text at every step.
    cache: Option<KvCache>,
}

impl Trunk {
    /// The logits `[n, vocabulary]` of what follows tokens with these states `[n, hidden]`, of a network that predicts tokens; `None` of others.
    pub fn logits(&self, parameters: &Parameters, states: Tensor<2>) -> Option<Tensor<2>> {
        let table = parameters.weight(self.spec().language_model.as_ref()?.output?);
        let zeros = Tensor::zeros([table.dims()[0]], &states.device());
        Some(table.linear(states, zeros, Precision::F32))
    }

    /// Begins texts of a task after these prompts, none of which is empty; in the corpus of this number where corpora have vectors.
    pub fn write<'a>(
        &'a self,
        parameters: &'a Parameters,
        task: &str,
        dataset: Option<u32>,
        prompts: Vec<Vec<u32>>,
    ) -> TextWriter<'a> {
        assert!(prompts.iter().all(|prompt| !prompt.is_empty()), "a prompt has a token");
        let sharing = self.sharing();
        let joint = sharing.columns().is_empty() && sharing.prompt_length() == 0;
        let by_token = !sharing.attends() && !sharing.reads_out() && !sharing.keeps_layers();
        let cache = (joint && by_token).then(|| KvCache::new(self.layers(), prompts.len()));
        let begin = |mut tokens: Vec<u32>| {
            // The last token comes with the first step.
            tokens.pop();
            Text { tokens, cached: 0 }
        };
        let texts = prompts.into_iter().map(begin).collect();
        TextWriter { trunk: self, parameters, task: task.to_owned(), dataset, texts, cache }
    }

    /// The lane of a task alone with so many tokens.
    fn lane_of(&self, task: &str, tokens: usize) -> Lanes {
        let name = match self.sharing().lanes() {
            LanePolicy::Shared => return Lanes::default(),
            LanePolicy::PerTask => Some(task.to_owned()),
            LanePolicy::PerGroup(groups) => {
                let group = groups.into_iter().find(|group| group.iter().any(|member| member == task));
                group.and_then(|group| group.into_iter().next())
            }
        };
        Lanes::new(name.map(|name| (name, tokens)))
    }
}

/// A text so far.
#[derive(Debug, Clone)]
struct Text {
    tokens: Vec<u32>,
    /// How many of them have keys and values in the cache.
    cached: usize,
}

impl TextWriter<'_> {
    /// Adds a token to texts; logits `[texts, vocabulary]` of what may follow. Text `i` goes on from text `from[i]` of the step before (of
    /// the first step: from prompt `from[i]`) with token `ids[i]`; texts that no other goes on from are dropped. In the first step `ids` are
    /// the last tokens of the prompts.
    ///
    /// # Panics
    /// If the network predicts no tokens ([`crate::LanguageModel::output`]).
    pub fn step(&mut self, from: &[u32], ids: &[u32]) -> Tensor<2> {
        let go_on = |(text, id): (&u32, &u32)| {
            let mut text = self.texts[*text as usize].clone();
            text.tokens.push(*id);
            text
        };
        self.texts = from.iter().zip(ids).map(go_on).collect();
        if let Some(cache) = &mut self.cache {
            cache.select(from);
        }
        let states = self.states_of_last();
        if self.cache.is_some() {
            self.texts.iter_mut().for_each(|text| text.cached = text.tokens.len());
        }
        self.trunk.logits(self.parameters, states).expect("the network predicts tokens")
    }

    /// Whether keys and values of earlier tokens are kept; otherwise the sharing scheme makes every step read the whole text again.
    pub fn keeps_states(&self) -> bool {
        self.cache.is_some()
    }

    /// States `[texts, hidden]` of the last token of each text, as the task reads them.
    fn states_of_last(&self) -> Tensor<2> {
        let new = |text: &Text| text.cached..text.tokens.len();
        let ids: Vec<u32> = self.texts.iter().flat_map(|text| &text.tokens[new(text)]).copied().collect();
        let positions: Vec<u32> = self.texts.iter().flat_map(|text| new(text).map(to_u32)).collect();
        let offsets = kernels::offsets_from_lengths(self.texts.iter().map(|text| new(text).len()));
        let segments = vec![0; ids.len()];
        let datasets: Vec<u32> = self.dataset.iter().flat_map(|corpus| vec![*corpus; ids.len()]).collect();
        let lanes = self.trunk.lane_of(&self.task, ids.len());
        let input = EncoderInput {
            ids: &ids,
            positions: &positions,
            segments: &segments,
            offsets: &offsets,
            datasets: &datasets,
            offset: PackOffset::default(),
        };
        let pass = TrunkPass {
            lanes: &lanes,
            cache: self.cache.as_ref(),
            grams: None,
            ..TrunkPass::evaluation(self.parameters, input)
        };
        let states = self.trunk.states(&pass);
        let sharing = self.trunk.sharing();
        let states = match sharing.reads_out() {
            true => self.trunk.readout(Some(&self.task), self.parameters, states, &offsets),
            false => states,
        };
        let last: Vec<u32> = offsets[1..].iter().map(|end| to_u32(end - 1)).collect();
        kernels::gather_rows(states, &last)
    }
}
