//! A model of which structures of the trunk were cut: smaller, for the same tasks.

use crate::{error::TrainError, job::Model, job::merge::NamedValues};
use burn::tensor::Device;
use model::{Parameters, Trunk, pruning::Cut};
use std::path::Path;

impl Model {
    /// [`Model::into_folded`] of weights that are the same for all tasks.
    ///
    /// # Errors
    /// A sharing scheme that cannot be folded into the weights, or gives tasks different ones; `dir` is what the model is called.
    pub fn into_folded_for_all(self, dir: &Path) -> Result<Model, TrainError> {
        let scheme = self.trunk.sharing().config().name();
        let mut first: Option<(&str, NamedValues)> = None;
        for task in &self.tasks {
            let Some(folded) = self.folded_weights(&task.name) else {
                let reason = format!(
                    "its sharing scheme `{scheme}` does more than change weights of the trunk, so that it cannot be folded into them"
                );
                return Err(TrainError::saved(dir, reason));
            };
            match &first {
                None => first = Some((&task.name, folded)),
                Some((other, weights)) if *weights != folded => {
                    let reason = format!(
                        "its sharing scheme `{scheme}` gives the tasks `{other}` and `{}` different weights of the trunk, and one \
                         trunk is to be cut; `polytask merge` makes one of them",
                        task.name
                    );
                    return Err(TrainError::saved(dir, reason));
                }
                Some(_) => {}
            }
        }
        match self.tasks.first().map(|task| task.name.clone()) {
            Some(task) => self.into_folded(&task),
            None => Ok(self),
        }
    }

    /// The model that is left when everything but `keep` is cut out of the trunk, on a device. Heads, a decoder, the vectors of corpora and
    /// what a sharing scheme adds are as they are. `dir` is the folder that the model was opened from, for errors.
    ///
    /// # Errors
    /// What the network's config.json cannot say; structures that are not there; [`TrainError::SizedByStructures`].
    pub fn cut(&self, keep: &Cut, dir: &Path, device: &Device) -> Result<Model, TrainError> {
        let mut parameters = Parameters::new(device, 0);
        let path = dir.join("config.json");
        let backbone = model::pruning::cut((&self.trunk, &self.parameters), keep, &path, &mut parameters)?;
        let of_backbone = parameters.len();
        let manifest = self.manifest();
        let mut model = Model::on_trunk(
            (Trunk::new(backbone), parameters),
            self.tokenizer.clone(),
            &manifest,
            &dir.join(super::export::MANIFEST),
        )?;
        for index in of_backbone..model.parameters.len() {
            let name = &model.parameters.parameter(index).name;
            let own = self.parameters.find(name).expect("all but the backbone is the same");
            if self.parameters.shape(own) != model.parameters.shape(index) {
                return Err(TrainError::SizedByStructures { parameter: name.clone() });
            }
            model.parameters.set_data(index, self.parameters.data(own))?;
        }
        Ok(model)
    }
}
