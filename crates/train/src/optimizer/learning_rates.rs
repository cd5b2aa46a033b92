//! The learning rate of each parameter: by role, and by depth.

use model::{Level, Owner, Parameter, Parameters, Role, Stack};
use std::collections::{BTreeMap, BTreeSet};

/// Learning rates before the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct LearningRates {
    /// Of the trunk.
    pub trunk: f64,
    /// Of heads whose task names none of its own.
    pub heads: f64,
    /// Of what a sharing scheme adds to the trunk: that of heads by default, because it begins untrained as they do.
    pub adapters: f64,
    /// Of the decoder: the trunk's, or that of heads for a fresh one.
    pub decoder: f64,
    /// Of the heads of tasks that name their own.
    pub tasks: BTreeMap<String, f64>,
    /// Of what a sharing scheme has added for such tasks alone, where the optimizer's table has no rate of adapters.
    pub task_adapters: BTreeMap<String, f64>,
    /// What the rate of each layer of the trunk is multiplied by for every layer above it, the heads included; 1 for equal rates.
    pub layerwise_lr_decay: f64,
}

impl LearningRates {
    /// The learning rate of a parameter, whatever its depth.
    pub fn of(&self, parameter: &Parameter) -> f64 {
        match (parameter.role, &parameter.owner) {
            (Role::Head, owner) => self.of_head(owner.first_task()),
            (Role::Adapter | Role::Gate, Owner::Tasks(tasks)) if tasks.len() == 1 => {
                self.of_adapter(&tasks[0])
            }
            (Role::Adapter | Role::Gate, _) => self.adapters,
            _ if parameter.depth.is_some_and(|depth| depth.stack == Stack::Decoder) => self.decoder,
            _ => self.trunk,
        }
    }

    fn of_head(&self, task: Option<&str>) -> f64 {
        task.and_then(|task| self.tasks.get(task)).copied().unwrap_or(self.heads)
    }

    /// Of what a sharing scheme has added for a task alone.
    fn of_adapter(&self, task: &str) -> f64 {
        self.task_adapters.get(task).copied().unwrap_or(self.adapters)
    }

    /// All of them times `factor`, those of a task's head and adapters also times its own.
    pub(crate) fn scaled(&self, factor: f64, heads: &BTreeMap<String, f64>) -> LearningRates {
        let own = |task: &str| factor * heads.get(task).copied().unwrap_or(1.0);
        let names = |rates: &BTreeMap<String, f64>| -> BTreeSet<String> {
            rates.keys().chain(heads.keys()).cloned().collect()
        };
        let tasks = names(&self.tasks).into_iter().map(|task| {
            let rate = self.of_head(Some(&task)) * own(&task);
            (task, rate)
        });
        let task_adapters = names(&self.task_adapters).into_iter().map(|task| {
            let rate = self.of_adapter(&task) * own(&task);
            (task, rate)
        });
        LearningRates {
            trunk: self.trunk * factor,
            heads: self.heads * factor,
            adapters: self.adapters * factor,
            decoder: self.decoder * factor,
            tasks: tasks.collect(),
            task_adapters: task_adapters.collect(),
            ..*self
        }
    }

    /// The learning rate of each parameter. Of the `n` layers of a stack the last has the trunk's times `layerwise_lr_decay`, the
    /// first times its `n`-th power, the embeddings times one power more (Bao et al., *BEiT*, 2022); what is above the layers, or in
    /// no stack, has the trunk's. What is private to a task, or a sharing scheme has added, does not decay.
    pub(super) fn of_all(&self, parameters: &Parameters) -> Vec<f64> {
        let [encoder, decoder] =
            [Stack::Encoder, Stack::Decoder].map(|stack| number_of_layers(parameters, stack));
        // How many times the decay applies.
        let power = |parameter: &Parameter| -> usize {
            let Some(depth) = parameter.depth else { return 0 };
            let layers = match depth.stack {
                Stack::Encoder => encoder,
                Stack::Decoder => decoder,
            };
            match depth.level {
                Level::Embeddings => layers + 1,
                Level::Layer(layer) => layers - usize::from(layer),
                Level::Output => 0,
            }
        };
        let rate = |parameter: &Parameter| {
            let rate = self.of(parameter);
            let added = matches!(parameter.role, Role::Adapter | Role::Gate);
            let decays = parameter.owner == Owner::Trunk && !added && self.layerwise_lr_decay != 1.0;
            if decays { rate * self.layerwise_lr_decay.powi(power(parameter) as i32) } else { rate }
        };
        parameters.iter().map(rate).collect()
    }
}

/// How many layers a stack has.
fn number_of_layers(parameters: &Parameters, stack: Stack) -> usize {
    let layer = |parameter: &Parameter| match parameter.depth {
        Some(depth) if depth.stack == stack => match depth.level {
            Level::Layer(layer) => Some(usize::from(layer)),
            Level::Embeddings | Level::Output => None,
        },
        _ => None,
    };
    parameters.iter().filter_map(layer).max().map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use model::{Depth, Init, ParameterSpec};

    fn rates(layerwise_lr_decay: f64) -> LearningRates {
        LearningRates {
            trunk: 8.0,
            heads: 16.0,
            adapters: 32.0,
            decoder: 8.0,
            tasks: BTreeMap::new(),
            task_adapters: BTreeMap::new(),
            layerwise_lr_decay,
        }
    }

    fn add(parameters: &mut Parameters, name: &str, owner: Owner, role: Role, depth: Option<Depth>) {
        let name = name.into();
        parameters.add_vector(ParameterSpec { name, shape: &[1], owner, role, depth, init: Init::Zeros });
    }

    /// An encoder of `layers` layers with embeddings and something above them.
    fn encoder(layers: u16) -> Parameters {
        let mut parameters = Parameters::new(&Device::flex(), 1);
        let mut trunk = |name: &str, level| {
            add(&mut parameters, name, Owner::Trunk, Role::Norm, Some(Depth::encoder(level)));
        };
        trunk("backbone.embeddings.norm", Level::Embeddings);
        (0..layers).for_each(|i| trunk(&format!("backbone.layer.{i}.norm"), Level::Layer(i)));
        trunk("backbone.norm", Level::Output);
        parameters
    }

    #[test]
    fn lower_layers_have_lower_rates() {
        let mut parameters = encoder(2);
        parameters.head("x").vector("layer.0.w", 1, Init::Zeros);
        assert_eq!(rates(0.5).of_all(&parameters), [1.0, 2.0, 4.0, 8.0, 16.0]);
        assert_eq!(rates(1.0).of_all(&parameters), [8.0, 8.0, 8.0, 8.0, 16.0]);
    }

    #[test]
    fn a_fresh_decoder_decays_by_its_own_layers_and_not_by_the_names_of_tasks() {
        let mut parameters = encoder(12);
        for (name, level) in [
            ("decoder.embeddings.distances", Level::Embeddings),
            ("decoder.layer.0.norm", Level::Layer(0)),
            ("decoder.layer.1.norm", Level::Layer(1)),
            ("decoder.layer.2.norm", Level::Layer(2)),
            ("decoder.norm", Level::Output),
        ] {
            add(&mut parameters, name, Owner::Trunk, Role::Norm, Some(Depth::decoder(level)));
        }
        parameters.head("x.layer.99.y").vector("bias", 1, Init::Zeros);
        let found = rates(0.5).of_all(&parameters);
        let expected = |powers: &[i32]| powers.iter().map(|n| 8.0 * 0.5f64.powi(*n)).collect::<Vec<_>>();
        assert_eq!(found[..14], expected(&[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]));
        assert_eq!(found[14..19], expected(&[4, 3, 2, 1, 0]));
        assert_eq!(found[19..], [16.0]);
        let fresh = LearningRates { decoder: 16.0, ..rates(1.0) }.of_all(&parameters);
        assert!(fresh[..14] == [8.0; 14] && fresh[14..] == [16.0; 6], "{fresh:?}");
    }

    #[test]
    fn adapters_have_rates_of_their_own_and_do_not_decay() {
        let mut parameters = encoder(1);
        let depth = Some(Depth::encoder(Level::Layer(0)));
        for (name, owner) in [("shared", Owner::Trunk), ("a", Owner::task("a")), ("b", Owner::task("b"))] {
            add(&mut parameters, name, owner, Role::Adapter, depth);
        }
        // A private copy of a layer is as trained as the layer.
        add(&mut parameters, "copy", Owner::task("b"), Role::Linear, depth);
        let own = || BTreeMap::from([("b".to_owned(), 64.0)]);
        let rates = LearningRates { tasks: own(), task_adapters: own(), ..rates(0.5) };
        assert_eq!(rates.of_all(&parameters)[3..], [32.0, 32.0, 64.0, 8.0]);
        let scaled = rates.scaled(0.5, &[("a".to_owned(), 2.0)].into());
        assert_eq!((scaled.trunk, scaled.heads, scaled.adapters), (4.0, 8.0, 16.0));
        assert_eq!((scaled.tasks["a"], scaled.tasks["b"]), (16.0, 32.0));
        assert_eq!(scaled.of_all(&parameters)[3..], [16.0, 32.0, 32.0, 4.0], "an adapter has its own rate");
        let one_rate = LearningRates { task_adapters: BTreeMap::new(), ..rates };
        assert_eq!(one_rate.of_all(&parameters)[3..], [32.0, 32.0, 32.0, 8.0]);
    }
}
