//! Learning rates where the config gives none: they depend on the backbone, which the optimizer does not know.

use super::document::Node;
use model::{BackboneConfig, FromScratch};
use train::OptimizerConfig;

/// The rate of each backbone from scratch, under AdamW and its schedule-free form. Measured by `bench/scratch_rates.py`, but those of
/// `llama` and `t5`, which are what small networks that write usually take, and of `deberta` and `modernbert`, which is that of `bert`.
const FROM_SCRATCH: [(&str, f64); 6] =
    [("bag", 1e-2), ("bert", 3e-3), ("deberta", 3e-3), ("llama", 1e-3), ("modernbert", 3e-3), ("t5", 1e-3)];

/// Sets what the document does not: the rate of a backbone from scratch, and on a pretrained one that of new parts.
pub(super) fn set(optimizer: &mut OptimizerConfig, backbone: &BackboneConfig, root: &Node) {
    match backbone {
        BackboneConfig::Pretrained(_) => optimizer.set_default_head_rate(),
        BackboneConfig::FromScratch(scratch) => {
            let is_given = |name| root.find(&["optimizer", name, "learning_rate"]).is_some();
            if !["adamw", "schedule_free_adamw"].into_iter().any(is_given) {
                rate_of(scratch).into_iter().for_each(|rate| optimizer.set_default_rate(rate));
            }
        }
    }
}

fn rate_of(backbone: &FromScratch) -> Option<f64> {
    FROM_SCRATCH.iter().find(|(name, _)| *name == backbone.name()).map(|(_, rate)| *rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backbone_has_a_rate() {
        for name in model::CATALOGUE.iter().map(|(name, _)| name) {
            assert!(FROM_SCRATCH.iter().any(|(known, _)| known == name), "{name}");
        }
    }
}
