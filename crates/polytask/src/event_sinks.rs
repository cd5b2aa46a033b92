//! Where a run's events go: the screen, `metrics.jsonl`, TensorBoard.

use crate::failure::Failure;
use crate::terminal::output;
use crate::terminal::progress::{Detail, ProgressDisplay};
use report::EventFile;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use train::{Evaluated, Event, RunDir};

/// Takes the events of one run.
pub struct EventSinks {
    progress: ProgressDisplay,
    lines: File,
    board: EventFile,
    /// Losses on validation rows under the tags of those in training, in a folder of their own: TensorBoard draws curves of one tag and
    /// of several folders over each other.
    validation: ValidationBoard,
    /// Whether the last line may have been written in part.
    torn: bool,
    /// The first error in writing; reported once, at the end it makes the command fail.
    error: Option<io::Error>,
}

impl EventSinks {
    /// Opens the run's files, going on where they end.
    pub fn open(run: &RunDir, detail: Detail) -> Result<EventSinks, Failure> {
        let path = run.metrics();
        let lines = OpenOptions::new().create(true).append(true).open(&path);
        let board = EventFile::create(run.root(), now().as_secs_f64(), "polytask");
        Ok(EventSinks {
            progress: ProgressDisplay::new(detail),
            lines: lines.map_err(|e| Failure::io("opening", &path, e))?,
            board: board.map_err(|e| Failure::io("writing TensorBoard events in", run.root(), e))?,
            validation: ValidationBoard {
                folder: run.root().join("validation"),
                events: None,
                resumed_after: None,
            },
            torn: false,
            error: None,
        })
    }

    /// Takes one event.
    pub fn take(&mut self, event: &Event) {
        self.progress.show(event);
        if let Err(error) = self.write(event)
            && self.error.is_none()
        {
            output::error(format_args!("warning: cannot write the run's metrics: {error}"));
            self.error = Some(error);
        }
    }

    /// Ends the files.
    pub fn close(mut self) -> Result<(), Failure> {
        let error =
            self.error.take().or_else(|| self.board.flush().and_then(|()| self.lines.sync_all()).err());
        error.map_or(Ok(()), |error| Err(Failure::failed(format!("writing the run's metrics: {error}"))))
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.torn {
            // After a disk that was full for a moment the next event has a line of its own.
            line.insert(0, b'\n');
        }
        self.torn = true;
        self.lines.write_all(&line)?;
        self.torn = false;
        self.board(event)
    }

    fn board(&mut self, event: &Event) -> io::Result<()> {
        let time = now().as_secs_f64();
        if let Event::Started(e) = event
            && e.resumed
        {
            // What an interrupted run wrote of the steps that come again no longer counts.
            self.validation.resumed_after = Some(e.step);
            return self.board.resumed(e.step as i64 + 1, time);
        }
        let mut scalar =
            |tag: &str, step: usize, value: f64| self.board.scalar(tag, step as i64, time, value as f32);
        match event {
            Event::Step(e) => {
                for (task, loss) in &e.losses {
                    scalar(&format!("loss/{task}"), e.step, *loss)?;
                }
                for (task, weight) in &e.weights {
                    scalar(&format!("weight/{task}"), e.step, *weight)?;
                }
                if let Some(gradients) = &e.task_gradients {
                    for (task, norm) in &gradients.norms {
                        scalar(&format!("gradient_norm/{task}"), e.step, *norm)?;
                    }
                    for pair in &gradients.cosines {
                        let (first, second) = &pair.tasks;
                        scalar(&format!("cosine/{first}/{second}"), e.step, pair.cosine)?;
                    }
                    if let Some(conflicts) = gradients.conflicts {
                        scalar("train/conflicts", e.step, conflicts)?;
                    }
                }
                for (head, factor) in &e.head_factors {
                    scalar(&format!("head_factor/{head}"), e.step, *factor)?;
                }
                scalar("train/learning_rate", e.step, e.learning_rate)?;
                scalar("train/gradient_norm", e.step, e.gradient_norm)?;
                scalar("train/tokens_per_second", e.step, e.tokens as f64 / e.seconds.max(1e-9))
            }
            Event::Evaluated(e) => {
                for (task, scores) in &e.scores {
                    for (metric, score) in scores {
                        scalar(&format!("{}/{task}/{metric}", e.split), e.step, *score)?;
                    }
                }
                for (task, loss) in &e.losses {
                    scalar(&format!("{}/{task}/loss", e.split), e.step, *loss)?;
                }
                scalar(&format!("{}/mean", e.split), e.step, e.mean)?;
                if e.split == "validation" {
                    self.validation.losses(e, time)?;
                }
                self.board.flush()
            }
            Event::UsageReport(e) => {
                for (task, share) in &e.shares {
                    scalar(&format!("compute_share/{task}"), e.step, *share)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The folder of validation losses, which is made when there is one.
struct ValidationBoard {
    folder: PathBuf,
    events: Option<EventFile>,
    /// The steps done when this run went on.
    resumed_after: Option<usize>,
}

impl ValidationBoard {
    fn losses(&mut self, e: &Evaluated, time: f64) -> io::Result<()> {
        if e.losses.is_empty() {
            return Ok(());
        }
        let events = match &mut self.events {
            Some(events) => events,
            none => {
                std::fs::create_dir_all(&self.folder)?;
                let mut events = EventFile::create(&self.folder, time, "polytask")?;
                if let Some(step) = self.resumed_after {
                    events.resumed(step as i64 + 1, time)?;
                }
                none.insert(events)
            }
        };
        for (task, loss) in &e.losses {
            events.scalar(&format!("loss/{task}"), e.step as i64, time, *loss as f32)?;
        }
        events.flush()
    }
}

/// Time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
