//! Rules about `[model]` and `[tokenizer]`: what goes with a pretrained backbone, and what with one from scratch.

use super::Rules;
use crate::config::diagnostic::Diagnostic;
use ::model::quantization::WeightType;
use ::model::{BackboneConfig, DeviceName, Dtype, FromScratch};

impl Rules<'_> {
    pub(super) fn model(&mut self) {
        match &self.config.model.backbone {
            BackboneConfig::FromScratch(own) => {
                self.max_length(own);
                self.dropout(own);
                self.tokenizer_file();
            }
            BackboneConfig::Pretrained(_) => self.tokenizer(),
        }
        self.dtype();
        self.quantization_aware();
    }

    /// Kernels with weights in bf16 are the processor's.
    fn dtype(&mut self) {
        let (dtype, device) = (self.config.model.dtype, self.config.train.device);
        if dtype == Dtype::Bf16 && device != DeviceName::Cpu {
            let message = format!("`model.dtype = \"bf16\"` works on cpu, not on {device}");
            let error = Diagnostic::error(message, self.at(&["model", "dtype"]));
            self.push(error.help("remove it"));
        }
    }

    /// Rounding is the processor's, and of matrices that are f32.
    fn quantization_aware(&mut self) {
        let Some(to) = self.config.model.quantization_aware else { return };
        let device = self.config.train.device;
        let (message, help) = match (to, device) {
            (WeightType::F32, _) => {
                ("`model.quantization_aware`: f32 is not rounded".to_owned(), "remove it")
            }
            (_, DeviceName::Cpu) if self.config.model.dtype == Dtype::Bf16 => (
                "`model.quantization_aware` and `model.dtype = \"bf16\"` round the same matrices".to_owned(),
                "remove one",
            ),
            (_, DeviceName::Cpu) => return,
            _ => (format!("`model.quantization_aware` works on cpu, not on {device}"), "remove it"),
        };
        let error = Diagnostic::error(message, self.at(&["model", "quantization_aware"]));
        self.push(error.help(help));
    }

    /// Rows fit the positions of the backbone.
    fn max_length(&mut self, own: &FromScratch) {
        let (longest, name) = (self.config.data.max_length, own.name());
        let Some(most) = own.max_length().filter(|most| longest > *most) else { return };
        let message = format!("rows of {longest} tokens do not fit a backbone for at most {most}");
        let span = self.root.find(&["data", "max_length"]).map(|e| e.node.span);
        let span = span.or_else(|| self.at(&["model", "backbone", name, "max_length"]));
        let help = format!("lower `data.max_length` or raise `model.backbone.{name}.max_length`");
        self.push(Diagnostic::error(message, span).help(help));
    }

    /// `model.dropout` replaces the dropout of a pretrained backbone's config.json.
    fn dropout(&mut self, own: &FromScratch) {
        if self.config.model.dropout.is_some() {
            let name = own.name();
            let message = format!(
                "`model.dropout` is for a pretrained backbone; [model.backbone.{name}] has a `dropout` of its own"
            );
            let error = Diagnostic::error(message, self.at(&["model", "dropout"]));
            self.push(error.help(format!("remove it, and set `model.backbone.{name}.dropout`")));
        }
    }

    /// A tokenizer that is there is not trained.
    fn tokenizer_file(&mut self) {
        let Some(tokenizer) = self.config.tokenizer.as_ref().filter(|own| own.file.is_some()) else { return };
        if (data::TokenizerConfig { file: None, ..tokenizer.clone() }) != data::TokenizerConfig::default() {
            let error = Diagnostic::error(
                "`tokenizer.file` is taken as it is: the other settings of [tokenizer] are for one that is trained",
                self.at(&["tokenizer", "file"]),
            );
            self.push(error.help("remove `file`, or the others"));
        }
    }

    /// A pretrained backbone has a vocabulary.
    fn tokenizer(&mut self) {
        if self.root.get("tokenizer").is_some() {
            let warning = Diagnostic::warning(
                "[tokenizer] is not used: a pretrained backbone brings its own",
                self.key(&["tokenizer"]),
            );
            self.push(
                warning.help("remove it, or build the backbone from scratch: backbone = { bert = {} }"),
            );
        }
    }
}
