//! `polytask prune`: a trained model without the layers, heads and feed-forward columns that its tasks depend on least, as a smaller model of
//! the same sort, which is trained further to win back what it lost.

mod choice;
mod measured;
mod record;

use crate::cli;
use crate::commands::merge::on_model;
use crate::commands::train::{stop_flag, write};
use crate::commands::{config_of_run, evaluate, open_device, open_model, with_threads};
use crate::config::Config;
use crate::failure::{Failure, INTERRUPTED};
use crate::job::assemble::assemble_saved;
use crate::job::measured::{manifest_hash, measure_change};
use crate::job::result_dir::ResultDir;
use crate::terminal::output;
use ::model::pruning::Cut;
use ::train::{
    Job, LayerSearch, Model, ModelManifest, RunDir, ScoreTable, SearchStep, importance_of, losses_without,
    rows_hash,
};
use burn::tensor::Device;
use choice::Wanted;
use data::Split;
use measured::{Fingerprint, Measured};
use model::SharingConfig;
use record::{Pruned, Text};
use std::path::{Path, PathBuf};

/// How a model was pruned, beside it.
const RECORD: &str = "prune.json";

/// Whether a directory is that of a pruned model.
pub fn is_pruned(root: &Path) -> bool {
    root.join(RECORD).is_file()
}

/// Measures, cuts, scores and writes.
pub fn prune(args: &cli::Prune) -> Result<u8, Failure> {
    let wanted = Wanted {
        layers: args.layers,
        by: args.layers_by,
        heads: args.heads,
        ffn: args.ffn,
        hidden: args.hidden,
    };
    wanted.check()?;
    let split = evaluate::split(&args.split)?;
    let run = RunDir::new(&args.run);
    let config = config_of_run(&run)?;
    let device = open_device(args.device.unwrap_or(config.train.device))?;
    let model = open_model(run.root(), &device.clone().autodiff())?;
    let dir = run.model();
    if model.parameters.has_factors() {
        return Err(Failure::refused([format!(
            "{}: its matrices are two factors each, which have no columns and heads to cut; prune the whole model, and factorize the result",
            args.run.display()
        )]));
    }
    let model = model.into_folded_for_all(&dir).map_err(|e| Failure::refused([e]))?;
    wanted.check_network(model.trunk.layers(), &model.trunk.cuttable())?;
    let out = RunDir::new(&args.out);
    let dir_of_result = ResultDir::with_marker(out.root(), measured::FILE, RECORD)?;
    let threads = config.train.threads;
    let work = Prune { args, wanted, split, config, device, dir, out };
    let code = with_threads(threads, move || work.run(model))?;
    if code == 0 {
        dir_of_result.finish()?;
    }
    Ok(code)
}

/// The config of a run on the model that a command has made of its own, beginning with its heads.
pub(super) fn config_on(config: &Config, out: &RunDir) -> Result<Config, Failure> {
    let dir = out.model();
    let dir = std::path::absolute(&dir).map_err(|e| Failure::io("finding", &dir, e))?;
    let (manifest, _): (ModelManifest, _) = Model::read_manifest(&dir).map_err(Failure::failed)?;
    let mut config = on_model(config, &dir, &manifest);
    config.model.heads = Some(dir.to_string_lossy().into_owned());
    (config.sweep, config.distill, config.tokenizer) = (None, None, None);
    Ok(config)
}

/// Everything that was checked before anything is measured.
struct Prune<'a> {
    args: &'a cli::Prune,
    wanted: Wanted,
    split: Split,
    config: Config,
    device: Device,
    /// The folder of the model that is cut.
    dir: PathBuf,
    out: RunDir,
}

impl Prune<'_> {
    fn run(self, model: Model) -> Result<u8, Failure> {
        let mut splits = vec![self.split, Split::Validation];
        splits.dedup();
        let mut job = assemble_saved(&self.config, model, &splits)?.job;
        let refused = |e: ::train::TrainError| Failure::refused([e]);
        let mut measured = Measured::open(self.out.root(), self.fingerprint(&job)?);
        if self.measure(&mut job, &mut measured)?.is_none() {
            return Err(Failure {
                messages: vec![format!(
                    "interrupted; the same command goes on with what has been measured, which is in {}",
                    self.out.root().display()
                )],
                code: INTERRUPTED,
            });
        }
        let cut = self.choose(&job, &measured);
        let small = job.model.cut(&cut, &self.dir, &self.device).map_err(refused)?;
        small.save(&self.out.model(), 0, ScoreTable::default()).map_err(Failure::failed)?;
        let config = self.config_of(&small)?;
        write(&self.out.config(), config.resolved_toml().as_bytes())?;
        let small = assemble_saved(&self.config, small, &[Split::Validation])?.job;
        let record = self.record(&measured, cut, &job, &small);
        let json = serde_json::to_vec_pretty(&record).map_err(Failure::failed)?;
        write(&self.out.root().join(RECORD), &json)?;
        match self.args.json {
            true => output::line(serde_json::to_string(&record).map_err(Failure::failed)?),
            false => output::text(Text { record: &record, out: self.out.root() }.all()),
        }
        Ok(0)
    }

    /// Everything that the measurements depend on.
    fn fingerprint(&self, job: &Job) -> Result<Fingerprint, Failure> {
        let model =
            manifest_hash(&self.dir).map_err(|e| Failure::io("reading the manifest in", &self.dir, e))?;
        let rows = job.views.of(self.split).iter().map(rows_hash).collect::<Vec<_>>().join(" ");
        let of = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("model", model),
            ("device", format!("{:?}", self.args.device.unwrap_or(self.config.train.device))),
            ("--split", self.split.name().to_owned()),
            ("--rows", self.args.rows.to_string()),
            ("--seed", self.args.seed.to_string()),
            ("--hidden", self.wanted.hidden.is_some().to_string()),
            ("text of the rows", rows),
        ];
        Ok(of.map(|(key, value)| (key.to_owned(), value)).into())
    }

    /// Measures what is not known, and keeps it as it comes; `None` when interrupted.
    fn measure(&self, job: &mut Job, measured: &mut Measured) -> Result<Option<()>, Failure> {
        let refused = |e: ::train::TrainError| Failure::refused([e]);
        let rows = (self.split, self.args.rows);
        for task in measured.importance.len()..job.model.tasks.len() {
            let with_hidden = self.wanted.hidden.is_some();
            let found = importance_of(job, task, rows, self.args.seed, with_hidden, stop_flag());
            let found = found.map_err(refused)?;
            let Some(found) = found else { return Ok(None) };
            measured.importance.push(found);
            measured.save()?;
        }
        let Some(mut search) = self.search(job, measured) else { return Ok(Some(())) };
        let tokens = self.config.train.evaluation_tokens();
        while let SearchStep::Measure(layers) = search.next() {
            let found = losses_without(job, layers, rows, self.args.seed, tokens, stop_flag());
            let Some(found) = found.map_err(refused)? else { return Ok(None) };
            measured.losses.push(found.clone());
            measured.save()?;
            search.add(found);
        }
        Ok(Some(()))
    }

    /// The search for the layers that stay, where it goes by the losses without them.
    fn search(&self, job: &Job, measured: &Measured) -> Option<LayerSearch> {
        let kept = self.wanted.layers.filter(|_| self.wanted.by == cli::LayersBy::Loss)?;
        let trunk = &job.model.trunk;
        let first_stays = trunk.cuttable().first_layer_stays;
        let known = measured.losses.clone();
        Some(LayerSearch::new((trunk.layers(), kept), first_stays, weights(job), known))
    }

    fn choose(&self, job: &Job, measured: &Measured) -> Cut {
        let gone = self.search(job, measured).map(|search| match search.next() {
            SearchStep::Done(order) => order,
            SearchStep::Measure(layers) => layers,
        });
        let trunk = &job.model.trunk;
        let sizes = (trunk.layers(), &trunk.cuttable());
        self.wanted.choose(&measured.importance, gone.as_deref(), &weights(job), sizes)
    }

    /// The config that trains the pruned model further, beginning with its heads.
    fn config_of(&self, small: &Model) -> Result<Config, Failure> {
        let mut config = config_on(&self.config, &self.out)?;
        config.sharing = SharingConfig::default();
        for phase in &mut config.phase {
            phase.freeze = phase.freeze.map(|layers| layers.min(small.trunk.layers()));
        }
        Ok(config)
    }

    /// Scores both models, and says what they take.
    fn record(&self, measured: &Measured, cut: Cut, job: &Job, small: &Job) -> Pruned {
        let (tokens, out) = (self.config.train.evaluation_tokens(), self.out.model());
        let (mut scores, models) = measure_change([job, small], [&self.dir, &out], tokens);
        scores.retain(|row| measured.importance.iter().any(|task| task.task == row.task));
        let order = self.search(job, measured).map(|search| search.next());
        Pruned::new(self, measured, (cut, order), scores, models)
    }
}

/// How much each task counts.
fn weights(job: &Job) -> Vec<f64> {
    job.model.tasks.iter().map(|slot| slot.training.importance).collect()
}
