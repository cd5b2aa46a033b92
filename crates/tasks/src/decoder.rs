//! From the logits of a row's words to their tags.

use crate::WordTag;
use crate::crf::Chain;
use crate::head::largest;

/// Decodes word by word, or whole rows if there is a CRF or a scheme to keep to.
pub(crate) struct Decoder {
    chain: Option<Chain>,
    tags: usize,
}

impl Decoder {
    /// With the CRF's chain if there is one, and only rows of tags that `scheme` allows if it is given.
    pub fn new(chain: Option<Chain>, scheme: Option<metrics::Scheme>, tags: &[String]) -> Self {
        let name = |tag: usize| tags[tag].as_str();
        let chain = match scheme {
            None => chain,
            Some(scheme) => {
                let chain = chain.unwrap_or_else(|| Chain::neutral(tags.len()));
                Some(chain.constrained(|from, to| scheme.allows(from.map(name), to.map(name))))
            }
        };
        Decoder { chain, tags: tags.len() }
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
            // Tags of which no row is allowed (only `I-` tags, say) are decoded freely.
            _ => self.word_by_word(logits),
        }
    }

    fn word_by_word(&self, logits: &[f32]) -> Vec<WordTag> {
        let tag = |row: &[f32]| {
            let (label, most) = largest(row);
            let sum: f64 = row.iter().map(|logit| f64::from(logit - most).exp()).sum();
            WordTag { label: label as u32, probability: (1.0 / sum) as f32 }
        };
        logits.chunks(self.tags).map(tag).collect()
    }
}
