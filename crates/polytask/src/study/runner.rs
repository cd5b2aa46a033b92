//! Runs the trials of a study, several at once, each in a process of its own.

use super::dir::StudyDir;
use super::{Trial, TrialResult};
use crate::commands::train::stop_flag;
use crate::config::Config;
use crate::failure::{FAILED, Failure, INTERRUPTED};
use crate::history::HistoryReader;
use crate::terminal::figures::duration;
use crate::terminal::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ffi::OsStr;
use std::fs::File;
use std::io::IsTerminal;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use train::RunDir;

/// How often the processes are looked at.
const EVERY: Duration = Duration::from_millis(50);
/// Lines of the log of a trial that failed which are said.
const LINES: usize = 12;

/// How trials are run.
#[derive(Debug, Clone)]
pub struct Runner {
    /// Trainings at once.
    pub jobs: usize,
    /// Threads of each.
    pub threads: usize,
    /// Bootstrap samples of the held-out rows.
    pub resamples: usize,
    /// The split that is scored.
    pub split: String,
    /// Whether nothing is said of trainings that are finished.
    pub quiet: bool,
}

/// A process at work.
struct Running {
    /// Its place in the list of trials.
    index: usize,
    child: Child,
    /// When this is dropped, the process saves and ends.
    input: Option<ChildStdin>,
    history: HistoryReader,
    began: Instant,
}

impl Runner {
    /// Runs `jobs` trainings at once, which share the processors unless the config says how many threads each has.
    pub fn new(config: &Config, jobs: usize, (split, resamples): (&str, usize), quiet: bool) -> Runner {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = config.train.threads.unwrap_or((processors / jobs).max(1));
        Runner { jobs, threads, resamples, split: split.to_owned(), quiet }
    }

    /// Trains what is not finished, and gives the results of all, in the order of the trials. `work` is how much each has to do, in any
    /// unit, for the time that is left. What to say to go on after an interruption is `resume`.
    ///
    /// # Errors
    /// A trial that fails, with the end of its log: those beside it save what they have. An interruption.
    pub fn run(
        &self,
        dir: &StudyDir,
        trials: &[Trial],
        work: &[f64],
        resume: &str,
    ) -> Result<Vec<TrialResult>, Failure> {
        self.run_until(dir, trials, work, resume, None)
    }

    /// As [`Runner::run`]; each training pauses at the first evaluation after so many epochs, to be run on or not.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn run_until(
        &self,
        dir: &StudyDir,
        trials: &[Trial],
        work: &[f64],
        resume: &str,
        epoch: Option<usize>,
    ) -> Result<Vec<TrialResult>, Failure> {
        let mut names: Vec<&str> = trials.iter().map(|trial| trial.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::refused([format!(
                "two trainings would be called {}: give the tasks names that differ in letters or digits",
                pair[0]
            )]));
        }
        for trial in trials {
            dir.write_config(trial)?;
        }
        let mut results: Vec<Option<TrialResult>> =
            trials.iter().map(|trial| dir.result_of(trial, epoch)).collect();
        let found = results.iter().flatten().count();
        if found > 0 && !self.quiet {
            output::line(format_args!("  {found} of {} trainings are finished already", trials.len()));
        }
        let waiting: Vec<usize> = (0..trials.len()).filter(|index| results[*index].is_none()).collect();
        let mut progress = Progress::new(trials, work, &waiting, self.quiet);
        let (mut waiting, mut running, mut failure) = (waiting.into_iter(), Vec::new(), None);
        let stop = stop_flag();
        loop {
            if stop.load(Ordering::Relaxed) && failure.is_none() {
                let message = format!("interrupted, and saved; go on with: {resume}");
                failure = Some(Failure { messages: vec![message], code: INTERRUPTED });
            }
            if failure.is_some() {
                // Their input ends: they save and end.
                running.iter_mut().for_each(|running: &mut Running| running.input = None);
            } else {
                while running.len() < self.jobs
                    && let Some(index) = waiting.next()
                {
                    match self.start(dir, trials, index, epoch) {
                        Ok(started) => running.push(started),
                        Err(found) => {
                            failure = Some(found);
                            break;
                        }
                    }
                }
            }
            if running.is_empty() {
                break;
            }
            std::thread::sleep(EVERY);
            let mut still = Vec::new();
            for mut one in running {
                let name = &trials[one.index].name;
                // A file that is not there yet, or for a moment cannot be read, is read the next time.
                let _ = one.history.read_more();
                match one.child.try_wait().map_err(Failure::failed)? {
                    None => still.push(one),
                    Some(status) => match dir.result(name, epoch) {
                        Some(result) if status.success() => {
                            progress.finished(one.index, &result, one.began.elapsed());
                            results[one.index] = Some(result);
                        }
                        // A signal to the whole group reaches the processes of the trainings, too.
                        _ if failure.is_some() || stop.load(Ordering::Relaxed) => {}
                        _ => failure = Some(failed(dir, name, status, self.jobs)),
                    },
                }
            }
            running = still;
            progress.show(&running);
        }
        progress.end();
        match failure {
            Some(failure) => Err(failure),
            None => Ok(results.into_iter().flatten().collect()),
        }
    }

    fn start(
        &self,
        dir: &StudyDir,
        trials: &[Trial],
        index: usize,
        epoch: Option<usize>,
    ) -> Result<Running, Failure> {
        let name = &trials[index].name;
        let program = std::env::current_exe()
            .map_err(|e| Failure::failed(format!("finding this program, to start it for a training: {e}")))?;
        let path = dir.log(name);
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(|e| Failure::io("opening", &path, e))?;
        let errors = log.try_clone().map_err(|e| Failure::io("opening", &path, e))?;
        let mut child = Command::new(program)
            .arg("trial")
            .arg(dir.config(name))
            .arg(dir.trial(name))
            .args(["--resamples", &self.resamples.to_string()])
            .args(["--threads", &self.threads.to_string()])
            .args(["--split", &self.split])
            .args(trials[index].trained.iter().flat_map(|run| [OsStr::new("--trained"), run.as_os_str()]))
            .args(epoch.map(|epoch| format!("--until-epoch={epoch}")))
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| Failure::failed(format!("starting a process for {name}: {e}")))?;
        let input = child.stdin.take();
        let history = HistoryReader::new(RunDir::new(dir.trial(name)).metrics());
        Ok(Running { index, child, input, history, began: Instant::now() })
    }
}

/// Why a trial failed: the end of its log.
fn failed(dir: &StudyDir, name: &str, status: ExitStatus, jobs: usize) -> Failure {
    let log = dir.log(name);
    let text = std::fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut messages =
        vec![format!("error: the training of {name} failed ({status}); {} says:", log.display())];
    messages.extend(lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| format!("    {line}")));
    if status.code().is_none() && jobs > 1 {
        messages.push("  a process that is killed has often run out of memory: try --jobs 1".into());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0);
    Failure { messages, code: code.unwrap_or(FAILED) }
}

/// What is shown while trials run.
struct Progress<'a> {
    trials: &'a [Trial],
    work: &'a [f64],
    bar: Option<ProgressBar>,
    began: Instant,
    /// Work that is to be done now, and that is done.
    all: f64,
    done: f64,
    number: usize,
    quiet: bool,
}

impl<'a> Progress<'a> {
    fn new(trials: &'a [Trial], work: &'a [f64], waiting: &[usize], quiet: bool) -> Progress<'a> {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(4));
            let style =
                ProgressStyle::with_template("  {bar:24.cyan/dim} {msg}").expect("the template is valid");
            bar.with_style(style.progress_chars("━━─"))
        });
        let all = waiting.iter().filter_map(|index| work.get(*index)).sum();
        let number = trials.len() - waiting.len();
        Progress { trials, work, bar, began: Instant::now(), all, done: 0.0, number, quiet }
    }

    fn finished(&mut self, index: usize, result: &TrialResult, time: Duration) {
        self.done += self.work.get(index).copied().unwrap_or(0.0);
        self.number += 1;
        if self.quiet {
            return;
        }
        let scores: Vec<String> = result
            .scores
            .iter()
            .filter(|score| !score.out_of_domain)
            .map(|score| (&score.task, score.value))
            .chain(
                result
                    .validation
                    .iter()
                    .map(|(task, value)| (task, *value))
                    .filter(|_| result.scores.is_empty()),
            )
            .map(|(task, value)| format!("{task} {:.2}", 100.0 * value))
            .collect();
        let line = format!(
            "  {:>3} of {}  {}: {}; {}{}",
            self.number,
            self.trials.len(),
            self.trials[index].name,
            scores.join(", "),
            duration(time),
            self.left(self.done)
        );
        match &self.bar {
            Some(bar) => bar.suspend(|| output::line(&line)),
            None => output::line(&line),
        }
    }

    fn show(&self, running: &[Running]) {
        let Some(bar) = &self.bar else { return };
        let part = |one: &Running| {
            let history = one.history.history();
            let steps = history.started.as_ref().map_or(0, |started| started.steps);
            history.last.step as f64 / steps.max(1) as f64
        };
        let at_work: f64 =
            running.iter().map(|one| part(one) * self.work.get(one.index).copied().unwrap_or(0.0)).sum();
        let done = self.done + at_work;
        let names: Vec<String> = running
            .iter()
            .map(|one| format!("{} {:.0} %", self.trials[one.index].name, 100.0 * part(one)))
            .collect();
        bar.set_position((1000.0 * done / self.all.max(f64::MIN_POSITIVE)) as u64);
        bar.set_message(format!("{}{}", names.join(", "), self.left(done)));
    }

    /// The time that is left, by the time that the work took so far.
    fn left(&self, done: f64) -> String {
        if done <= 0.0 || done >= self.all {
            return String::new();
        }
        let seconds = self.began.elapsed().as_secs_f64() * (self.all - done) / done;
        format!("; about {} left", duration(Duration::from_secs_f64(seconds)))
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
