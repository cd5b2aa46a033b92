//! Teachers: opened one after the other, and held against the student's tasks.

use super::DistillConfig;
use crate::commands::open_model;
use crate::failure::Failure;
use crate::job::token_cache::TokenCache;
use burn::tensor::Device;
use data::View;
use model::LanePolicy;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tasks::SoftOutputs;
use train::{Answering, Model, TaskSlot};

/// A teacher and the tasks that it may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeacherPlan {
    /// The folder of its run, or of its model.
    pub folder: PathBuf,
    /// The student's tasks.
    pub tasks: Vec<String>,
    /// Whether it is for all tasks that it has, too: those that it lacks learn from labels alone.
    pub for_all: bool,
}

/// The teachers of the tasks that are there, each once, in the order of the tasks.
pub fn plans(distill: &DistillConfig, tasks: &[&str]) -> Vec<TeacherPlan> {
    let mut plans: Vec<TeacherPlan> = Vec::new();
    for task in tasks {
        let (folder, for_all) = match (&distill.teacher, distill.teachers.get(*task)) {
            (_, Some(folder)) => (Path::new(folder), false),
            (Some(folder), None) => (Path::new(folder), true),
            (None, None) => continue,
        };
        match plans.iter_mut().find(|plan| plan.folder == folder && plan.for_all == for_all) {
            Some(plan) => plan.tasks.push((*task).to_owned()),
            None => plans.push(TeacherPlan { folder: folder.into(), tasks: vec![(*task).into()], for_all }),
        }
    }
    plans
}

/// A task of a teacher that answers for a task of the student.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// The index of the student's task.
    pub student: usize,
    /// The index of the teacher's.
    pub teacher: usize,
    /// For each output of the student its place among the teacher's.
    pub order: Vec<usize>,
    /// Whether answers are about tokens, for which the teacher needs the targets.
    pub by_token: bool,
    /// Whether the trunk answers, as the teacher's task reads it, and not the task's head.
    pub by_trunk: bool,
}

impl Lesson {
    /// What of the teacher answers.
    pub fn answering(&self) -> Answering {
        if self.by_trunk { Answering::Trunk(self.teacher) } else { Answering::Head(self.teacher) }
    }
}

/// A teacher that fits its tasks.
pub struct Teacher {
    /// The model.
    pub model: Model,
    /// What it teaches.
    pub lessons: Vec<Lesson>,
}

impl Teacher {
    /// Opens a teacher and holds it against the student's tasks.
    ///
    /// # Errors
    /// Every task that it cannot teach: another kind, other labels, a kind without answers.
    pub fn open(plan: &TeacherPlan, student: &Model, device: &Device) -> Result<Teacher, Failure> {
        let model = open_model(&plan.folder, device)?;
        let (mut lessons, mut errors) = (Vec::new(), Vec::new());
        for task in &plan.tasks {
            let Some(index) = student.tasks.iter().position(|slot| slot.name == *task) else { continue };
            match lesson(plan, &model, student, index) {
                Ok(Some(lesson)) => lessons.push(lesson),
                Ok(None) => {}
                Err(reason) => {
                    errors
                        .push(format!("distill: teacher {} of task `{task}`: {reason}", shown(&plan.folder)));
                }
            }
        }
        if errors.is_empty() && lessons.is_empty() {
            let names = |model: &Model| {
                model.tasks.iter().map(|slot| slot.name.as_str()).collect::<Vec<_>>().join(", ")
            };
            errors.push(format!(
                "distill.teacher: {} has none of the tasks {}; it has {}",
                shown(&plan.folder),
                names(student),
                names(&model)
            ));
        }
        if errors.is_empty() { Ok(Teacher { model, lessons }) } else { Err(Failure::refused(errors)) }
    }

    /// A lesson's rows as the teacher reads them: those of a view of the student, by the teacher's fields and tokenizer.
    ///
    /// # Errors
    /// Rows that the teacher cannot read.
    pub fn view(&self, lesson: &Lesson, rows: &View, cache: &TokenCache) -> Result<View, Failure> {
        let slot = &self.model.tasks[lesson.teacher];
        // A trunk reads what the student reads.
        let input = if lesson.by_trunk { rows.input.clone() } else { slot.kind.input() };
        let view = |folder: Option<&Path>| {
            let (corpus, model) = (rows.corpus.clone(), &self.model);
            View::new(corpus, input.clone(), rows.rows.clone(), &model.tokenizer, model.max_length, folder)
        };
        let found = cache.with(view).map_err(|errors| {
            Failure::refused(errors.iter().map(|error| format!("teacher's task `{}`: {error}", slot.name)))
        })?;
        if found.rows.iter().any(|row| !row.fields.is_empty())
            && (0..found.encoded.rows()).all(|row| found.encoded.length(row) == 0)
        {
            let told = format!(
                "the teacher's task `{}` reads {input}, which no row of corpus `{}` has",
                slot.name, rows.corpus
            );
            return Err(Failure::refused([told]));
        }
        Ok(found)
    }
}

/// How a teacher answers for a task of the student; `None` where one for all tasks lacks it.
fn lesson(
    plan: &TeacherPlan,
    model: &Model,
    student: &Model,
    index: usize,
) -> Result<Option<Lesson>, String> {
    let own = &student.tasks[index];
    if own.config.needs_teacher() {
        return lesson_of_trunk(model, student, index).map(Some);
    }
    let named = model.tasks.iter().position(|slot| slot.name == own.name);
    let teacher = match (named, &model.tasks[..]) {
        (Some(teacher), _) => teacher,
        (None, _) if plan.for_all => return Ok(None),
        (None, [_]) => 0,
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|slot| slot.name.as_str()).collect();
            return Err(format!("it has no task of that name, but {}", names.join(", ")));
        }
    };
    let slot = &model.tasks[teacher];
    let kind = |slot: &TaskSlot| slot.config.kind(&slot.name).unwrap_or_default();
    if kind(slot) != kind(own) {
        return Err(format!("it is of the kind {}, the student of the kind {}", kind(slot), kind(own)));
    }
    let remedy = match plan.for_all {
        true => "; name teachers for the other tasks in `distill.teachers`",
        false => "; leave out its teacher",
    };
    let no_answers = |reason: String| format!("{} has no answers to learn from: {reason}{remedy}", kind(own));
    let (wanted, given) = (own.head.learnable_outputs(), slot.head.soft_outputs());
    let (wanted, given) = (wanted.map_err(no_answers)?, given.map_err(no_answers)?);
    let order = wanted.places_in(&given).map_err(|told| format!("the labels differ: {told}"))?;
    if wanted.by_token {
        check_tokens(model, student, slot, own)?;
    }
    check_corpus(model, own)?;
    Ok(Some(Lesson { student: index, teacher, order, by_token: wanted.by_token, by_trunk: false }))
}

/// How a teacher's trunk answers for a task of the student that learns states: as the teacher's first task reads it, where all read the same.
fn lesson_of_trunk(model: &Model, student: &Model, index: usize) -> Result<Lesson, String> {
    let own = &student.tasks[index];
    let sharing = model.trunk.sharing();
    let are_shared = matches!(sharing.lanes(), LanePolicy::Shared) && !sharing.reads_out();
    if model.tasks.len() > 1 && !are_shared {
        return Err(format!(
            "with [sharing.{}] each of its {} tasks has states of its own; take a teacher of one task, or one whose tasks share all states",
            sharing.config().name(),
            model.tasks.len()
        ));
    }
    let wanted = own.head.learnable_outputs()?;
    let order = wanted.places_in(&SoftOutputs::states(model.trunk.hidden()));
    let order = order.map_err(|told| format!("another teacher than the head was made for: {told}"))?;
    let difference = different_tokens(model, student);
    if let Some(difference) = difference {
        return Err(format!("its answers are about tokens, and it has {difference}; {SAME}"));
    }
    check_corpus(model, own)?;
    Ok(Lesson { student: index, teacher: 0, order, by_token: false, by_trunk: true })
}

/// The width of the states of a task's teacher.
///
/// # Errors
/// A task without a teacher, or one that cannot be opened.
pub fn hidden_of_teacher(
    distill: Option<&DistillConfig>,
    task: &str,
    device: &Device,
) -> Result<usize, Failure> {
    let plan = distill.and_then(|distill| plans(distill, &[task]).pop()).ok_or_else(|| {
        let told = format!(
            "task.{task}: it learns the states of a teacher, and has none; name one in [distill], and train with `polytask distill`"
        );
        Failure::refused([told])
    })?;
    Ok(open_model(&plan.folder, device)?.trunk.hidden())
}

/// Refuses a teacher with a vector for each corpus, and none for that of the task.
fn check_corpus(model: &Model, own: &TaskSlot) -> Result<(), String> {
    let corpus = &own.config.corpus;
    if model.datasets.is_empty() || model.datasets.contains(corpus) {
        return Ok(());
    }
    let known = model.datasets.join(", ");
    Err(format!("it has an embedding for each of the corpora {known}, and none for `{corpus}`"))
}

/// What to do about a teacher of other tokens.
const SAME: &str = "teacher and student need the same";

/// Why a teacher reads other tokens of a text than the student, in words.
fn different_tokens(model: &Model, student: &Model) -> Option<String> {
    if model.tokenizer.to_json() != student.tokenizer.to_json() {
        Some("another tokenizer".to_owned())
    } else if model.max_length != student.max_length {
        Some(format!("data.max_length = {} and not {}", model.max_length, student.max_length))
    } else {
        None
    }
}

/// Refuses a teacher that reads other tokens than the student, of a kind whose answers are about tokens.
fn check_tokens(model: &Model, student: &Model, slot: &TaskSlot, own: &TaskSlot) -> Result<(), String> {
    let difference = if let Some(difference) = different_tokens(model, student) {
        difference
    } else if slot.kind.input() != own.kind.input() {
        format!("{} and not {}", slot.kind.input(), own.kind.input())
    } else if slot.kind.target_fields() != own.kind.target_fields() {
        let [theirs, ours] = [slot, own].map(|slot| slot.kind.target_fields().join(", "));
        format!("its labels in {theirs} and not in {ours}")
    } else {
        return Ok(());
    };
    Err(format!("its answers are about tokens, and it has {difference}; {SAME}"))
}

/// The folder of a teacher as people name it: from the current folder on, where it lies there.
pub fn shown(folder: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    folder.strip_prefix(&here).unwrap_or(folder).display().to_string()
}

/// What a teacher is known by: the hash of its files, else the bytes of its polytask.json.
///
/// # Errors
/// A folder without a trained model.
pub fn identity(folder: &Path) -> Result<String, Failure> {
    let inside = folder.join("model");
    let path = if inside.is_dir() { inside } else { folder.to_path_buf() }.join("polytask.json");
    let bytes = files::read(&path).map_err(|e| {
        Failure::refused([format!(
            "distill: {} has no trained model: {}: {e}",
            folder.display(),
            path.display()
        )])
    })?;
    let json: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&bytes).unwrap_or_default();
    let own = json.get("blake3").and_then(serde_json::Value::as_str).map(str::to_owned);
    Ok(own.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned()))
}
