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
        let fresh = self.decoder.as_ref().is_some_and(|decoder| decoder.fresh.is_some());
        if let (Some(_), true) = (&keep.hidden, fresh) {
            let reason = "it has a decoder of its own beside the backbone, whose heads are as wide as its states allow, so that the width \
                          cannot be cut; leave --hidden out";
            return Err(TrainError::saved(dir, reason));
        }
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
        let kept = keep.hidden.clone().unwrap_or_else(|| (0..self.trunk.hidden()).collect());
        for index in of_backbone..model.parameters.len() {
            let name = &model.parameters.parameter(index).name;
            let own = self.parameters.find(name).expect("all but the backbone is the same");
            let shapes = [self.parameters.shape(own), model.parameters.shape(index)];
            let values = narrowed(self.parameters.data(own), shapes, (&kept, self.trunk.hidden()))
                .ok_or_else(|| TrainError::SizedByStructures { parameter: name.clone() })?;
            model.parameters.set_data(index, values)?;
        }
        Ok(model)
    }
}

/// The numbers of a parameter that reads or writes states, of which the `kept` of `width` dimensions stay: sizes that become less are so many
/// states side by side, each of which keeps the same dimensions. `None` where a size changes otherwise.
fn narrowed(
    values: Vec<f32>,
    [from, to]: [Vec<usize>; 2],
    (kept, width): (&[usize], usize),
) -> Option<Vec<f32>> {
    if from == to {
        return Some(values);
    }
    if from.len() != to.len() {
        return None;
    }
    let places = |(from, to): (&usize, &usize)| -> Option<Vec<usize>> {
        if from == to {
            return Some((0..*from).collect());
        }
        let states = from / width;
        let fits = from.is_multiple_of(width) && *to == states * kept.len();
        fits.then(|| (0..states).flat_map(|state| kept.iter().map(move |at| state * width + at)).collect())
    };
    let places: Vec<Vec<usize>> = from.iter().zip(&to).map(places).collect::<Option<_>>()?;
    let columns = from.get(1).copied().unwrap_or(1);
    let one = vec![0];
    let of_row = places.get(1).unwrap_or(&one);
    let mut left = Vec::with_capacity(to.iter().product());
    for row in places.first()? {
        left.extend(of_row.iter().map(|column| values[row * columns + column]));
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use super::narrowed;

    #[test]
    fn states_side_by_side_keep_the_same_dimensions() {
        let values = |count: u8| (0..count).map(f32::from).collect::<Vec<_>>();
        let kept = (&[0, 2][..], 3);
        // Labels by two states.
        let found = narrowed(values(12), [vec![2, 6], vec![2, 4]], kept);
        assert_eq!(found.unwrap(), [0.0, 2.0, 3.0, 5.0, 6.0, 8.0, 9.0, 11.0]);
        // A map from states to states, a bias, and what has nothing to do with states.
        assert_eq!(narrowed(values(9), [vec![3, 3], vec![2, 2]], kept).unwrap(), [0.0, 2.0, 6.0, 8.0]);
        assert_eq!(narrowed(values(3), [vec![3], vec![2]], kept).unwrap(), [0.0, 2.0]);
        assert_eq!(narrowed(values(4), [vec![4], vec![4]], kept).unwrap(), values(4));
        assert!(narrowed(values(4), [vec![4], vec![3]], kept).is_none());
        assert!(narrowed(values(6), [vec![6], vec![5]], kept).is_none());
    }
}
