//! Rules about `[train]`: settings out of range, devices, batches, and what an evaluation decides.

use super::Rules;
use crate::config::diagnostic::Diagnostic;
use crate::config::suggest::suggest;
use ::model::{BackboneConfig, DeviceName, Precision};
use ::train::SettingError;

/// Mesa's llvmpipe ends every loop after 65,535 rounds without a word; sums over a batch's tokens are such loops.
const MAX_TOKENS_ON_WGPU: usize = 65_000;

/// The remedy for batches that take too much memory.
const SMALLER_BATCHES: &str =
    "remove it, or lower `train.tokens_per_batch` and raise `train.gradient_accumulation_steps`";

impl Rules<'_> {
    pub(super) fn train(&mut self) {
        self.setting_errors();
        self.sampler();
        self.device();
        self.precision();
        self.batch_size();
        self.early_stopping();
        self.metric_for_best_model();
    }

    /// Settings out of their ranges.
    fn setting_errors(&mut self) {
        let mut errors = self.config.settings().errors();
        // An error of a key that is not written follows from one that is.
        let is_written =
            |error: &SettingError| self.root.find(&error.key.split('.').collect::<Vec<_>>()).is_some();
        if errors.iter().any(is_written) {
            errors.retain(is_written);
        }
        for error in errors {
            let span = self.at(&error.key.split('.').collect::<Vec<_>>());
            let message = format!("`{}`: found {}, expected {}", error.key, error.found, error.expected);
            self.push(Diagnostic::error(message, span));
        }
    }

    fn sampler(&mut self) {
        let config = self.config;
        if let Err(error) = config.sampling.check(config.train.epochs) {
            self.push(Diagnostic::error(error.to_string(), self.at(&["sampling", config.sampling.name()])));
        }
    }

    /// What the processor alone can do.
    fn device(&mut self) {
        let train = &self.config.train;
        let device = train.device;
        if train.activation_checkpointing && device != DeviceName::Cpu {
            let message = format!("`train.activation_checkpointing` works on the cpu alone, not on {device}");
            let error = Diagnostic::error(message, self.at(&["train", "activation_checkpointing"]));
            self.push(error.help(SMALLER_BATCHES));
        }
        if train.max_memory_gib.is_some() && device != DeviceName::Cpu {
            let message =
                format!("`train.max_memory_gib` is about this machine's own memory, not that of {device}");
            let error = Diagnostic::error(message, self.at(&["train", "max_memory_gib"]));
            self.push(error.help(SMALLER_BATCHES));
        }
        if device == DeviceName::Wgpu && train.tokens_per_batch > MAX_TOKENS_ON_WGPU {
            let most = MAX_TOKENS_ON_WGPU;
            let message = format!(
                "`train.tokens_per_batch` may be at most {most} on wgpu: software drivers end longer loops"
            );
            let error = Diagnostic::error(message, self.at(&["train", "tokens_per_batch"]));
            self.push(error.help("lower it, and raise `train.gradient_accumulation_steps`"));
        }
    }

    /// Products of bf16 are for devices and networks that have them.
    fn precision(&mut self) {
        let config = self.config;
        if config.train.precision != Precision::Bf16 {
            return;
        }
        let mut messages = Vec::new();
        if config.train.device == DeviceName::Wgpu {
            messages.push("`train.precision = \"bf16\"` works on cpu and cuda, not on wgpu");
        }
        if matches!(&config.model.backbone, BackboneConfig::FromScratch(own) if !own.has_linear_layers()) {
            messages.push(
                "`train.precision = \"bf16\"` is about large matrix products, and a bag with `window = 0` has none",
            );
        }
        for message in messages {
            let error = Diagnostic::error(message, self.at(&["train", "precision"]));
            self.push(error.help("remove it"));
        }
    }

    /// A batch holds at least one row.
    fn batch_size(&mut self) {
        let (longest, tokens) = (self.config.data.max_length, self.config.train.tokens_per_batch);
        if tokens < longest {
            let message = format!(
                "a batch of {tokens} tokens does not hold a row of `data.max_length` = {longest}: longer rows are batches by themselves"
            );
            let span = self.root.find(&["train", "tokens_per_batch"]).map(|e| e.node.span);
            let span = span.or_else(|| self.at(&["data", "max_length"]));
            let warning = Diagnostic::warning(message, span);
            self.push(warning.help("raise `train.tokens_per_batch` or lower `data.max_length`"));
        }
    }

    fn early_stopping(&mut self) {
        if self.config.train.early_stopping.is_some() && self.lacks_validation() {
            let span = self.key(&["train", "early_stopping"]);
            let error =
                Diagnostic::error("early stopping needs a validation split, and no corpus has one", span);
            self.push(error.help("add `validation = \"...\"` to a [corpus.NAME]"));
        }
    }

    /// What chooses the best checkpoint is a metric of a task with a validation split.
    fn metric_for_best_model(&mut self) {
        let Some(wanted) = &self.config.train.metric_for_best_model else { return };
        let span = self.at(&["train", "metric_for_best_model"]);
        let metrics: Vec<(&str, String)> = self
            .kinds
            .iter()
            .flat_map(|(task, kind)| kind.metrics().iter().map(move |m| (*task, format!("{task}.{m}"))))
            .collect();
        match metrics.iter().find(|(_, name)| name == wanted) {
            Some((task, _)) if !self.is_validated(task) => {
                let message = format!(
                    "`{wanted}` cannot choose the best checkpoint: the corpus of `{task}` has no validation split"
                );
                self.push(
                    Diagnostic::error(message, span).help("add `validation = \"...\"` to its [corpus.NAME]"),
                );
            }
            Some(_) => {}
            // Where a task is broken its metrics are unknown; that has been said already.
            None if self.kinds.len() < self.config.task.len() => {}
            None => {
                let names: Vec<&str> = metrics.iter().map(|(_, name)| name.as_str()).collect();
                let mut error = Diagnostic::error(format!("there is no metric {wanted:?}"), span);
                if let Some(near) = suggest(wanted, names.iter().copied()) {
                    error = error.help(format!("did you mean {near:?}?"));
                }
                self.push(error.help(format!("TASK.METRIC, one of {}", names.join(", "))));
            }
        }
    }
}
