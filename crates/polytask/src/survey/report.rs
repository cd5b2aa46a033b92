//! The survey with its findings, as `--json` prints it.

use super::counts::Survey;
use super::findings::{self, Finding};
use crate::config::Config;
use crate::job::assemble::Assembled;
use serde::Serialize;

/// What is reported of a config's corpora.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What deserves a look, the gravest first.
    pub findings: Vec<Finding>,
    /// What was counted and compared.
    #[serde(flatten)]
    pub survey: Survey,
}

impl Report {
    /// Surveys assembled corpora. With `states`, distances are those of the backbone's states, if it is a pretrained one; else
    /// those of bags of tokens.
    pub fn of(config: &Config, assembled: &Assembled, states: bool) -> Report {
        let survey = Survey::of(config, assembled, states);
        Report { findings: findings::of(&survey), survey }
    }
}
