//! `polytask factorize`: a trained model of which matrices are products of two smaller ones, found for the inputs that its corpora give, which
//! is trained further to win back what it lost.

mod choice;
mod record;

use super::prune::config_on;
use super::train::{stop_flag, write};
use super::{config_of_run, evaluate, open_device, open_model, with_threads};
use crate::cli;
use crate::config::Config;
use crate::failure::{Failure, INTERRUPTED};
use crate::job::assemble::assemble_saved;
use crate::job::measured::measure_change;
use crate::job::result_dir::ResultDir;
use crate::terminal::output;
use ::model::{SharingConfig, factorization::factorizable, pruning::Cut};
use ::train::{Job, Model, RowChoice, RunDir, ScoreTable, TrainError, input_statistics};
use burn::tensor::Device;
use choice::Wanted;
use data::Split;
use record::{Factorized, Text};
use std::path::{Path, PathBuf};

/// How a model was factorized, beside it.
const RECORD: &str = "factorize.json";

/// Whether a directory is that of a factorized model.
pub fn is_factorized(root: &Path) -> bool {
    root.join(RECORD).is_file()
}

/// Reads rows, factorizes, scores and writes.
pub fn factorize(args: &cli::Factorize) -> Result<u8, Failure> {
    let wanted = Wanted::of(args)?;
    let split = evaluate::split(&args.split)?;
    let run = RunDir::new(&args.run);
    let config = config_of_run(&run)?;
    let device = open_device(args.device.unwrap_or(config.train.device))?;
    let (model, dir) = (open_model(run.root(), &device)?, run.model());
    let is_hard = model.trunk.sharing().config() == SharingConfig::default();
    if model.parameters.has_factors() && !is_hard {
        return Err(Failure::refused([format!(
            "{}: it has factors already, and a sharing scheme, which cannot be folded into these; expected `[sharing.hard]`, or a model of \
             whole matrices",
            args.run.display()
        )]));
    }
    let refused = |e: TrainError| Failure::refused([e]);
    let model = match is_hard {
        true => model,
        // A copy of the whole has nothing of the scheme, which is folded into the weights.
        false => {
            let folded = model.into_folded_for_all(&dir).map_err(refused)?;
            folded.cut(&Cut::default(), &dir, &device).map_err(refused)?
        }
    };
    let out = RunDir::new(&args.out);
    let dir_of_result = ResultDir::begin(out.root(), RECORD)?;
    let threads = config.train.threads;
    let work = Factorize { args, wanted, split, config, device, dir, out };
    let code = with_threads(threads, move || work.run(model))?;
    dir_of_result.finish()?;
    Ok(code)
}

/// Everything that was checked before anything is read.
struct Factorize<'a> {
    args: &'a cli::Factorize,
    wanted: Wanted,
    split: Split,
    config: Config,
    device: Device,
    /// The folder of the model that is factorized.
    dir: PathBuf,
    out: RunDir,
}

impl Factorize<'_> {
    fn run(self, model: Model) -> Result<u8, Failure> {
        let mut splits = vec![self.split, Split::Validation];
        splits.dedup();
        let found = factorizable(&model.trunk, &model.parameters);
        let chosen = self.wanted.choose(&found, &self.args.run)?;
        let mut job = assemble_saved(&self.config, model, &splits)?.job;
        let choice = RowChoice { split: self.split, rows: self.args.rows, seed: self.args.seed };
        let weights = chosen.iter().map(|(matrix, _)| matrix.index);
        let tokens = self.config.train.evaluation_tokens();
        let Some(inputs) = input_statistics(&job, weights, choice, tokens, stop_flag()) else {
            let messages = vec!["interrupted; nothing was written".into()];
            return Err(Failure { messages, code: INTERRUPTED });
        };
        if inputs.tokens == 0 {
            return Err(Failure::refused([format!(
                "--split {}: the corpora of the run have no rows in it, which the errors of matrices could be weighed by",
                self.args.split
            )]));
        }
        let first = job.model.parameters.clone();
        let matrices = job.model.factorize(&chosen, &inputs).map_err(|e| Failure::refused([e]))?;
        job.model.save(&self.out.model(), 0, ScoreTable::default()).map_err(Failure::failed)?;
        let mut config = config_on(&self.config, &self.out)?;
        config.sharing = SharingConfig::default();
        write(&self.out.config(), config.resolved_toml().as_bytes())?;
        job.model.parameters = first;
        // What is measured is what was written.
        let small = self.open()?;
        let folders = [self.dir.as_path(), &self.out.model()];
        let (scores, models) = measure_change([&job, &small], folders, tokens);
        let record = Factorized::new(self.args, &matrices, &inputs, scores, models);
        let json = serde_json::to_vec_pretty(&record).map_err(Failure::failed)?;
        write(&self.out.root().join(RECORD), &json)?;
        match self.args.json {
            true => output::line(serde_json::to_string(&record).map_err(Failure::failed)?),
            false => output::text(Text { record: &record, out: self.out.root() }.all()),
        }
        Ok(0)
    }

    /// The model that was written, with the rows that it is scored on.
    fn open(&self) -> Result<Job, Failure> {
        let model = open_model(self.out.root(), &self.device)?;
        Ok(assemble_saved(&self.config, model, &[Split::Validation])?.job)
    }
}
