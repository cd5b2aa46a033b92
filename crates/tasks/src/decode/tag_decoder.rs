//! From the logits of a row's words to their tags.

use crate::WordTag;
use crate::heads::crf::LinearChainCrf;
use crate::heads::head::argmax;

/// Decodes word by word, or whole tag sequences if there is a CRF or a constraint.
pub(crate) struct TagDecoder {
    chain: Option<LinearChainCrf>,
    tags: usize,
}

impl TagDecoder {
    /// A decoder with the CRF's chain if there is one, and only tag sequences that `scheme` allows if it is given.
    pub fn new(chain: Option<LinearChainCrf>, scheme: Option<metrics::Scheme>, tags: &[String]) -> Self {
        let name = |tag: usize| tags[tag].as_str();
        let chain = match scheme {
            None => chain,
            Some(scheme) => {
                let chain = chain.unwrap_or_else(|| LinearChainCrf::neutral(tags.len()));
                Some(chain.constrained(|from, to| scheme.allows(from.map(name), to.map(name))))
            }
        };
        TagDecoder { chain, tags: tags.len() }
    }

    /// Tags and probabilities of one row's words; `logits` is `[words, tags]`.
    pub fn decode(&self, logits: &[f32]) -> Vec<WordTag> {
        let Some(chain) = &self.chain else { return self.word_by_word(logits) };
        let emissions: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
        match (chain.viterbi(&emissions), chain.marginals(&emissions)) {
            (Some((path, _)), Some(marginals)) => path
                .iter()
                .zip(marginals.chunks(self.tags))
                .map(|(tag, row)| WordTag { label: *tag, probability: row[*tag as usize] as f32 })
                .collect(),
            // If the label space allows no sequence (only `I-` tags, say), tags are decoded without the constraint.
            _ => self.word_by_word(logits),
        }
    }

    fn word_by_word(&self, logits: &[f32]) -> Vec<WordTag> {
        let tag = |row: &[f32]| {
            let (label, most) = argmax(row);
            let sum: f64 = row.iter().map(|logit| f64::from(logit - most).exp()).sum();
            WordTag { label: label as u32, probability: (1.0 / sum) as f32 }
        };
        logits.chunks(self.tags).map(tag).collect()
    }
}
