//! What schemes have in common when they add their parameters.

use super::TrunkShape;
use super::targets::refused;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Depth, Level, MatrixId, Owner, ParameterSpec, Parameters, Role, VectorId};

/// Whose something is; `None`: of all tasks.
pub(super) type OfTask = Option<String>;

/// Each task, or all tasks together.
pub(super) fn owners(tasks: &[String], shared: bool) -> Vec<OfTask> {
    if shared { vec![None] } else { tasks.iter().cloned().map(Some).collect() }
}

/// Adds parameters of a scheme, which are called `sharing.SCHEME.TASK.NAME`.
pub(super) struct SchemeParameters<'a> {
    pub(super) scheme: &'static str,
    pub(super) parameters: &'a mut Parameters,
}

impl SchemeParameters<'_> {
    pub(super) fn matrix(
        &mut self,
        (task, name): (&OfTask, &str),
        shape: [usize; 2],
        (role, level): (Role, Level),
        init: Init,
    ) -> MatrixId {
        let spec = self.spec(task, name, &shape, (role, level), init);
        self.parameters.add_matrix(spec)
    }

    pub(super) fn vector(
        &mut self,
        (task, name): (&OfTask, &str),
        len: usize,
        (role, level): (Role, Level),
        init: Init,
    ) -> VectorId {
        let shape = [len];
        let spec = self.spec(task, name, &shape, (role, level), init);
        self.parameters.add_vector(spec)
    }

    fn spec<'s>(
        &self,
        task: &OfTask,
        name: &str,
        shape: &'s [usize],
        (role, level): (Role, Level),
        init: Init,
    ) -> ParameterSpec<'s> {
        ParameterSpec {
            name: parameter_name(self.scheme, task.as_deref(), name).into(),
            shape,
            owner: task.clone().map_or(Owner::Trunk, Owner::task),
            role,
            depth: Some(Depth::encoder(level)),
            init,
        }
    }
}

/// `sharing.SCHEME.TASK.NAME`; dots of the task's name are doubled, so that no two names are the same.
pub(super) fn parameter_name(scheme: &str, task: Option<&str>, name: &str) -> String {
    format!("sharing.{scheme}.{}.{name}", task.unwrap_or_default().replace('.', ".."))
}

/// That a layer is one of the backbone's, from which on tasks can have weights of their own: none that is read below it, too.
pub(super) fn check_own_layers(scheme: &str, layer: usize, trunk: &TrunkShape) -> Result<(), ModelError> {
    check_first_layer(scheme, layer, trunk)?;
    match trunk.repeats_across(layer) {
        true => {
            let expected =
                "0: this backbone's layers have the same weights, which tasks have for themselves or share";
            Err(refused(scheme, "first_layer", layer, expected))
        }
        false => Ok(()),
    }
}

/// That a layer is one of the backbone's.
pub(super) fn check_first_layer(scheme: &str, layer: usize, trunk: &TrunkShape) -> Result<(), ModelError> {
    let layers = trunk.layers.len();
    if layer < layers {
        return Ok(());
    }
    let expected = match layers {
        0 => "a backbone with layers: this one has embeddings alone (`window = 0`)".into(),
        _ => format!("below {layers}, the layers of the backbone"),
    };
    Err(refused(scheme, "first_layer", layer, expected))
}
