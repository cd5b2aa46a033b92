//! Everything that is counted and compared.

use super::contradictions::{self, Contradictions};
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
    /// Rows of one text whose labels contradict each other; nothing where there are none.
    pub contradictions: Vec<Contradictions>,
    /// Corpora side by side.
    pub pairs: Vec<Pair>,
    /// What the distances of the pairs are made of; `None` where they were not measured.
    pub features: Option<Features>,
    /// Tokens after which a row is truncated.
    pub max_length: usize,
}

impl Survey {
    /// Surveys assembled corpora. With `states`, distances are those of the backbone's states, if it is a pretrained one; else
    /// those of bags of tokens.
    pub fn of(config: &Config, assembled: &Assembled, states: bool) -> Survey {
        let Assembled { job, .. } = assembled;
        let sides = Side::all(&job.views, &job.model.tasks);
        let features = Features::of(config, states);
        let pairs = pairs::compare(&sides, &job.model, config, features);
        Survey { pairs, features: Some(features), ..Survey::without_distances(assembled, &sides) }
    }

    /// Surveys assembled corpora, but does not measure how far they are from each other.
    pub fn brief(assembled: &Assembled) -> Survey {
        Survey::without_distances(assembled, &Side::all(&assembled.job.views, &assembled.job.model.tasks))
    }

    fn without_distances(assembled: &Assembled, sides: &[Side<'_>]) -> Survey {
        let Assembled { job, report } = assembled;
        Survey {
            corpora: ViewSurvey::all(&job.views, &job.model.tasks, &special_tokens(&job.model.tokenizer)),
            labels: LabelSurvey::all(&report.labels, &job.model.tasks),
            repeated: repeated::find(sides),
            contradictions: contradictions::find(&job.views, &job.model.tasks),
            pairs: Vec::new(),
            features: None,
            max_length: job.model.max_length,
        }
    }
}
