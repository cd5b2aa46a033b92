//! `metrics = { .. }` of the kinds that generate text: how their texts are scored.

use data::SentencePiece;
use metrics::{BleuOptions, BleuTokenizer, Smoothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GeneratedText;
use crate::TaskError;

/// `metrics = { .. }`: how generated texts are scored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextMetrics {
    /// BLEU's tokenizer, by sacrebleu's names. By default that of the script of the references: `zh` for Chinese, `char` for other
    /// scripts without spaces between words, else `13a`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Tokenization>,
    /// The file of a SentencePiece model, whose pieces are the words of the tokenizers `flores200` and `spm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentencepiece: Option<String>,
    /// Whether BLEU ignores case.
    pub lowercase: bool,
    /// What stands in for n-grams of an order without a match in BLEU.
    pub smoothing: SmoothingMethod,
    /// The value of the smoothing methods `floor` (0.1 by default) and `add-k` (1 by default).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub smoothing_value: Option<f64>,
    /// Whether ROUGE reduces words to their stems by Porter's algorithm, which is for English.
    pub stemmer: bool,
    /// Whether the translation edit rate `ter` is reported, which takes time with long texts.
    pub ter: bool,
}

/// A tokenizer of BLEU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tokenization {
    /// mteval's tokenizer for Western languages.
    #[serde(rename = "13a")]
    Mteval13a,
    /// mteval's tokenizer for all scripts.
    Intl,
    /// Chinese characters one by one, the rest as `13a`.
    Zh,
    /// All characters one by one.
    Char,
    /// At spaces.
    None,
    /// The pieces of Flores-200's SentencePiece model, which `sentencepiece` names (spBLEU).
    Flores200,
    /// The pieces of another SentencePiece model, which `sentencepiece` names.
    Spm,
}

/// A smoothing of BLEU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SmoothingMethod {
    /// Half of a match for the first order without one, a quarter for the next, and so on.
    #[default]
    #[serde(rename = "exp")]
    Exp,
    /// `smoothing_value` matches for an order without one.
    #[serde(rename = "floor")]
    Floor,
    /// `smoothing_value` more matches and n-grams of each order above 1.
    #[serde(rename = "add-k")]
    AddK,
    /// None: the score is 0 where an order has no match.
    #[serde(rename = "none")]
    None,
}

/// Scores by name, and the signatures of those that have settings.
#[derive(Debug, Default)]
pub(crate) struct TextScores {
    pub values: Vec<(String, f64)>,
    pub signatures: Vec<(String, String)>,
}

impl TextMetrics {
    /// Whether nothing is set.
    pub(crate) fn is_default(&self) -> bool {
        *self == TextMetrics::default()
    }

    /// Checks the settings; `key` is that of their table.
    pub(crate) fn check(&self, key: &str) -> Result<(), TaskError> {
        let error = |name: &str, found: String, expected: &str| {
            Err(TaskError::Setting { key: format!("{key}.{name}"), found, expected: expected.into() })
        };
        let by_pieces = matches!(self.tokenizer, Some(Tokenization::Flores200 | Tokenization::Spm));
        if by_pieces && self.sentencepiece.is_none() {
            return error(
                "sentencepiece",
                "nothing".into(),
                "the file of the SentencePiece model of the tokenizer",
            );
        }
        if let (false, Some(file)) = (by_pieces, &self.sentencepiece) {
            let expected = "no such key, or tokenizer = \"flores200\" or \"spm\", which use it";
            return error("sentencepiece", format!("{file:?}"), expected);
        }
        match (self.smoothing, self.smoothing_value) {
            (SmoothingMethod::Floor | SmoothingMethod::AddK, Some(value))
                if !(value > 0.0 && value.is_finite()) =>
            {
                error("smoothing_value", value.to_string(), "a number above 0")
            }
            (SmoothingMethod::Exp | SmoothingMethod::None, Some(value)) => error(
                "smoothing_value",
                value.to_string(),
                "no such key, or smoothing = \"floor\" or \"add-k\"",
            ),
            _ => Ok(()),
        }
    }

    /// One of the values of [`TextMetrics::scores`], without the others; `None` of those that are no primary metric.
    pub(crate) fn value(
        &self,
        name: &str,
        generated: &[GeneratedText<'_>],
        pieces: Option<&SentencePiece>,
    ) -> Option<f64> {
        let (texts, references) = texts(generated);
        match name {
            "bleu" => {
                let split = |text: &str| pieces.map_or_else(Vec::new, |pieces| pieces.pieces(text));
                Some(metrics::bleu(&texts, &references, &self.bleu_options(&references, &split)).score)
            }
            "chrf" => Some(metrics::chrf(&texts, &references, 0)),
            "exact_text" => Some(metrics::exact_text(&texts, &references)),
            _ => None,
        }
    }

    /// The options of BLEU; `split` divides a text into pieces.
    fn bleu_options<'a>(
        &self,
        references: &[Vec<&str>],
        split: &'a dyn Fn(&str) -> Vec<String>,
    ) -> BleuOptions<'a> {
        let tokenizer = match self.tokenizer {
            None => metrics::tokenizer_of_script(references),
            Some(Tokenization::Mteval13a) => BleuTokenizer::Mteval13a,
            Some(Tokenization::Intl) => BleuTokenizer::International,
            Some(Tokenization::Zh) => BleuTokenizer::Chinese,
            Some(Tokenization::Char) => BleuTokenizer::Characters,
            Some(Tokenization::None) => BleuTokenizer::Spaces,
            Some(Tokenization::Flores200) => BleuTokenizer::Other("flores200", split),
            Some(Tokenization::Spm) => BleuTokenizer::Other("spm", split),
        };
        let value = |default: f64| self.smoothing_value.unwrap_or(default);
        let smoothing = match self.smoothing {
            SmoothingMethod::Exp => Smoothing::Exp,
            SmoothingMethod::Floor => Smoothing::Floor(value(0.1)),
            SmoothingMethod::AddK => Smoothing::AddK(value(1.0)),
            SmoothingMethod::None => Smoothing::None,
        };
        BleuOptions { tokenizer, lowercase: self.lowercase, smoothing }
    }

    /// What every kind that generates text reports: BLEU, chrF, exact texts, and TER where it is asked for. `pieces` is the model of
    /// [`TextMetrics::sentencepiece`].
    pub(crate) fn scores(
        &self,
        generated: &[GeneratedText<'_>],
        pieces: Option<&SentencePiece>,
    ) -> TextScores {
        let (texts, references) = texts(generated);
        let split = |text: &str| pieces.map_or_else(Vec::new, |pieces| pieces.pieces(text));
        let options = self.bleu_options(&references, &split);
        let tokenizer = options.tokenizer;
        let mut scores = TextScores {
            values: vec![
                ("bleu".into(), metrics::bleu(&texts, &references, &options).score),
                ("chrf".into(), metrics::chrf(&texts, &references, 0)),
                ("exact_text".into(), metrics::exact_text(&texts, &references)),
            ],
            signatures: vec![
                ("bleu".into(), options.signature(&references)),
                ("chrf".into(), metrics::chrf_signature(&references, 0)),
            ],
        };
        if self.ter {
            // Words between spaces where there are any.
            let without_spaces = !matches!(
                tokenizer,
                BleuTokenizer::Mteval13a | BleuTokenizer::International | BleuTokenizer::Spaces
            );
            let tokenizer = without_spaces.then_some(&tokenizer);
            scores.values.push(("ter".into(), metrics::ter(&texts, &references, tokenizer)));
            scores.signatures.push(("ter".into(), metrics::ter_signature(&references, tokenizer)));
        }
        scores
    }
}

/// The generated texts, and the references of each.
pub(crate) fn texts<'a>(generated: &[GeneratedText<'a>]) -> (Vec<&'a str>, Vec<Vec<&'a str>>) {
    generated.iter().map(|generated| (generated.text, generated.references.clone())).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> TextMetrics {
        serde_json::from_str(json).expect("settings")
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let error = |json: &str| read(json).check("task.t.translation.metrics").err().map(|e| e.to_string());
        assert_eq!(error("{}"), None);
        assert_eq!(error(r#"{"tokenizer": "13a", "smoothing": "add-k", "smoothing_value": 2}"#), None);
        assert_eq!(error(r#"{"tokenizer": "flores200", "sentencepiece": "m"}"#), None);
        for (json, expected) in [
            (r#"{"tokenizer": "flores200"}"#, "metrics.sentencepiece: found nothing, expected the file"),
            (
                r#"{"tokenizer": "zh", "sentencepiece": "m"}"#,
                "metrics.sentencepiece: found \"m\", expected no such key",
            ),
            (
                r#"{"smoothing": "floor", "smoothing_value": 0}"#,
                "metrics.smoothing_value: found 0, expected a number",
            ),
            (r#"{"smoothing_value": 1}"#, "metrics.smoothing_value: found 1, expected no such key"),
        ] {
            let found = error(json).unwrap_or_default();
            assert!(found.contains(expected), "{found}\nlacks: {expected}");
        }
    }

    /// A nearly right Chinese sentence is scored by characters unless another tokenizer is asked for; the signature says which.
    #[test]
    fn the_settings_are_those_of_the_scores() {
        let row = data::Row {
            place: data::Place { file: std::path::Path::new("a").into(), line: 1 },
            fields: Vec::new(),
        };
        let generated = [GeneratedText {
            row: &row,
            text: "他昨天在北京买了三本书。",
            references: vec!["他昨天在北京买了三本旧书。"],
        }];
        let scores = |json: &str| {
            let scores = read(json).scores(&generated, None);
            let value = |name: &str| scores.values.iter().find(|(found, _)| found == name).map(|(_, v)| *v);
            for name in ["bleu", "chrf", "exact_text"] {
                assert_eq!(read(json).value(name, &generated, None), value(name), "alone as among all");
            }
            (value("bleu").unwrap_or(-1.0), value("ter"), scores.signatures[0].1.clone())
        };
        let (bleu, ter, signature) = scores("{}");
        assert!(bleu > 0.7 && ter.is_none() && signature == "nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp");
        let (bleu, ter, signature) =
            scores(r#"{"tokenizer": "13a", "ter": true, "lowercase": true, "smoothing": "floor"}"#);
        assert!(bleu == 0.0 && ter == Some(1.0), "{bleu}, {ter:?}");
        assert_eq!(signature, "nrefs:1|case:lc|eff:no|tok:13a|smooth:floor[0.10]");
    }
}
