//! `[model] freeze`: the lower part of the backbone that is not trained.

use super::Trunk;
use crate::error::ModelError;
use crate::parameters::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `freeze = { layers = 4, cache = true }`: embeddings and lower layers that are not trained. They are not differentiated,
/// and there is no dropout in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// How many layers are frozen together with the embeddings; 0 freezes the embeddings alone, all of them leaves only
    /// the heads to train.
    pub layers: usize,
    /// Keep what the frozen part says of every training row in a file of the run's folder, so that later epochs do not
    /// compute it again. It takes 4 bytes for each token and number of a state, and is removed at the end of the run.
    #[serde(default)]
    pub cache: bool,
}

impl Freeze {
    /// Freezes the lower part of a trunk.
    ///
    /// # Errors
    /// [`ModelError::Layers`] if it has fewer layers; [`ModelError::RepeatedLayers`] if
    /// layers above have the same weights; [`ModelError::FrozenDatasets`] if corpora have vectors;
    /// [`ModelError::FrozenSharing`] if the sharing scheme trains what would be frozen.
    pub fn apply(&self, trunk: &mut Trunk, parameters: &mut Parameters) -> Result<(), ModelError> {
        if trunk.dataset_embedding().is_some() {
            return Err(ModelError::FrozenDatasets);
        }
        let (found, most) = (self.layers, trunk.layers());
        if found > most {
            return Err(ModelError::Layers { found, most });
        }
        if !trunk.can_freeze(found) {
            return Err(ModelError::RepeatedLayers { found, most });
        }
        // Layers that tasks have for themselves would never differ.
        let most = trunk.sharing().first_layer();
        if trunk.sharing().copies().is_some() && found > most {
            let scheme = trunk.sharing().config().name();
            return Err(ModelError::FrozenSharing { found, scheme, most });
        }
        trunk.freeze(found, parameters);
        Ok(())
    }
}
