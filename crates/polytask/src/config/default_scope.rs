//! Over what gradients are compared where the config does not say: on a decoder that is trained as a whole, the last layer, for a gradient of
//! all its parameters for every task is more than most machines hold. Where a sharing scheme trains its own parameters alone, these.

use super::diagnostic::Diagnostic;
use super::{Config, document::Node};
use ::balance::Needs;
use ::train::GradientScope;
use model::BackboneConfig;
use std::path::Path;

/// Sets the scope and says so.
pub(super) fn set(config: &mut Config, root: &Node) -> Option<Diagnostic> {
    let is_given = root.find(&["train", "gradient_scope"]).is_some();
    if is_given || config.sharing.freezes_base() || !is_causal(&config.model.backbone) {
        return None;
    }
    let tasks: Vec<&str> = config.task.keys().map(String::as_str).collect();
    let importance = vec![1.0; tasks.len()];
    let balancer = config.balance.build(&tasks, &importance).ok()?;
    if balancer.needs() == Needs::Losses {
        return None;
    }
    config.train.gradient_scope = GradientScope::LastLayer;
    let message = format!(
        "[balance.{}] compares gradients over the last layer, the default on a decoder",
        config.balance.name()
    );
    let help = "`train.gradient_scope = \"all_shared\"` compares those of all shared parameters, and holds as many numbers for every task";
    let span = root.find(&["balance", config.balance.name()]).map(|entry| entry.span);
    Some(Diagnostic::warning(message, span).help(help))
}

fn is_causal(backbone: &BackboneConfig) -> bool {
    match backbone {
        BackboneConfig::Pretrained(path) => model::is_causal(Path::new(path)),
        BackboneConfig::FromScratch(scratch) => scratch.is_causal(),
    }
}
