//! What the heads of a job learn from: the teachers' answers to the training rows, from the run's directory or computed now.

use super::DistillConfig;
use super::teachers::{Lesson, Teacher, TeacherPlan, identity, plans, shown};
use crate::config::Config;
use crate::failure::Failure;
use crate::job::token_cache::TokenCache;
use crate::terminal::figures::{bytes, counted, duration};
use crate::terminal::output;
use burn::tensor::Device;
use data::Split;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tasks::{SoftTargets, TeacherAnswers};
use train::{AnswersKey, Job, RunDir, read_teacher_answers, teacher_answers, write_teacher_answers};

/// The teachers of a job's tasks.
fn plans_of(distill: &DistillConfig, job: &Job) -> Vec<TeacherPlan> {
    let names: Vec<&str> = job.model.tasks.iter().map(|slot| slot.name.as_str()).collect();
    plans(distill, &names)
}

fn targets(distill: &DistillConfig, answers: TeacherAnswers) -> SoftTargets {
    SoftTargets { answers, temperature: distill.temperature as f32, weight: distill.teacher_weight() }
}

/// Lets every task with a teacher count the rows that this will answer, which are those with a token, so that a run can be planned.
pub fn expect(config: &Config, job: &mut Job) {
    if let Some(distill) = &config.distill {
        expect_for(distill, job, |_| true);
    }
}

/// As [`expect`], for some tasks.
fn expect_for(distill: &DistillConfig, job: &mut Job, tasks: impl Fn(&str) -> bool) {
    let taught: Vec<String> = plans_of(distill, job).into_iter().flat_map(|plan| plan.tasks).collect();
    let views = &job.views.train;
    for slot in job.model.tasks.iter_mut().filter(|slot| taught.contains(&slot.name) && tasks(&slot.name)) {
        let (Some(view), Ok(outputs)) = (views.get(slot.view), slot.head.learnable_outputs()) else {
            continue;
        };
        let is_answered = |row: usize| {
            view.encoded.length(row) > 0 && (!outputs.needs_label || slot.head.labelled(Split::Train, row))
        };
        let answers = TeacherAnswers::expected((0..view.encoded.rows()).map(is_answered));
        slot.head.learn_from(Some(targets(distill, answers)));
    }
}

/// Opens every teacher, holds it against the tasks, and says so; as [`expect`] for what is taught. Nothing without teachers.
///
/// # Errors
/// Teachers that do not fit, all of them.
pub fn check(config: &Config, job: &mut Job, device: &Device) -> Result<String, Failure> {
    let Some(distill) = &config.distill else { return Ok(String::new()) };
    let (mut told, mut errors, mut taught) = (String::new(), Vec::new(), Vec::new());
    for plan in plans_of(distill, job) {
        match Teacher::open(&plan, &job.model, device) {
            Ok(teacher) => {
                for lesson in &teacher.lessons {
                    let name = &job.model.tasks[lesson.student].name;
                    let size = size_of_states(&teacher, lesson, job);
                    told += &format!("  {name} learns from {}{size}\n", shown(&plan.folder));
                    taught.push(name.clone());
                }
            }
            Err(failure) => errors.extend(failure.messages),
        }
    }
    if !errors.is_empty() {
        return Err(Failure::refused(errors));
    }
    expect_for(distill, job, |task| taught.iter().any(|name| name == task));
    let alone = job.model.tasks.iter().filter(|slot| slot.head.teacher().is_none());
    alone.for_each(|slot| told += &format!("  {} has no teacher and learns from labels alone\n", slot.name));
    Ok(told)
}

/// What a teacher's states take in memory while they are learned, in words; nothing of other answers.
fn size_of_states(teacher: &Teacher, lesson: &Lesson, job: &Job) -> String {
    let view = job.views.train.get(job.model.tasks[lesson.student].view).filter(|_| lesson.by_trunk);
    view.map_or_else(String::new, |view| {
        let numbers = view.encoded.ids.len() * teacher.model.trunk.hidden();
        format!(": the states of {}, {}", counted(view.encoded.ids.len(), "token"), bytes(4 * numbers))
    })
}

/// Gives the heads their teachers' answers to the training rows. Those that are not in the run's directory are computed and kept there,
/// if there is one; teachers are opened one after the other. False when `stop` was set before the end.
///
/// # Errors
/// Teachers that do not fit, or files that cannot be written.
pub fn learn(
    config: &Config,
    job: &mut Job,
    run: Option<&RunDir>,
    device: &Device,
    (say, stop): (bool, &AtomicBool),
) -> Result<bool, Failure> {
    let Some(distill) = &config.distill else { return Ok(true) };
    let say = |told: String| {
        if say {
            output::line(format_args!("  {told}"));
        }
    };
    job.model.tasks.iter_mut().for_each(|slot| slot.head.learn_from(None));
    for plan in plans_of(distill, job) {
        let folder = shown(&plan.folder);
        let key = |job: &Job, student: usize| -> Result<AnswersKey, Failure> {
            let slot = &job.model.tasks[student];
            let outputs = slot.head.learnable_outputs().map_err(|reason| {
                Failure::refused([format!(
                    "distill: task `{}` cannot learn from a teacher: {reason}",
                    slot.name
                )])
            })?;
            let view = &job.views.train[slot.view];
            Ok(AnswersKey::of(&[&identity(&plan.folder)?, &slot.name], view, &outputs.columns))
        };
        let mut missing = Vec::new();
        for task in &plan.tasks {
            let Some(student) = job.model.tasks.iter().position(|slot| slot.name == *task) else { continue };
            let kept = match job.model.tasks[student].head.learnable_outputs() {
                Ok(_) => {
                    let key = key(job, student)?;
                    run.and_then(|run| read_teacher_answers(&run.teacher_answers(task), key))
                }
                Err(_) => None,
            };
            match kept {
                Some(answers) => {
                    let rows = counted(answers.answered(), "row");
                    say(format!(
                        "{task} learns from {folder}: its answers to {rows} are in the run's directory"
                    ));
                    job.model.tasks[student].head.learn_from(Some(targets(distill, answers)));
                }
                None => missing.push(task.clone()),
            }
        }
        if missing.is_empty() {
            continue;
        }
        let mut teacher = Teacher::open(&plan, &job.model, device)?;
        let cache = TokenCache::of(config.data.cache.as_deref());
        let is_missing = |lesson: &&Lesson| missing.contains(&job.model.tasks[lesson.student].name);
        let lessons: Vec<Lesson> = teacher.lessons.iter().filter(is_missing).cloned().collect();
        for lesson in &lessons {
            let began = Instant::now();
            let name = job.model.tasks[lesson.student].name.clone();
            let rows = &job.views.train[job.model.tasks[lesson.student].view];
            let view = teacher.view(lesson, rows, &cache)?;
            if lesson.by_token {
                let head = &mut teacher.model.tasks[lesson.teacher].head;
                head.encode_targets(Split::Train, &view).map_err(Failure::refused)?;
            }
            let tokens = config.train.evaluation_tokens();
            let found = teacher_answers(&teacher.model, lesson.answering(), &view, tokens, stop);
            let Some(mut answers) = found.map_err(Failure::failed)? else { return Ok(false) };
            let head = &mut job.model.tasks[lesson.student].head;
            (0..answers.rows()).for_each(|row| head.reorder(answers.row_mut(row), &lesson.order));
            if let Some(run) = run {
                write_teacher_answers(&run.teacher_answers(&name), key(job, lesson.student)?, &answers)
                    .map_err(Failure::failed)?;
            }
            let (count, took) = (counted(answers.answered(), "row"), duration(began.elapsed()));
            say(format!("{name} learns from {folder}, which has answered {count} in {took}"));
            job.model.tasks[lesson.student].head.learn_from(Some(targets(distill, answers)));
        }
        let taught: Vec<usize> = teacher.lessons.iter().map(|lesson| lesson.student).collect();
        for (index, slot) in job.model.tasks.iter().enumerate() {
            if plan.for_all && plan.tasks.contains(&slot.name) && !taught.contains(&index) {
                say(format!("{} has no teacher and learns from labels alone", slot.name));
            }
        }
    }
    Ok(true)
}
