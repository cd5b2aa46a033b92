//! `environment.json` of a run: by which commands it was trained, with which version, on what.

use crate::failure::Failure;
use crate::terminal::output;
use crate::{commands, config::Config};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use train::RunDir;

/// How a run came about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Every command that trained it, in their order: the first began it, the others went on with it.
    pub sessions: Vec<Session>,
}

/// One command that trained a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The command line, argument by argument.
    pub command: Vec<String>,
    /// The folder that it was given in.
    pub folder: String,
    /// Polytask's version.
    pub version: String,
    /// What was built in: `hub`, `mlflow`, `cuda`, `wgpu`.
    pub features: Vec<String>,
    /// The operating system and the architecture, `linux x86_64`.
    pub system: String,
    /// The processor's name, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// Threads of the training.
    pub threads: usize,
    /// What computed.
    pub device: String,
    /// When it began, in UTC.
    pub began: String,
    /// When it ended; nothing where it was killed, or is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// Where it lies in a run.
pub fn path(run: &RunDir) -> PathBuf {
    run.root().join("environment.json")
}

impl Environment {
    /// Reads that of a run; `None` of a run of an older version, which has none.
    ///
    /// # Errors
    /// It cannot be read, in words.
    pub fn of(run: &RunDir) -> Result<Option<Environment>, String> {
        super::read_json(&path(run))
    }

    /// Adds a command that begins now.
    pub fn begin(run: &RunDir, config: &Config, device: &Device) -> Result<(), Failure> {
        let mut environment = Environment::of(run).unwrap_or_else(|error| {
            output::error(format_args!("warning: {error}; the commands of before are not recorded any more"));
            None
        });
        let environment = environment.get_or_insert_default();
        environment.sessions.push(Session::now(config, device));
        environment.write(run)
    }

    /// Says that the last command ends now.
    pub fn end(run: &RunDir) -> Result<(), Failure> {
        let Ok(Some(mut environment)) = Environment::of(run) else { return Ok(()) };
        if let Some(session) = environment.sessions.last_mut() {
            session.ended = Some(utc(now()));
        }
        environment.write(run)
    }

    fn write(&self, run: &RunDir) -> Result<(), Failure> {
        let bytes = serde_json::to_vec_pretty(self).map_err(Failure::failed)?;
        commands::train::write(&path(run), &bytes)
    }
}

impl Session {
    fn now(config: &Config, device: &Device) -> Session {
        let built_in = [
            ("hub", cfg!(feature = "hub")),
            ("mlflow", cfg!(feature = "mlflow")),
            ("cuda", cfg!(feature = "cuda")),
            ("wgpu", cfg!(feature = "wgpu")),
        ];
        let features = built_in.into_iter().filter(|(_, is_in)| *is_in).map(|(name, _)| name.to_owned());
        let folder = std::env::current_dir().unwrap_or_default();
        Session {
            command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            folder: folder.display().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            features: features.collect(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor(),
            threads: rayon::current_num_threads(),
            device: commands::describe_device(config.train.device, device),
            began: utc(now()),
            ended: None,
        }
    }

    /// The command as a shell takes it.
    pub fn command_line(&self) -> String {
        let mut arguments = self.command.iter();
        // The program by its name: where it lies differs from machine to machine.
        let program = arguments.next().map(|program| {
            Path::new(program)
                .file_name()
                .map_or_else(|| program.clone(), |name| name.to_string_lossy().into_owned())
        });
        program
            .into_iter()
            .chain(arguments.cloned())
            .map(|argument| quoted(&argument))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// The processor's name by Linux.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time since 1970 as date and time, `2026-03-01 14:05:09 UTC`.
pub fn utc(since: Duration) -> String {
    let (days, seconds) = ((since.as_secs() / 86_400) as i64, since.as_secs() % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March, so that leap days end them.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The time since 1970 of what [`utc`] wrote.
pub fn since_1970(text: &str) -> Option<Duration> {
    let text = text.strip_suffix(" UTC")?;
    let numbers: Option<Vec<i64>> = text.split(['-', ' ', ':']).map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = numbers?[..] else { return None };
    // The way of `utc` backwards.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected by GNU date: `date -u -d @SECONDS`.
    #[test]
    fn times_are_those_of_the_calendar() {
        let of = |seconds| utc(Duration::from_secs(seconds));
        assert_eq!(of(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(of(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(of(951_868_799), "2000-02-29 23:59:59 UTC");
        assert_eq!(of(1_772_373_909), "2026-03-01 14:05:09 UTC");
        assert_eq!(of(4_107_542_400), "2100-03-01 00:00:00 UTC");
        for seconds in [0, 951_782_399, 951_868_799, 1_772_373_909, 4_107_542_400, 4_102_444_799] {
            assert_eq!(since_1970(&of(seconds)), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(since_1970("yesterday"), None);
    }

    #[test]
    fn a_command_line_can_be_given_again() {
        let [plain, strange] = ["train.epochs=3", "it's a $path"].map(quoted);
        assert_eq!((plain.as_str(), strange.as_str()), ("train.epochs=3", r"'it'\''s a $path'"));
        assert_eq!(quoted(""), "''");
    }
}
