//! What a parameter is: whose it is, what it does, and where in the network it stands. Every decision about a parameter (its
//! learning rate, its optimizer, freezing, operation counts, the file it is saved to) reads these and never its name.

use crate::init::Init;
use std::borrow::Cow;

/// The tasks that a parameter is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// All of them.
    Trunk,
    /// These, the first of which gave it its name. One task: private to it.
    Tasks(Vec<String>),
}

impl Owner {
    /// A single task.
    pub fn task(name: impl Into<String>) -> Self {
        Owner::Tasks(vec![name.into()])
    }

    /// Whether several tasks use the parameter, so that their gradients of it can be compared.
    pub fn is_shared(&self) -> bool {
        match self {
            Owner::Trunk => true,
            Owner::Tasks(tasks) => tasks.len() > 1,
        }
    }

    /// The task that it is named after; `None` for the trunk's.
    pub fn first_task(&self) -> Option<&str> {
        match self {
            Owner::Trunk => None,
            Owner::Tasks(tasks) => tasks.first().map(String::as_str),
        }
    }
}

/// What a parameter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A table of which rows are looked up.
    Embedding,
    /// The weight of a linear layer of the network, `[out, in]`.
    Linear,
    /// Added to the output of a linear layer.
    Bias,
    /// Scale of a norm.
    Norm,
    /// Shift of a norm.
    NormShift,
    /// Added to attention scores by the distance of query and key.
    PositionBias,
    /// What a sharing scheme adds to the network: low-rank factors, bottlenecks.
    Adapter,
    /// What a sharing scheme mixes by.
    Gate,
    /// Part of a task's head.
    Head,
}

/// Which chain of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stack {
    /// The backbone's encoder.
    Encoder,
    /// The decoder: the backbone's own, or a fresh one on it.
    Decoder,
}

/// Where in its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Below the first layer.
    Embeddings,
    /// In the layer of this number, from 0.
    Layer(u16),
    /// Above the last layer.
    Output,
}

impl Level {
    /// In the layer of this number, from 0.
    ///
    /// # Panics
    /// From 2^16 on: sizes of networks are checked to be far below.
    pub fn layer(layer: usize) -> Self {
        Level::Layer(u16::try_from(layer).expect("a layer below 2^16"))
    }
}

/// Where in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Depth {
    /// Which chain of layers.
    pub stack: Stack,
    /// Where in it.
    pub level: Level,
}

impl Depth {
    /// In the encoder.
    pub const fn encoder(level: Level) -> Self {
        Depth { stack: Stack::Encoder, level }
    }

    /// In the decoder.
    pub const fn decoder(level: Level) -> Self {
        Depth { stack: Stack::Decoder, level }
    }
}

/// Everything about a parameter that is to be made.
#[derive(Debug, Clone)]
pub struct ParameterSpec<'a> {
    /// Its name, unique in the table; its first values are drawn by it.
    pub name: Cow<'a, str>,
    /// One or two sizes.
    pub shape: &'a [usize],
    /// Whose it is.
    pub owner: Owner,
    /// What it does.
    pub role: Role,
    /// Where it stands; `None` for what stands in no stack, such as a head.
    pub depth: Option<Depth>,
    /// Its first values.
    pub init: Init,
}

/// What the names of the parameters of a task's head begin with. Dots of the task's name are doubled, so that `a.b` with `c` and
/// `a` with `b.c` stay apart.
pub fn head_prefix(task: &str) -> String {
    format!("head.{}.", task.replace('.', ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_heads_are_unique_whatever_the_tasks_are_called() {
        let name = |task: &str, path: &str| format!("{}{path}", head_prefix(task));
        assert_ne!(name("a", "spans.weight"), name("a.spans", "weight"));
        assert_ne!(name("a.", "weight"), name("a", "weight"));
        assert_eq!(name("intent", "weight"), "head.intent.weight");
    }

    #[test]
    fn what_several_tasks_own_is_shared() {
        assert!(Owner::Trunk.is_shared() && !Owner::task("a").is_shared());
        assert!(Owner::Tasks(vec!["a".into(), "b".into()]).is_shared());
    }
}
