//! The learning rate of each parameter: by group, and by depth.

use model::{Group, Parameter, Parameters};
use std::collections::BTreeMap;

/// Learning rates by group, before the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Of the trunk.
    pub trunk: f64,
    /// Of heads whose task names none of its own.
    pub heads: f64,
    /// Of the heads of tasks that name their own.
    pub tasks: BTreeMap<String, f64>,
    /// What the rate of each layer of the trunk is multiplied by for every layer above it, the heads included; 1 for equal rates.
    pub layer_decay: f64,
}

impl Rates {
    /// The learning rate of a group.
    pub fn of(&self, group: &Group) -> f64 {
        match group {
            Group::Trunk => self.trunk,
            Group::Task(task) => self.tasks.get(task).copied().unwrap_or(self.heads),
        }
    }

    /// All of them times `factor`, those of heads also times their own.
    pub(crate) fn scaled(&self, factor: f64, heads: &BTreeMap<String, f64>) -> Rates {
        let named = self.tasks.keys().chain(heads.keys()).cloned().map(|head| {
            let own = heads.get(&head).copied().unwrap_or(1.0);
            let rate = self.of(&Group::Task(head.clone())) * factor * own;
            (head, rate)
        });
        Rates { trunk: self.trunk * factor, heads: self.heads * factor, tasks: named.collect(), ..*self }
    }

    /// The learning rate of each parameter. Of `n` layers the last has the trunk's times `layer_decay`, the first times its
    /// `n`-th power, the embeddings times one power more (Bao et al., *BEiT*, 2022); what stands in no layer has the trunk's.
    pub(super) fn of_all(&self, parameters: &Parameters) -> Vec<f64> {
        let layers = parameters.iter().filter_map(|p| layer(&p.name)).max().map_or(0, |last| last + 1);
        let below = |parameter: &Parameter| match layer(&parameter.name) {
            Some(layer) => layers - layer,
            None if parameter.name.contains("embedding") => layers + 1,
            None => 0,
        };
        let rate = |parameter: &Parameter| {
            let rate = self.of(&parameter.group);
            match parameter.group {
                Group::Trunk if self.layer_decay != 1.0 => {
                    rate * self.layer_decay.powi(below(parameter) as i32)
                }
                _ => rate,
            }
        };
        parameters.iter().map(rate).collect()
    }
}

/// The number of the layer that a parameter is in: `backbone.layer.3.wide.weight` is in layer 3.
fn layer(name: &str) -> Option<usize> {
    let (_, rest) = name.split_once(".layer.")?;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use model::Init;

    #[test]
    fn lower_layers_have_lower_rates() {
        let mut parameters = Parameters::new(&Device::flex(), 1);
        let names = ["backbone.embeddings.word", "backbone.layer.0.a", "backbone.layer.1.b", "backbone.norm"];
        for name in names {
            parameters.vector(&Group::Trunk, name, 1, Init::Zeros);
        }
        parameters.vector(&Group::Task("x".into()), "head.x.layer.0.w", 1, Init::Zeros);
        let rates = |layer_decay| Rates { trunk: 8.0, heads: 16.0, tasks: BTreeMap::new(), layer_decay };
        assert_eq!(rates(0.5).of_all(&parameters), [1.0, 2.0, 4.0, 8.0, 16.0]);
        assert_eq!(rates(1.0).of_all(&parameters), [8.0, 8.0, 8.0, 8.0, 16.0]);
    }
}
