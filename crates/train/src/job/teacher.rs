//! A teacher's answers to the training rows of a task: computed once, kept in a file, learned from by the task's head.
//!
//! The file begins with a key of 32 bytes that says what it was made of; then come the number of rows, where the answer of each row ends,
//! and the answers, as little-endian u64 and f32, and the blake3 hash of all before. A file that is damaged is made anew.

use crate::{
    checkpoint::fingerprint, error::TrainError, forward::evaluate::packs, forward::evaluate::sort_by_length,
    forward::task_input::TaskInput, forward::trunk::Pass, forward::trunk::PassInput,
    forward::trunk::WorkPack, job::Model,
};
use data::{RowRef, Split, View};
use std::{
    io::Write,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};
use tasks::{Batch, BatchRow, TaskHead, TeacherAnswers, TeacherWeight};

/// What answers depend on: the teacher, the rows, and the order of the student's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswersKey([u8; 32]);

impl AnswersKey {
    /// Of a teacher, known by what `teacher` says (its hashes, its task), for the rows of a student's view, whose outputs are `columns`.
    pub fn of(teacher: &[&str], view: &View, columns: &[String]) -> AnswersKey {
        let mut hasher = blake3::Hasher::new_derive_key("polytask 2026 answers of a teacher, version 1");
        let rows = fingerprint::rows(view);
        let texts = teacher.iter().copied().chain([rows.as_str()]).chain(columns.iter().map(String::as_str));
        for text in texts {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        AnswersKey(*hasher.finalize().as_bytes())
    }
}

/// What of a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// The head of the task of this index.
    Head(usize),
    /// The trunk, as the task of this index reads it: for each row the states of its tokens, `[tokens, hidden]`.
    Trunk(usize),
}

/// A model's answers to every row of a view, which is of the task's input and the model's tokenizer; none for rows without a
/// token. Packs have at most `tokens` tokens. `None` when `stop` is set before the end.
///
/// # Errors
/// Answers that are not finite: the weights of the teacher have overflowed.
pub fn teacher_answers(
    model: &Model,
    answering: Answering,
    view: &View,
    tokens: usize,
    stop: &AtomicBool,
) -> Result<Option<TeacherAnswers>, TrainError> {
    let (Answering::Head(task) | Answering::Trunk(task)) = answering;
    let parameters = model.parameters.inference();
    let views = std::slice::from_ref(view);
    let has_token = |row: &u32| view.encoded.length(*row as usize) > 0;
    let mut rows: Vec<RowRef> =
        (0..view.encoded.rows() as u32).filter(has_token).map(|row| RowRef { view: 0, row }).collect();
    sort_by_length(&mut rows, views);
    let mut answers: Vec<Vec<f32>> = vec![Vec::new(); view.encoded.rows()];
    let slot = &model.tasks[task];
    for pack in packs(&rows, views, tokens) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let own: Vec<BatchRow> =
            (0..).zip(&pack.rows).map(|(pack_row, row)| BatchRow { pack_row, row: row.row }).collect();
        let of_task = |index| if index == task { own.clone() } else { Vec::new() };
        let work = WorkPack::new(model, &pack, (0..model.tasks.len()).map(of_task).collect());
        let input = PassInput::evaluation(model, &parameters, &work);
        let rows = &work.rows[task];
        let found = match answering {
            Answering::Head(_) => {
                let (Pass { states, pack }, _) = input.run();
                let input = TaskInput::new(model, &parameters, slot, (&states, &pack), rows);
                slot.head.teacher_answers(&parameters, &input.evaluated(Split::Train))
            }
            Answering::Trunk(_) => {
                let states = input.run_all_tokens();
                let input = TaskInput::new(model, &parameters, slot, (&states, &work.pack), rows);
                states_of_rows(&input.evaluated(Split::Train))
            }
        };
        for (at, answer) in rows.iter().zip(found) {
            if answer.iter().any(|number| !number.is_finite()) {
                return Err(TrainError::NonFiniteTeacher { task: slot.name.clone() });
            }
            answers[at.row as usize] = answer;
        }
    }
    Ok(Some(TeacherAnswers::of_rows(answers)))
}

/// For each row of a batch the states of its tokens, row after row.
fn states_of_rows(batch: &Batch<'_>) -> Vec<Vec<f32>> {
    let width = batch.states.dims()[1];
    let states: Vec<f32> = batch.states.clone().into_data().try_into_vec().expect("states are f32");
    let of_row = |at: &BatchRow| {
        let row = at.pack_row as usize;
        states[batch.pack.offsets[row] * width..batch.pack.offsets[row + 1] * width].to_vec()
    };
    batch.rows.iter().map(of_row).collect()
}

/// Answers from a file that [`write_teacher_answers`] made with this key; `None` where there is none, or it is not whole.
pub fn read_teacher_answers(path: &Path, key: AnswersKey) -> Option<TeacherAnswers> {
    let bytes = files::read(path).ok()?;
    let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(blake3::OUT_LEN)?)?;
    let (found, content) = content.split_first_chunk::<32>()?;
    if *found != key.0 || blake3::hash(&bytes[..32 + content.len()]).as_bytes() != hash {
        return None;
    }
    let (rows, content) = content.split_first_chunk::<8>()?;
    let rows = usize::try_from(u64::from_le_bytes(*rows)).ok()?;
    let (ends, values) = content.split_at_checked(rows.checked_mul(8)?)?;
    let ends = ends.as_chunks::<8>().0.iter().map(|end| u64::from_le_bytes(*end));
    let values = values.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    TeacherAnswers::from_parts(std::iter::once(0).chain(ends).collect(), values)
}

/// Keeps answers in a file, whose folder is made.
///
/// # Errors
/// Those of the file system.
pub fn write_teacher_answers(
    path: &Path,
    key: AnswersKey,
    answers: &TeacherAnswers,
) -> Result<(), TrainError> {
    crate::checkpoint::durable::make_dir(files::folder(path))?;
    let written = files::replace(path, |file| {
        let mut out = std::io::BufWriter::new(file);
        let mut hasher = blake3::Hasher::new();
        let mut write = |bytes: &[u8]| {
            hasher.update(bytes);
            out.write_all(bytes)
        };
        let (offsets, values) = answers.parts();
        write(&key.0)?;
        write(&(answers.rows() as u64).to_le_bytes())?;
        offsets[1..].iter().try_for_each(|end| write(&end.to_le_bytes()))?;
        values.iter().try_for_each(|value| write(&value.to_le_bytes()))?;
        out.write_all(hasher.finalize().as_bytes())?;
        out.flush()
    });
    written.map_err(|e| TrainError::io("writing", path, e))
}

/// What a head learns from a teacher, for a fingerprint; `None` where it has none.
pub(crate) fn fingerprint_of(head: &dyn TaskHead) -> Option<serde_json::Value> {
    let teacher = head.teacher()?;
    let mut hasher = blake3::Hasher::new();
    let (offsets, values) = teacher.answers.parts();
    offsets.iter().for_each(|end| {
        hasher.update(&end.to_le_bytes());
    });
    values.iter().for_each(|value| {
        hasher.update(&value.to_le_bytes());
    });
    let weight = match teacher.weight {
        TeacherWeight::Constant(weight) => serde_json::json!(weight),
        TeacherWeight::Annealed => serde_json::json!("annealed"),
    };
    Some(serde_json::json!({
        "answers": hasher.finalize().to_hex().to_string(), "temperature": teacher.temperature, "weight": weight,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("teachers/a task.answers");
        let mut answers = TeacherAnswers::default();
        [&[1.5, -0.25][..], &[], &[f32::MAX]].iter().for_each(|answer| answers.push(answer));
        let (key, other) = (AnswersKey([7; 32]), AnswersKey([8; 32]));
        assert_eq!(read_teacher_answers(&path, key), None);
        write_teacher_answers(&path, key, &answers).unwrap();
        assert_eq!(read_teacher_answers(&path, key), Some(answers));
        assert_eq!(read_teacher_answers(&path, other), None);
        let whole = std::fs::read(&path).unwrap();
        for broken in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[broken] ^= 4;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read_teacher_answers(&path, key), None, "byte {broken}");
            std::fs::write(&path, &whole[..broken]).unwrap();
            assert_eq!(read_teacher_answers(&path, key), None, "cut at {broken}");
        }
    }
}
