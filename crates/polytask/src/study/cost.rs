//! What a study costs, before it starts: trainings, tokens, time, and how many run at once.

use super::derive::Reference;
use crate::commands::plan::expected_seconds;
use crate::config::Config;
use crate::distill::answers;
use crate::failure::Failure;
use crate::job::assemble::{Assembled, assemble};
use crate::memory::{self, memory_plan::bytes_beside_probe};
use crate::terminal::figures::{bytes, count, counted, duration};
use burn::tensor::Device;
use data::Tokenizer;
use model::DeviceName;
use std::time::{Duration, Instant};

/// What was measured of the model for all tasks.
pub struct Measured {
    /// What it gets.
    pub reference: Reference,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Seconds of passes for a token on the threads of one training, without evaluations and the optimizer.
    pub seconds_per_token: f64,
    /// About how many bytes a training takes; `None` where the system does not report it.
    pub bytes: Option<usize>,
}

impl Measured {
    /// Reads the data, plans the run of a config and measures a few passes. Nothing is trained.
    ///
    /// # Errors
    /// Whatever a training would be refused for.
    pub fn of(config: &Config, device: &Device) -> Result<Measured, Failure> {
        let Assembled { mut job, .. } = assemble(config, device)?;
        answers::expect(config, &mut job);
        let settings = config.settings();
        let plan = train::plan(&job, &settings).map_err(|e| Failure::refused([e]))?;
        let reference = Reference::of(config, &job, &plan);
        let began = Instant::now();
        let costs = train::measure(&job, &settings, &|| began.elapsed());
        let seconds = expected_seconds(&plan.tasks, &costs).unwrap_or(0.0);
        let beside = bytes_beside_probe(config, &job)?;
        Ok(Measured {
            seconds_per_token: seconds / reference.all_tokens().max(1.0),
            reference,
            bytes: memory::peak().map(|peak| peak + beside),
            tokenizer: job.model.tokenizer,
        })
    }

    /// How many trainings run at once: as many as there are processors and as memory allows.
    pub fn jobs(&self, config: &Config, trials: usize) -> usize {
        if config.train.device != DeviceName::Cpu {
            return 1;
        }
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = config.train.threads.unwrap_or(1).max(1);
        // What is left for the rest of the machine.
        let fitting = match (self.bytes, memory::allowed()) {
            (Some(bytes), Some(allowed)) => (allowed as f64 * 0.8 / bytes.max(1) as f64) as usize,
            _ => 1,
        };
        (processors / threads).min(fitting).min(trials).max(1)
    }

    /// The cost in a sentence; `work` is what all trainings together take, in tokens of training ([`Reference::work`]).
    pub fn describe(&self, trainings: &str, work: f64, jobs: usize) -> String {
        let time = match work * self.seconds_per_token / jobs.max(1) as f64 {
            seconds if seconds > 0.0 => {
                let time = duration(Duration::from_secs_f64(seconds));
                format!("; about {time} of passes on this machine, the optimizer comes on top")
            }
            _ => String::new(),
        };
        let memory = self.bytes.map(|found| format!(", about {} each", bytes(found))).unwrap_or_default();
        format!(
            "{trainings}, in all as much as training on {} tokens, evaluations included{time}; {} at once{memory}",
            count(work as usize),
            counted(jobs, "training")
        )
    }
}
