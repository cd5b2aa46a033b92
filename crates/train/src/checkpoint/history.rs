//! `metrics.jsonl` when a run goes on: what happened after its checkpoint is cut away, so that no step is there
//! twice.

use crate::error::TrainError;
use serde::Deserialize;
use std::{fs::OpenOptions, path::Path};

/// Where a run goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumption {
    /// Steps done in its checkpoint.
    pub step: usize,
    /// Whether the evaluation at that step is still to come.
    pub evaluation_due: bool,
    /// Whether what each task has used was reported after that step.
    pub usage_reported: bool,
    /// Phases begun.
    pub phases_begun: usize,
    /// Whether the run is lengthened at that step.
    pub lengthened: bool,
}

/// What of an event decides whether it stays.
#[derive(Deserialize)]
struct Line {
    event: String,
    step: usize,
    #[serde(default)]
    phase: usize,
    /// Of the end of a run: the step of its result.
    #[serde(default)]
    result: usize,
}

/// What `metrics.jsonl` says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// Its last step.
    pub(crate) steps: usize,
    /// Whether a checkpoint was saved.
    pub(crate) saved: bool,
    /// The last step of the run, and the step of its result, where nothing comes after its end.
    pub(crate) finished: Option<(usize, usize)>,
}

/// Reads what `metrics.jsonl` says. No file says nothing.
pub(crate) fn written(path: &Path) -> Result<Written, TrainError> {
    let mut written = Written::default();
    for line in read(path)?.split(|b| *b == b'\n').filter_map(parse) {
        written.steps = written.steps.max(line.step);
        written.saved |= line.event == "saved";
        written.finished = (line.event == "finished").then_some((line.step, line.result));
    }
    Ok(written)
}

/// Cuts `metrics.jsonl` before the first event that the resumed run will bring again: any event of a later step, and at the
/// very step an evaluation that is still due and the like. Returns the numbers (from 1) of the lines before it that cannot be
/// read, or are of a later step: damaged lines, which stay where they are. The file is shortened in place, so that a writer
/// that has it open in append mode goes on at the new end. No file is no error.
pub fn truncate(path: &Path, from: Resumption) -> Result<Vec<usize>, TrainError> {
    let bytes = read(path)?;
    // A last line without an end is one that a crash left half-written.
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let lines: Vec<&[u8]> = bytes[..whole].split_inclusive(|b| *b == b'\n').collect();
    let events: Vec<Option<Line>> = lines.iter().map(|line| parse(line)).collect();
    let stays = cut(&events, from);
    let keep: usize = lines[..stays].iter().map(|line| line.len()).sum();
    if keep < bytes.len() {
        let cut = || {
            let file = OpenOptions::new().write(true).open(path)?;
            file.set_len(keep as u64)?;
            file.sync_all()
        };
        cut().map_err(|e| TrainError::io("shortening", path, e))?;
    }
    let damaged = |event: &Option<Line>| event.as_ref().is_none_or(|line| line.step > from.step);
    Ok((1..).zip(&events[..stays]).filter(|(_, event)| damaged(event)).map(|(number, _)| number).collect())
}

/// How many lines stay. Steps rise from line to line; but a damaged line may have any step, so that the end is where the fewest
/// lines contradict it: earlier steps behind it, and later steps before it.
fn cut(events: &[Option<Line>], from: Resumption) -> usize {
    let repeated = |line: &Line| line.step == from.step && comes_again(line, from);
    // `Some(true)` for what belongs before the end, `Some(false)` for what belongs behind it.
    let belongs = |event: &Option<Line>| {
        event.as_ref().filter(|line| !repeated(line)).map(|line| line.step <= from.step)
    };
    let mut contradicted = events.iter().filter(|event| belongs(event) == Some(true)).count();
    let (mut fewest, mut end) = (contradicted, 0);
    for (index, event) in events.iter().enumerate() {
        match belongs(event) {
            Some(true) => contradicted -= 1,
            Some(false) => contradicted += 1,
            None => {}
        }
        if contradicted <= fewest {
            (fewest, end) = (contradicted, index + 1);
        }
    }
    let earlier = |event: &Option<Line>| event.as_ref().is_some_and(|line| line.step < from.step);
    let last_earlier = events[..end].iter().rposition(earlier).map_or(0, |last| last + 1);
    let first = events[last_earlier..end].iter().position(|event| event.as_ref().is_some_and(repeated));
    first.map_or(end, |first| last_earlier + first)
}

/// Whether the resumed run brings an event of its very step again.
fn comes_again(line: &Line, from: Resumption) -> bool {
    match line.event.as_str() {
        "evaluated" | "learning_rate_reduced" | "saved" => from.evaluation_due,
        "usage_report" => !from.usage_reported,
        "phase_began" => line.phase > from.phases_begun,
        "lengthened" => from.lengthened,
        "affinity" | "stopped_early" | "finished" => true,
        _ => false,
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

fn read(path: &Path) -> Result<Vec<u8>, TrainError> {
    match files::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|e| TrainError::io("reading", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LINES: &str = r#"{"event":"started","step":0}
{"event":"step","step":1}
{"event":"step","step":2}
{"event":"evaluated","step":2}
{"event":"usage_report","step":2}
{"event":"step","step":3}
{"event":"st"#;

    fn at(step: usize, evaluation_due: bool) -> Resumption {
        Resumption {
            step,
            evaluation_due,
            usage_reported: !evaluation_due,
            phases_begun: 1,
            lengthened: false,
        }
    }

    /// The lines that stay of a text, and those that are damaged.
    fn kept(text: &[u8], from: Resumption) -> (usize, Vec<usize>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let damaged = truncate(file.path(), from).unwrap();
        let left = fs::read(file.path()).unwrap();
        assert!(text.starts_with(&left));
        (left.split_inclusive(|b| *b == b'\n').count(), damaged)
    }

    #[test]
    fn nothing_is_there_twice() {
        let cut = |step, due| kept(LINES.as_bytes(), at(step, due));
        assert_eq!(cut(0, false), (1, vec![]));
        assert_eq!(cut(2, false), (5, vec![]));
        assert_eq!(cut(2, true), (3, vec![]));
        assert_eq!(cut(3, false), (6, vec![]));
        assert_eq!(cut(9, false), (6, vec![]), "a half-written line never stays");
        let phases = "{\"event\":\"phase_began\",\"step\":0,\"phase\":1}\n{\"event\":\"step\",\"step\":1}\n\
                      {\"event\":\"phase_began\",\"step\":1,\"phase\":2}\n";
        let begun =
            |step, phases_begun| kept(phases.as_bytes(), Resumption { phases_begun, ..at(step, false) }).0;
        assert_eq!((begun(0, 0), begun(1, 1), begun(1, 2)), (0, 2, 3));
    }

    /// Whichever one byte of twenty steps is flipped, at most its own line is missing of those before the checkpoint, and at
    /// most its own line is left of those behind it, or two that became one.
    #[test]
    fn one_damaged_line_costs_no_other() {
        let line = |step: usize| format!("{{\"event\":\"step\",\"step\":{step},\"loss\":0.5}}\n");
        let text: String = (1..=20).map(line).collect();
        let before: usize = (1..=14).map(|step| line(step).len()).sum();
        for place in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let (whole, from) = (bytes.clone(), at(14, false));
                let (lines, damaged) = kept(&bytes, from);
                let left: usize = whole.split_inclusive(|b| *b == b'\n').take(lines).map(<[u8]>::len).sum();
                let slack = line(14).len();
                assert!(
                    left + slack >= before && left <= before + 2 * slack,
                    "byte {place}, bit {bit}: {left} of {before}"
                );
                assert!(damaged.len() <= 1, "byte {place}, bit {bit}: {damaged:?}");
                if place + slack < before
                    && parse(whole.split(|b| *b == b'\n').nth(text[..place].matches('\n').count()).unwrap())
                        .is_none()
                {
                    assert_eq!(damaged.len(), 1, "byte {place}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn what_was_written_is_counted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), LINES).unwrap();
        assert_eq!(written(file.path()).unwrap(), Written { steps: 3, saved: false, finished: None });
        fs::write(file.path(), "{\"event\":\"saved\",\"step\":7}\n").unwrap();
        assert_eq!(written(file.path()).unwrap(), Written { steps: 7, saved: true, finished: None });
        let end = "{\"event\":\"step\",\"step\":9}\n{\"event\":\"finished\",\"step\":9,\"result\":7}\n";
        fs::write(file.path(), end).unwrap();
        assert_eq!(written(file.path()).unwrap().finished, Some((9, 7)));
        assert_eq!(written(Path::new("/none/such")).unwrap(), Written::default());
    }

    #[test]
    fn no_file_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(truncate(&dir.path().join("none"), at(3, true)).unwrap().is_empty());
    }
}
