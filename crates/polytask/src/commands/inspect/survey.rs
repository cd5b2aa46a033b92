//! Everything that is counted and compared.

use super::labels::LabelSurvey;
use super::pairs::{self, Features, Pair};
use super::repeated::{self, Repeated};
use super::splits::{Side, ViewSurvey, special_tokens};
use crate::config::Config;
use crate::job::assemble::Assembled;
use serde::Serialize;

/// A config's corpora.
#[derive(Debug, Serialize)]
pub struct Survey {
    /// Each corpus under each input that is read of it.
    pub corpora: Vec<ViewSurvey>,
    /// Each task's labels.
    pub labels: Vec<LabelSurvey>,
    /// Texts that stand in more than one place; nothing where there are none.
    pub repeated: Vec<Repeated>,
    /// Corpora side by side.
    pub pairs: Vec<Pair>,
    /// What the distances of the pairs are made of.
    pub features: Features,
    /// Tokens after which a row is truncated.
    pub max_length: usize,
}

impl Survey {
    /// Surveys assembled corpora. With `states`, distances are those of the backbone's states, if it is a pretrained one; else
    /// those of bags of tokens.
    pub fn of(config: &Config, assembled: &Assembled, states: bool) -> Survey {
        let Assembled { job, report } = assembled;
        let sides = Side::all(&job.views, &job.model.tasks);
        let special = special_tokens(&job.model.tokenizer);
        let features = Features::of(config, states);
        Survey {
            corpora: ViewSurvey::all(&job.views, &job.model.tasks, &special),
            labels: LabelSurvey::all(&report.labels, &job.model.tasks),
            repeated: repeated::find(&sides),
            pairs: pairs::compare(&sides, &job.model, config, features),
            features,
            max_length: job.model.max_length,
        }
    }
}
