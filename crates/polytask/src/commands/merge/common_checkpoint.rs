//! The common checkpoint: a folder that the command line or the runs' configs name, or the first values of a backbone from scratch, drawn
//! again by its seed.

use super::inputs::{Input, Network};
use crate::config::Config;
use crate::failure::Failure;
use crate::job::assemble::{build_from_scratch, checkpoint_dir};
use burn::tensor::Device;
use data::Tokenizer;
use model::{BackboneConfig, FromScratch, Parameters, Trunk};
use std::path::{Path, PathBuf};
use train::ModelDecoder;

/// The common checkpoint.
pub struct Base {
    /// Its weights.
    pub parameters: Parameters,
    /// Which it is, for people.
    pub name: String,
}

/// What a run began with.
#[derive(Debug, Clone, PartialEq)]
enum Start {
    Folder(PathBuf),
    Hub(String),
    Drawn(Box<FromScratch>, u64),
}

impl Start {
    fn of(config: &Config) -> Start {
        match &config.model.backbone {
            BackboneConfig::FromScratch(scratch) => {
                Start::Drawn(Box::new(scratch.clone()), config.train.seed)
            }
            BackboneConfig::Pretrained(name) if name.starts_with("hf:") => Start::Hub(name.clone()),
            BackboneConfig::Pretrained(name) => {
                let path = Path::new(name);
                Start::Folder(path.canonicalize().unwrap_or_else(|_| path.to_path_buf()))
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Start::Folder(path) => path.display().to_string(),
            Start::Hub(name) => name.clone(),
            Start::Drawn(scratch, seed) => format!("a {} backbone from scratch, seed {seed}", scratch.name()),
        }
    }
}

/// The common checkpoint, where the method needs it or the command line names it.
///
/// # Errors
/// Runs that began with different checkpoints, one that cannot be found or opened, or that is another network.
pub fn find(
    given: Option<&str>,
    inputs: &[Input],
    needed: bool,
    device: &Device,
) -> Result<Option<Base>, Failure> {
    let starts: Vec<(&Input, Start)> =
        inputs.iter().filter_map(|input| Some((input, Start::of(input.config.as_ref()?)))).collect();
    let seed = decoder_seed(inputs)?;
    if let Some(name) = given {
        let mut dir = checkpoint_dir(name)?;
        if !dir.join("config.json").is_file() && dir.join("model").join("config.json").is_file() {
            dir = dir.join("model");
        }
        return open(&dir, inputs, seed, device).map(Some);
    }
    if let Some(((first, start), (other, differing))) =
        starts.first().zip(starts.iter().find(|(_, start)| *start != starts[0].1))
    {
        return Err(Failure::refused([format!(
            "the runs began with different weights, {} with {}, {} with {}: what such models have learned does not go together; \
             where these are the same checkpoint in two places, name it with --base FOLDER",
            first.folder.display(),
            start.describe(),
            other.folder.display(),
            differing.describe()
        )]));
    }
    if !needed {
        return Ok(None);
    }
    let without = inputs.iter().find(|input| input.config.is_none());
    match (starts.into_iter().next(), without) {
        (Some((_, start)), None) => match &start {
            Start::Folder(dir) => open(dir, inputs, seed, device).map(Some),
            Start::Hub(name) => open(&checkpoint_dir(name)?, inputs, seed, device).map(Some),
            Start::Drawn(scratch, drawn) => draw(scratch, *drawn, inputs, device, start.describe()).map(Some),
        },
        (_, without) => {
            let without = without.unwrap_or(&inputs[0]).folder.display();
            Err(Failure::refused([format!(
                "{without} is a model without its run's config.toml, so that nothing says what it was trained from: name the common \
                 checkpoint with --base FOLDER, or take `average`, which needs none"
            )]))
        }
    }
}

/// Opens a folder, and checks that its network is that of the models.
fn open(dir: &Path, inputs: &[Input], seed: u64, device: &Device) -> Result<Base, Failure> {
    let refuse =
        |reason: String| Failure::refused([format!("the common checkpoint {}: {reason}", dir.display())]);
    if !dir.exists() {
        return Err(refuse("there is no such folder; name it with --base FOLDER".into()));
    }
    if dir.is_dir() {
        train::check_model_files(dir).map_err(|e| Failure::refused([e]))?;
    }
    let mut parameters = Parameters::new(device, seed);
    let backbone = model::open(dir, &mut parameters, None).map_err(|e| Failure::refused([e]))?;
    let tokenizer = Tokenizer::of_model_if_any(dir).map_err(|e| Failure::refused([e]))?;
    let spec = backbone.spec();
    let network = Network {
        backbone: spec.name,
        json: spec.config_json.clone(),
        tokenizer: tokenizer.map(|(tokenizer, _)| tokenizer.to_json().to_owned()),
        decoder: None,
    };
    for input in inputs {
        if let Some(difference) = network.difference(&input.network) {
            return Err(refuse(format!("{} was not trained from it: {difference}", input.folder.display())));
        }
    }
    let trunk = Trunk::new(backbone);
    add_decoder(&trunk, inputs, &mut parameters)?;
    Ok(Base { parameters, name: dir.display().to_string() })
}

/// Draws the first values of a backbone from scratch again.
fn draw(
    scratch: &FromScratch,
    seed: u64,
    inputs: &[Input],
    device: &Device,
    name: String,
) -> Result<Base, Failure> {
    let tokenizer = tokenizer(&inputs[0])?;
    let mut parameters = Parameters::new(device, seed);
    let trunk = Trunk::new(build_from_scratch(scratch, &tokenizer, &mut parameters)?);
    add_decoder(&trunk, inputs, &mut parameters)?;
    Ok(Base { parameters, name })
}

fn tokenizer(input: &Input) -> Result<Tokenizer, Failure> {
    Tokenizer::from_file(&input.model_dir.join("tokenizer.json")).map_err(|e| Failure::refused([e]))
}

/// Draws the first values of the decoder that the models have on their backbone.
fn add_decoder(trunk: &Trunk, inputs: &[Input], parameters: &mut Parameters) -> Result<(), Failure> {
    let Some(config) = inputs.iter().find_map(|input| input.manifest.decoder.as_ref()) else { return Ok(()) };
    let decoder = ModelDecoder::of(trunk, Some(config), &tokenizer(&inputs[0])?, parameters);
    decoder.map(drop).map_err(|e| Failure::refused([e]))
}

/// The seed by which the decoders on the backbones began.
fn decoder_seed(inputs: &[Input]) -> Result<u64, Failure> {
    let with: Vec<&Input> = inputs.iter().filter(|input| input.manifest.decoder.is_some()).collect();
    let seeds: Vec<Option<u64>> = with.iter().map(|input| Some(input.config.as_ref()?.train.seed)).collect();
    if with.len() > 1 && (seeds.contains(&None) || seeds.iter().any(|seed| *seed != seeds[0])) {
        let names: Vec<String> = with.iter().map(|input| input.folder.display().to_string()).collect();
        return Err(Failure::refused([format!(
            "{} have decoders that were not trained from the same first values: their configs must be there, with the same train.seed",
            names.join(" and ")
        )]));
    }
    Ok(seeds.first().copied().flatten().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_what_it_says() {
        let scratch = |width: usize| {
            let table = serde_json::json!({ "bag": { "width": width } });
            Box::new(serde_json::from_value::<FromScratch>(table).unwrap())
        };
        assert_eq!(Start::Drawn(scratch(8), 1), Start::Drawn(scratch(8), 1));
        assert_ne!(Start::Drawn(scratch(8), 1), Start::Drawn(scratch(8), 2));
        assert_ne!(Start::Drawn(scratch(8), 1), Start::Drawn(scratch(16), 1));
        assert_eq!(Start::Drawn(scratch(8), 3).describe(), "a bag backbone from scratch, seed 3");
    }
}
