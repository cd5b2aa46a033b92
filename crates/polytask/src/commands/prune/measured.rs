//! What has been measured, kept in the directory of the result until that is complete, so that a command that was interrupted or killed
//! does not measure it again.

use crate::commands::train::write;
use crate::failure::Failure;
use crate::terminal::output;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use train::{LossesWithout, TaskImportance};

/// The file.
pub(super) const FILE: &str = "measured.json";

/// What the measurements are a function of, by name; all of it has to be equal for them to count.
pub(super) type Fingerprint = BTreeMap<String, String>;

/// The measurements of an unfinished command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    fingerprint: Fingerprint,
    /// Of the tasks that were measured, in their order.
    pub(super) importance: Vec<TaskImportance>,
    /// Of the whole model, and without some layers.
    pub(super) losses: Vec<LossesWithout>,
    #[serde(skip)]
    path: PathBuf,
}

impl Measured {
    /// What an interrupted command has left in `out`, where it measured the same; nothing otherwise.
    pub(super) fn open(out: &Path, fingerprint: Fingerprint) -> Measured {
        let path = out.join(FILE);
        let none = |fingerprint| Measured {
            fingerprint,
            importance: Vec::new(),
            losses: Vec::new(),
            path: path.clone(),
        };
        let Ok(bytes) = fs::read(&path) else { return none(fingerprint) };
        let found = match serde_json::from_slice::<Measured>(&bytes) {
            Ok(found) => found,
            Err(error) => {
                output::error(format_args!(
                    "note: {} cannot be read ({error}): all is measured again",
                    path.display()
                ));
                return none(fingerprint);
            }
        };
        let differs = fingerprint.iter().find(|(key, value)| found.fingerprint.get(*key) != Some(value));
        match differs {
            None => {
                let measured = found.importance.len() + found.losses.len();
                output::error(format_args!(
                    "note: {} has {measured} measurements of an interrupted command, which are not made again",
                    path.display()
                ));
                Measured { path, ..found }
            }
            Some((key, _)) => {
                output::error(format_args!(
                    "note: {} is of another {key}: all is measured again",
                    path.display()
                ));
                none(fingerprint)
            }
        }
    }

    /// Keeps what there is.
    pub(super) fn save(&self) -> Result<(), Failure> {
        write(&self.path, &serde_json::to_vec(self).map_err(Failure::failed)?)
    }
}
