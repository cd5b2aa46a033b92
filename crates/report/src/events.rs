//! TensorBoard event files: scalars by tag and step.

use crate::message::{Event, SessionLog, Summary, SummaryValue, What};
use crate::record::frame;
use prost::Message;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How many files of one name and second there may be before something else must be wrong.
const MOST_FILES: usize = 1000;
/// `SessionLog.START`.
const START: i32 = 1;

/// An event file that is being written. TensorBoard shows all event files of a folder as one run.
///
/// Events are buffered; [`flush`](EventFile::flush) hands them to the operating system. Dropping the file flushes as well,
/// but cannot report an error. What a crash cuts off is at most the tail: readers stop at the last whole record. Every
/// error is one of writing, and its message names the file.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventFile {
    /// Creates `events.out.tfevents.SECONDS.NAME` in the folder `dir`, which must exist. `wall_time` is in seconds since
    /// 1970; `name` tells writers apart (a host's name, say; characters that file names do not take become `-`). A file of
    /// that name is never overwritten: the new one then ends in `.1`, `.2` and so on.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(dir: &Path, wall_time: f64, name: &str) -> io::Result<EventFile> {
        let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let name: String = name.chars().map(plain).collect();
        let (path, file) = create_new(dir, &format!("events.out.tfevents.{:010}.{name}", wall_time as u64))?;
        let mut events = EventFile { path, file: BufWriter::new(file) };
        events.write(wall_time, 0, What::FileVersion("brain.Event:2".to_owned()))?;
        events.flush()?;
        Ok(events)
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one value: `tag` names the curve (`loss/intent`; slashes group curves), `wall_time` is in seconds since 1970.
    /// NaN and infinities are kept.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: i64, wall_time: f64, value: f32) -> io::Result<()> {
        let value = SummaryValue { tag: tag.to_owned(), simple_value: Some(value) };
        self.write(wall_time, step, What::Summary(Summary { value: vec![value] }))
    }

    /// Says that training starts again at `step`: values that an interrupted run wrote for it and later steps, in this file
    /// or an earlier one of the folder, no longer count.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn resumed(&mut self, step: i64, wall_time: f64) -> io::Result<()> {
        self.write(wall_time, step, What::SessionLog(SessionLog { status: START }))
    }

    /// Hands everything so far to the operating system, where TensorBoard sees it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|source| io_error("write", &self.path, &source))
    }

    fn write(&mut self, wall_time: f64, step: i64, what: What) -> io::Result<()> {
        let event = Event { wall_time, step, what: Some(what) };
        self.file
            .write_all(&frame(&event.encode_to_vec()))
            .map_err(|source| io_error("write", &self.path, &source))
    }
}

/// A file of that name in `dir`, or of the first free one after it.
fn create_new(dir: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let mut path = dir.join(name);
    let mut taken = 0;
    loop {
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && taken < MOST_FILES => {
                taken += 1;
                path = dir.join(format!("{name}.{taken}"));
            }
            Err(source) => return Err(io_error("create", &path, &source)),
        }
    }
}

/// The same error, saying what failed and where.
fn io_error(doing: &str, path: &Path, source: &io::Error) -> io::Error {
    io::Error::new(
        source.kind(),
        format!("cannot {doing} the TensorBoard events {}: {source}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::unframe;

    fn read(path: &Path) -> Vec<Event> {
        let records = unframe(&std::fs::read(path).expect("the file is there")).expect("whole records");
        records.iter().map(|record| Event::decode(record.as_slice()).expect("an event")).collect()
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut events = EventFile::create(folder.path(), 12.5, "host").expect("created");
        assert_eq!(events.path(), folder.path().join("events.out.tfevents.0000000012.host"));
        events.scalar("loss/意図", 3, 13.25, 0.1).expect("written");
        events.resumed(2, 14.0).expect("written");
        events.flush().expect("flushed");
        let read = read(events.path());
        let version = What::FileVersion("brain.Event:2".to_owned());
        assert_eq!(read[0], Event { wall_time: 12.5, step: 0, what: Some(version) });
        let value = SummaryValue { tag: "loss/意図".to_owned(), simple_value: Some(0.1f32) };
        let summary = What::Summary(Summary { value: vec![value] });
        assert_eq!(read[1], Event { wall_time: 13.25, step: 3, what: Some(summary) });
        assert_eq!(read[2].what, Some(What::SessionLog(SessionLog { status: START })));
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn a_file_is_visible_at_once_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let create = || EventFile::create(folder.path(), 7.0, "a/b c").expect("created");
        let files = [create(), create(), create()];
        let names: Vec<_> = files.iter().map(|f| f.path().file_name().expect("a name").to_owned()).collect();
        let first = "events.out.tfevents.0000000007.a-b-c";
        let expected = [first.to_owned(), format!("{first}.1"), format!("{first}.2")];
        assert_eq!(names, expected.map(std::ffi::OsString::from));
        assert!(files.iter().all(|f| read(f.path()).len() == 1));
    }

    #[test]
    fn errors_say_what_and_where() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        let error = EventFile::create(&missing, f64::NAN, "x").expect_err("no such folder").to_string();
        let path = missing.join("events.out.tfevents.0000000000.x");
        assert!(
            error.starts_with(&format!("cannot create the TensorBoard events {}: ", path.display())),
            "{error}"
        );
    }
}
