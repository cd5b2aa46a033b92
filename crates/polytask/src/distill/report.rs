//! A student beside its teachers: the score of each task, parameters, size on disk, and rows per second on the validation split.

use super::teachers::{Teacher, plans, shown};
use crate::commands::{open_model, train::write as write_file};
use crate::config::Config;
use crate::failure::Failure;
use crate::job::assemble::assemble_saved;
use crate::job::measured::{ModelRow, TaskScore, measure, models_table};
use crate::job::token_cache::TokenCache;
use crate::terminal::figures::{change, count, points};
use crate::terminal::{output, table::Table};
use burn::tensor::Device;
use data::{InputField, Split, View};
use serde::Serialize;
use std::path::PathBuf;
use train::{Job, RunDir};

/// `distill.json` of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Distilled {
    /// Of each task that has a teacher and validation rows.
    pub tasks: Vec<TaskRow>,
    /// The teachers, each once.
    pub teachers: Vec<ModelRow>,
    /// The student.
    pub student: ModelRow,
}

/// A task by teacher and student.
#[derive(Debug, Clone, Serialize)]
pub struct TaskRow {
    /// The task.
    pub task: String,
    /// The folder of its teacher.
    pub teacher: PathBuf,
    /// Its primary metric.
    pub metric: String,
    /// Labelled validation rows.
    pub rows: usize,
    /// The teacher's score on them; `None` where its labels are not there.
    pub of_teacher: Option<f64>,
    /// The student's.
    pub of_student: f64,
}

/// Scores teachers and student, prints both tables (`say`) and writes `distill.json`. Nothing without teachers.
///
/// # Errors
/// A teacher that cannot be opened any more, or a file that cannot be written.
pub fn write(config: &Config, job: &Job, run: &RunDir, device: &Device, say: bool) -> Result<(), Failure> {
    let Some(distill) = &config.distill else { return Ok(()) };
    let names: Vec<&str> = job.model.tasks.iter().map(|slot| slot.name.as_str()).collect();
    let is_taught = |task: &str| job.model.tasks.iter().any(|s| s.name == task && s.head.teacher().is_some());
    let tokens = config.train.evaluation_tokens();
    // What was written may be smaller than what was trained: what pruning set to zero is cut out.
    let saved = assemble_saved(config, open_model(run.root(), device)?, &[Split::Validation])?.job;
    let views = saved.views.of(Split::Validation);
    let (student_scores, student) = measure(&saved.model, is_taught, views, tokens, &run.model());
    let mut found = Distilled { tasks: Vec::new(), teachers: Vec::new(), student };
    for plan in plans(distill, &names) {
        let mut teacher = Teacher::open(&plan, &job.model, device)?;
        // States are not scored.
        teacher.lessons.retain(|lesson| !lesson.by_trunk);
        let views = teacher_views(config, job, &mut teacher)?;
        let answers: Vec<String> =
            teacher.lessons.iter().map(|lesson| teacher.model.tasks[lesson.teacher].name.clone()).collect();
        let wanted = |task: &str| answers.iter().any(|name| name == task);
        let (scores, row) = measure(&teacher.model, wanted, &views, tokens, &plan.folder);
        for (lesson, name) in teacher.lessons.iter().zip(&answers) {
            let task = &job.model.tasks[lesson.student].name;
            let Some(TaskScore { metric, rows, values }) = student_scores.get(task) else { continue };
            found.tasks.push(TaskRow {
                task: task.clone(),
                teacher: plan.folder.clone(),
                metric: metric.clone(),
                rows: *rows,
                of_teacher: scores.get(name).and_then(|score| score.values.get(metric)).copied(),
                of_student: values.get(metric).copied().unwrap_or(0.0),
            });
        }
        found.teachers.push(row);
    }
    found.tasks.sort_by_key(|row| names.iter().position(|name| *name == row.task));
    let text = serde_json::to_vec_pretty(&found).map_err(Failure::failed)?;
    write_file(&run.root().join("distill.json"), &text)?;
    if say {
        output::text(format!("\n{}\n{}", tasks_table(&found), sizes_table(&found)));
    }
    Ok(())
}

/// The validation rows as a teacher reads them, its targets encoded; tasks that teach nothing read none of them.
fn teacher_views(config: &Config, job: &Job, teacher: &mut Teacher) -> Result<Vec<View>, Failure> {
    let cache = TokenCache::of(config.data.cache.as_deref());
    let (mut views, mut known): (Vec<View>, Vec<(usize, InputField)>) = (Vec::new(), Vec::new());
    teacher.model.tasks.iter_mut().for_each(|slot| slot.view = usize::MAX);
    for lesson in teacher.lessons.clone() {
        let of_student = job.model.tasks[lesson.student].view;
        let Some(rows) = job.views.of(Split::Validation).get(of_student) else { continue };
        let key = (of_student, teacher.model.tasks[lesson.teacher].kind.input());
        let index = match known.iter().position(|other| *other == key) {
            Some(index) => index,
            None => {
                views.push(teacher.view(&lesson, rows, &cache)?);
                known.push(key);
                views.len() - 1
            }
        };
        let slot = &mut teacher.model.tasks[lesson.teacher];
        // Labels that the teacher reads under another name are missing, and so is its score.
        if slot.head.encode_targets(Split::Validation, &views[index]).is_ok() {
            slot.view = index;
        }
    }
    Ok(views)
}

fn tasks_table(found: &Distilled) -> String {
    let mut table =
        Table::new(&["task", "teacher", "metric", "rows", "of the teacher", "of the student", "change"]);
    for row in &found.tasks {
        table.row([
            row.task.clone(),
            shown(&row.teacher),
            row.metric.clone(),
            count(row.rows),
            row.of_teacher.map_or("-".into(), points),
            points(row.of_student),
            row.of_teacher.map_or("-".into(), |teacher| change(row.of_student - teacher)),
        ]);
    }
    match found.tasks.is_empty() {
        true => "  no task with a teacher has validation rows: nothing was scored\n".into(),
        false => format!("  validation split, scores in points of a hundred\n\n{}", table.render()),
    }
}

fn sizes_table(found: &Distilled) -> String {
    let together = ModelRow::sum(&found.teachers);
    let mut models: Vec<(String, &ModelRow)> =
        found.teachers.iter().map(|teacher| (shown(&teacher.folder), teacher)).collect();
    if models.len() > 1 {
        models.push(("teachers together".into(), &together));
    }
    models.push(("student".into(), &found.student));
    let size = |of: fn(&ModelRow) -> f64| of(&found.student) / of(&together).max(1e-9);
    let time = match found.student.rows.min(together.rows) {
        0 => String::new(),
        // All teachers have to read a row that shall be answered for all tasks.
        _ => {
            let theirs: f64 = found.teachers.iter().map(ModelRow::seconds_per_pass).sum();
            format!(
                ", {:.2} of their time to answer a row for all tasks",
                found.student.seconds_per_pass() / theirs.max(1e-9)
            )
        }
    };
    let parts = format!(
        "  the student has {:.2} of the parameters of its teachers, {:.2} of their size on disk{time}\n",
        size(|m| m.parameters as f64),
        size(|m| m.bytes as f64)
    );
    format!("{}{parts}", models_table(models))
}
