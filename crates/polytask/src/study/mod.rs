//! Studies: many trainings in one directory that are held against each other. `compare`, `affinity` and `sweep` are studies.
//!
//! A study's directory holds `study.json` (what was asked for), `configs/NAME.toml` (a config for each training, which `polytask
//! train` reads as any other), `trials/NAME/` (its run, with `result.json` beside it) and `trials/NAME.log`. Each training is a process
//! of its own ([`execute`]), so that its memory is its own, several run at once, and one that is ended takes no other with it. A study
//! that was interrupted goes on: what is finished stays, what was begun is resumed to the bit.

pub mod cost;
pub mod derive;
pub mod dir;
pub mod execute;
pub mod groups;
pub mod progress;
pub mod result;
pub mod runner;
pub mod score;
pub mod settings;
pub mod setup;
pub mod sweep_config;

pub use dir::StudyDir;
pub use result::{TaskScore, TrialResult};
pub use runner::Runner;
pub use sweep_config::{SweepConfig, SweepMethod};

use crate::config::Config;
use std::path::PathBuf;

/// Bytes of a trial's name before a digest: file systems allow 255, of which `.toml` and a temporary name take some.
const LONGEST: usize = 180;

/// One training of a study.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Its name in the study's directory: letters, digits and `-_.+=`.
    pub name: String,
    /// What is trained.
    pub config: Config,
    /// A run whose model is scored in place of a training.
    pub trained: Option<PathBuf>,
}

impl Trial {
    /// A trial of that name, as [`Trial::name_of`] writes it.
    pub fn new(name: &str, config: Config) -> Trial {
        Trial { name: Trial::name_of(name), config, trained: None }
    }

    /// A name in which what cannot stand in the name of a file becomes `-`. Of one that is too long for a file the end is replaced by
    /// its digest.
    pub fn name_of(name: &str) -> String {
        let sign = |c: char| if c.is_alphanumeric() || "_.+=,".contains(c) { c } else { '-' };
        let mut found: String = name.chars().map(sign).collect();
        if found.starts_with('.') {
            found.replace_range(..1, "-");
        }
        if found.len() > LONGEST {
            let mut stays = LONGEST;
            while !found.is_char_boundary(stays) {
                stays -= 1;
            }
            let digest = blake3::hash(name.as_bytes()).to_hex();
            found.truncate(stays);
            found += &format!("-{}", &digest[..12]);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
        assert_eq!(Trial::name_of("alone a/b \"c\" 1"), "alone-a-b--c--1");
        assert_eq!((Trial::name_of(".."), Trial::name_of("東京 1")), ("-.".into(), "東京-1".into()));
        let (long, other) = ("京".repeat(300), "京".repeat(301));
        assert!(Trial::name_of(&long).len() < 200);
        assert_ne!(Trial::name_of(&long), Trial::name_of(&other));
    }
}
