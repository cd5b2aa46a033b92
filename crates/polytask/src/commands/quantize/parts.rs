//! Which matrices are quantized together, and to how many bits.

use ::model::quantization::{Int4Rounding, PackedMatrix, WeightType, gptq, rounded};
use ::model::{Gram, Level, Parameters};
use ::train::Job;
use std::collections::{BTreeMap, HashMap};

/// Matrices that are quantized alike: those of a layer, or the embeddings.
pub struct Part {
    pub name: String,
    pub matrices: Vec<usize>,
}

/// The embeddings, and each layer.
pub fn parts(job: &Job) -> Vec<Part> {
    let (trunk, parameters) = (&job.model.trunk, &job.model.parameters);
    let mut parts: Vec<Part> = Vec::new();
    for index in trunk.int8_candidates(parameters) {
        let name = match parameters.parameter(index).depth.map(|depth| depth.level) {
            Some(Level::Layer(layer)) => format!("layer {layer}"),
            Some(Level::Embeddings) => "embeddings".to_owned(),
            Some(Level::Output) | None => "output".to_owned(),
        };
        match parts.iter_mut().find(|part| part.name == name) {
            Some(part) => part.matrices.push(index),
            None => parts.push(Part { name, matrices: vec![index] }),
        }
    }
    parts
}

/// A model's first weights, and what they are rounded to: each matrix once.
pub struct Quantizer {
    first: Parameters,
    rounding: Int4Rounding,
    /// What layers read, where four bits are rounded for that.
    inputs: BTreeMap<usize, Gram>,
    made: HashMap<(usize, WeightType), PackedMatrix>,
}

impl Quantizer {
    pub fn new(first: Parameters, rounding: Int4Rounding, inputs: BTreeMap<usize, Gram>) -> Self {
        Quantizer { first, rounding, inputs, made: HashMap::new() }
    }

    /// The first weights.
    pub fn into_first(self) -> Parameters {
        self.first
    }

    /// Gives a model the first weights, with the parts of these types.
    pub fn set<'a>(&mut self, job: &mut Job, parts: impl IntoIterator<Item = (&'a Part, WeightType)>) {
        job.model.parameters = self.first.clone();
        for (part, to) in parts {
            for index in &part.matrices {
                if let Some(packed) = self.packed(*index, to) {
                    job.model.parameters.set_trainable(*index, false);
                    job.model.parameters.set_packed(*index, packed);
                }
            }
        }
    }

    fn packed(&mut self, index: usize, to: WeightType) -> Option<PackedMatrix> {
        let to = to.of_matrix(&self.first, index);
        if let Some(made) = self.made.get(&(index, to)) {
            return Some(made.clone());
        }
        let of_inputs = self.inputs.get(&index).filter(|_| to == WeightType::Int4);
        let made = of_inputs.and_then(|inputs| gptq(&self.first, index, inputs));
        let made = made.or_else(|| rounded(&self.first, index, to, self.rounding))?;
        self.made.insert((index, to), made.clone());
        Some(made)
    }
}

/// How many matrices have rows that do not fall into groups of four bits, and are int8 in their place.
pub fn without_groups(parts: &[Part], parameters: &Parameters) -> usize {
    let has_none = |index: &&usize| WeightType::Int4.of_matrix(parameters, **index) != WeightType::Int4;
    parts.iter().flat_map(|part| &part.matrices).filter(has_none).count()
}
