//! Several saved models as one: the trunks merged tensor by tensor, the heads of every task kept.
//!
//! What is merged: the backbone, a decoder on it, and of the dataset embedding the vector of each corpus. Of a model with a sharing
//! scheme the whole weights with the scheme's updates folded in take part, for each task its own where the scheme has private
//! parameters; the result has hard sharing.

use crate::{
    checkpoint::durable,
    error::TrainError,
    job::export::{Matrices, ModelManifest, TaskManifest},
    job::{Model, ModelDecoder},
};
use burn::tensor::Device;
use model::merging::{Merging, TensorVote, Voter};
use model::{Entry, ParameterTensor, Parameters, Precision, Role, SavedTensors, SharingConfig};
use std::{borrow::Cow, collections::BTreeMap, path::Path};

/// Numbers of parameters by their names.
pub type NamedValues = BTreeMap<String, Vec<f32>>;

/// The trunk of a saved model, as one of those that are merged.
#[derive(Debug)]
pub struct MergeSource {
    /// Its name, unique among those that are merged: random masks depend on it.
    pub name: String,
    /// How much it counts: 0 or more.
    pub weight: f64,
    /// How much its own losses depend on each parameter, for methods that want it ([`crate::squared_gradients`]).
    pub importance: Option<NamedValues>,
    tensors: SavedTensors,
    /// The weights that the sharing scheme changes, with its updates folded in.
    folded: NamedValues,
    /// The name of the dataset embedding among the parameters, and the corpora in the order of its rows.
    datasets: Option<(String, Vec<String>)>,
}

/// What a merge did.
#[derive(Debug, Clone, Default)]
pub struct MergeReport {
    /// Tensors that were merged.
    pub tensors: usize,
    /// Their numbers.
    pub numbers: usize,
    /// Tensors that some models lack, or have in another shape, with the names of these: the others alone were merged.
    pub left_out: Vec<(String, Vec<String>)>,
    /// For each model the norm of its difference to the common checkpoint (without one, to the first model), divided by the norm of
    /// that, over all tensors of the backbone.
    pub distances: Vec<f64>,
}

impl MergeSource {
    /// The trunk of `model`, which was opened from `dir`, as `task` sees it. The model is not kept.
    ///
    /// # Errors
    /// A sharing scheme that cannot be folded into the weights; files that cannot be read.
    pub fn of(model: &Model, dir: &Path, task: &str, name: String) -> Result<MergeSource, TrainError> {
        let folded = model.folded_weights(task).ok_or_else(|| {
            let scheme = model.trunk.sharing().config().name();
            TrainError::saved(
                dir,
                format!("its sharing scheme `{scheme}` has no whole weights of a task, so that it cannot be merged"),
            )
        })?;
        let parameters = &model.parameters;
        let table = model.trunk.dataset_embedding();
        let table = table.map(|table| parameters.parameter(table.index()).name.clone());
        let datasets = table.map(|table| (table, model.datasets.clone()));
        let tensors = SavedTensors::open(dir)?;
        Ok(MergeSource { name, weight: 1.0, importance: None, tensors, folded, datasets })
    }

    /// Calls corpora that have a vector by other names.
    pub fn rename_corpora(&mut self, names: &BTreeMap<String, String>) {
        for corpus in self.datasets.iter_mut().flat_map(|(_, corpora)| corpora) {
            if let Some(name) = names.get(corpus) {
                corpus.clone_from(name);
            }
        }
    }

    /// A tensor of the trunk, where it has it in this shape.
    fn found(&self, entry: &Entry) -> Result<Option<Found<'_>>, TrainError> {
        let values = match self.folded.get(&entry.name) {
            Some(values) => Some(Cow::Borrowed(&values[..])),
            None => self.tensors.values(entry)?.map(Cow::Owned),
        };
        Ok(values.map(|values| {
            let importance = self.importance_of(&entry.name, values.len());
            Found { source: self, values, importance }
        }))
    }

    /// Of the dataset embedding the vector of a corpus.
    fn vector(&self, corpus: &str, hidden: usize) -> Result<Option<Found<'_>>, TrainError> {
        let Some((table, known)) = &self.datasets else { return Ok(None) };
        let Some(row) = known.iter().position(|known| known == corpus) else { return Ok(None) };
        let entry = Entry {
            name: table.clone(),
            hf_names: vec![table.clone()],
            shape: vec![known.len(), hidden],
            role: Role::Embedding,
            depth: None,
        };
        let range = row * hidden..(row + 1) * hidden;
        let of_row = |all: Cow<'_, [f32]>| Cow::Owned(all[range.clone()].to_vec());
        Ok(self.found(&entry)?.map(|Found { source, values, importance }| Found {
            source,
            values: of_row(values),
            importance: importance.map(of_row),
        }))
    }

    /// How much the losses depend on the numbers of a tensor, where that was measured: not at all where no gradient came to it.
    fn importance_of(&self, tensor: &str, numbers: usize) -> Option<Cow<'_, [f32]>> {
        let measured = self.importance.as_ref()?;
        Some(measured.get(tensor).map_or_else(|| vec![0.0; numbers].into(), |all| Cow::Borrowed(&all[..])))
    }
}

/// A tensor of a model.
struct Found<'a> {
    source: &'a MergeSource,
    values: Cow<'a, [f32]>,
    importance: Option<Cow<'a, [f32]>>,
}

impl Found<'_> {
    fn voter(&self) -> Voter<'_> {
        Voter {
            model: &self.source.name,
            values: &self.values,
            weight: self.source.weight,
            importance: self.importance.as_deref(),
        }
    }
}

/// A tensor of those models that have it.
fn found<'a>(
    sources: &'a [MergeSource],
    of: impl Fn(&'a MergeSource) -> Result<Option<Found<'a>>, TrainError>,
) -> Result<Vec<Found<'a>>, TrainError> {
    sources.iter().filter_map(|source| of(source).transpose()).collect()
}

/// The names of those models that lack a tensor.
fn lacking(sources: &[MergeSource], found: &[Found<'_>]) -> Vec<String> {
    let has = |source: &&MergeSource| found.iter().any(|found| found.source.name == source.name);
    sources.iter().filter(|source| !has(source)).map(|source| source.name.clone()).collect()
}

impl Model {
    /// The weights that the sharing scheme changes for a task, with its updates folded in, by name; `None` where that cannot be.
    pub fn folded_weights(&self, task: &str) -> Option<NamedValues> {
        let folded = self.trunk.sharing().merged(task, &self.parameters)?;
        // Updates of layers that have the same weights differ, and a weight takes only one.
        let (shape, copies) = (self.trunk.spec().shape(), self.trunk.sharing().copies());
        if copies.is_none() && folded.iter().any(|(index, _)| shape.uses(*index) > 1) {
            return None;
        }
        let values = |(index, values): (usize, ParameterTensor)| {
            (self.parameters.parameter(index).name.clone(), values.values())
        };
        Some(folded.into_iter().map(values).collect())
    }

    /// The model with hard sharing and the weights that the scheme makes for a task, of which everything but the heads is trained.
    ///
    /// # Errors
    /// A sharing scheme that cannot be folded into the weights.
    pub fn into_folded(mut self, task: &str) -> Result<Model, TrainError> {
        let scheme = self.trunk.sharing().config().name();
        let folded = self.folded_weights(task).ok_or_else(|| model::ModelError::Sharing {
            key: scheme.into(),
            found: "a scheme that cannot be folded into the weights".into(),
            expected: "one that can".into(),
        })?;
        for (name, values) in folded {
            let index = self.parameters.find(&name).expect("the scheme changes parameters of this table");
            self.parameters.set_data(index, values)?;
        }
        let hard = SharingConfig::default().build();
        self.trunk.set_sharing(hard, &[], &mut self.parameters)?;
        for index in 0..self.parameters.len() {
            let is_base = self.parameters.parameter(index).is_base();
            self.parameters.set_trainable(index, is_base);
        }
        Ok(self)
    }

    /// The numbers of all heads, by the names of their parameters.
    pub fn heads(&self) -> NamedValues {
        let heads = (0..self.parameters.len()).filter(|i| self.parameters.parameter(*i).role == Role::Head);
        heads.map(|i| (self.parameters.parameter(i).name.clone(), self.parameters.data(i))).collect()
    }

    /// A model for the tasks of several, on the backbone and with the vocabulary of the saved model in `dir`: with the heads that are
    /// given, and a trunk that is to be merged ([`merge_trunks`]).
    ///
    /// # Errors
    /// When the parts do not fit each other.
    pub fn of_parts(
        dir: &Path,
        device: &Device,
        manifest: &ModelManifest,
        heads: NamedValues,
    ) -> Result<Model, TrainError> {
        durable::recover_dir(dir)?;
        let mut model = Model::on_backbone(dir, device, manifest, Matrices::Whole)?;
        for (name, values) in heads {
            let index = model.parameters.find(&name).ok_or_else(|| {
                TrainError::saved(dir, format!("the tasks together have no parameter {name} of a head"))
            })?;
            model.parameters.set_data(index, values)?;
        }
        Ok(model)
    }
}

/// What a model for the tasks of all of these says about itself: with hard sharing, and with vectors of corpora where all have them.
/// What a model says of its decoder is that of the first that has one; the lengths of rows are the greatest.
///
/// # Panics
/// Of no manifest.
pub fn joint_manifest(manifests: &[&ModelManifest]) -> ModelManifest {
    let first = *manifests.first().expect("at least one model");
    let tasks: Vec<TaskManifest> = manifests.iter().flat_map(|one| one.tasks.clone()).collect();
    let mut datasets: Vec<String> = manifests.iter().flat_map(|one| one.datasets.clone()).collect();
    datasets.sort_unstable();
    datasets.dedup();
    if manifests.iter().any(|one| one.datasets.is_empty()) {
        datasets.clear();
    }
    let mut same_text: Vec<[String; 2]> = manifests.iter().flat_map(|one| one.same_text.clone()).collect();
    same_text.sort_unstable();
    same_text.dedup();
    let same_precision = manifests.iter().all(|one| one.precision == first.precision);
    ModelManifest {
        step: 0,
        max_length: manifests.iter().map(|one| one.max_length).max().unwrap_or(first.max_length),
        precision: if same_precision { first.precision } else { Precision::F32 },
        decoder: manifests.iter().find_map(|one| one.decoder.clone()),
        sharing: SharingConfig::default(),
        datasets,
        same_text,
        tasks,
        validation: Default::default(),
        files: BTreeMap::new(),
        blake3: None,
        ..first.clone()
    }
}

/// Gives the trunk of `model` the merged weights. `base` are those of the common checkpoint, which only some methods need. One tensor of
/// all models is in memory at a time.
///
/// # Errors
/// Files that cannot be read, a tensor that the common checkpoint lacks, merged numbers that are beyond f32.
pub fn merge_trunks(
    model: &mut Model,
    base: Option<&Parameters>,
    method: &Merging,
    sources: &[MergeSource],
) -> Result<MergeReport, TrainError> {
    let mut report = MergeReport::default();
    let mut distances = Distances { change: vec![0.0; sources.len()], reference: 0.0 };
    let mut entries = model.trunk.spec().names.entries().to_vec();
    let of_backbone = entries.len();
    if let Some(ModelDecoder { network, fresh: Some(_) }) = &model.decoder {
        entries.extend(network.names().entries().iter().cloned());
    }
    for (number, entry) in entries.iter().enumerate() {
        let found: Vec<Found<'_>> = found(sources, |source| source.found(entry))?;
        if found.len() < sources.len() {
            report.left_out.push((entry.name.clone(), lacking(sources, &found)));
        }
        let voters: Vec<Voter<'_>> = found.iter().map(Found::voter).collect();
        let base = base_of(base, entry, &voters, method)?;
        if number < of_backbone && found.len() == sources.len() {
            let values: Vec<&[f32]> = voters.iter().map(|voter| voter.values).collect();
            distances.add(&values, base.as_deref());
        }
        let merged = merged(method, &entry.name, &entry.shape, base.as_deref(), &voters)?;
        (report.tensors, report.numbers) = (report.tensors + 1, report.numbers + merged.len());
        let index =
            model.parameters.find(&entry.name).expect("its network made the parameters in this table");
        model.parameters.set_data(index, merged)?;
    }
    merge_vectors(model, method, sources, &mut report)?;
    report.distances = distances.relative();
    Ok(report)
}

/// The numbers of a tensor of the common checkpoint, where the method needs them.
fn base_of(
    base: Option<&Parameters>,
    entry: &Entry,
    voters: &[Voter<'_>],
    method: &Merging,
) -> Result<Option<Vec<f32>>, TrainError> {
    let found = base.and_then(|base| {
        let index = base.find(&entry.name).filter(|index| base.shape(*index) == entry.shape)?;
        Some(base.data(index))
    });
    if found.is_none() && method.needs_base() && voters.len() > 1 {
        return Err(TrainError::NotMerged {
            tensor: entry.name.clone(),
            reason: "the common checkpoint lacks it",
        });
    }
    Ok(found)
}

/// The vector of each corpus out of those models that have one. It began as zeros.
fn merge_vectors(
    model: &mut Model,
    method: &Merging,
    sources: &[MergeSource],
    report: &mut MergeReport,
) -> Result<(), TrainError> {
    let Some(table) = model.trunk.dataset_embedding() else {
        for (name, _) in sources.iter().filter_map(|source| source.datasets.as_ref()).take(1) {
            let without = sources.iter().filter(|source| source.datasets.is_none());
            report.left_out.push((name.clone(), without.map(|source| source.name.clone()).collect()));
        }
        return Ok(());
    };
    let hidden = model.trunk.hidden();
    let name = model.parameters.parameter(table.index()).name.clone();
    let mut rows = Vec::with_capacity(model.datasets.len() * hidden);
    for corpus in &model.datasets {
        let found = found(sources, |source| source.vector(corpus, hidden))?;
        let voters: Vec<Voter<'_>> = found.iter().map(Found::voter).collect();
        let zeros = vec![0.0; hidden];
        rows.extend(merged(method, &format!("{name}.{corpus}"), &[hidden], Some(&zeros), &voters)?);
    }
    (report.tensors, report.numbers) = (report.tensors + 1, report.numbers + rows.len());
    model.parameters.set_data(table.index(), rows)?;
    Ok(())
}

/// A tensor out of those of the models that have it; of a single one its own.
fn merged(
    method: &Merging,
    name: &str,
    shape: &[usize],
    base: Option<&[f32]>,
    voters: &[Voter<'_>],
) -> Result<Vec<f32>, TrainError> {
    let nothing = |reason| Err(TrainError::NotMerged { tensor: name.to_owned(), reason });
    let total: f64 = voters.iter().map(|voter| voter.weight).sum();
    let merged = match voters {
        [] => return nothing("no model has it in the shape that their config.json says"),
        [only] => only.values.to_vec(),
        _ if total <= 0.0 => return nothing("all models that have it have the weight 0"),
        _ => {
            let columns = shape.last().copied().unwrap_or(1).max(1);
            method.merge(&TensorVote { name, columns, base, voters })
        }
    };
    if merged.iter().all(|value| value.is_finite()) {
        Ok(merged)
    } else {
        nothing("merged numbers are beyond f32: lower --lambda or the weights")
    }
}

/// Sums for the distances of the models to the common checkpoint, or to the first of them.
struct Distances {
    change: Vec<f64>,
    reference: f64,
}

impl Distances {
    fn add(&mut self, models: &[&[f32]], base: Option<&[f32]>) {
        let reference = base.unwrap_or(models[0]);
        self.reference += reference.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        for (sum, values) in self.change.iter_mut().zip(models) {
            let difference = values.iter().zip(reference).map(|(a, b)| f64::from(*a) - f64::from(*b));
            *sum += difference.map(|d| d * d).sum::<f64>();
        }
    }

    fn relative(&self) -> Vec<f64> {
        let norm = self.reference.sqrt();
        self.change.iter().map(|change| if norm > 0.0 { change.sqrt() / norm } else { 0.0 }).collect()
    }
}
