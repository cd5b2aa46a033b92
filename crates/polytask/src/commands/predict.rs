//! `polytask predict`: every task's answer to each row of standard input or of files, from one pass for tasks that read the same; with
//! dataset embeddings from one pass for each corpus.

mod input;
mod passes;
mod question;

use crate::cli;
use crate::failure::{Failure, SOME_LINES};
use crate::terminal::{escape, output};
use data::{CorpusConfig, Row, Value as FieldValue};
pub use input::InputFormat;
use input::{Asked, Source};
use passes::Wanted;
use serde_json::{Map, Value, json};
use std::io::{self, Read, Write};
use train::{Model, ModelManifest};

/// Questions that are read, answered and written together; fewer where a task writes a text for each, which takes its time.
const QUESTIONS: usize = 256;
const QUESTIONS_WITH_TEXTS: usize = 32;

/// Keys of an answer that no echoed field may have.
const RESERVED: [&str; 7] = ["line", "file", "text", "pair", "tasks", "error", "truncated_tokens"];

/// Answers standard input or files on standard output; exit code 3 if some rows could not be answered.
pub fn predict(args: &cli::Predict) -> Result<u8, Failure> {
    let device = super::open_device(args.device)?;
    let corpus = CorpusConfig { delimiter: args.delimiter, ..CorpusConfig::of("") };
    if let Some(field) = args.echo.iter().find(|field| RESERVED.contains(&field.as_str())) {
        let reserved = RESERVED.join(", ");
        return Err(Failure::refused([format!(
            "--echo {field}: an answer has this key itself (of {reserved})"
        )]));
    }
    let (broken, missing) = super::with_threads(args.threads, || {
        let mut refused = None;
        let mut model = super::open_model_changed(&args.run, &device, |manifest| {
            refused = set_decoding(manifest, &args.decoding).err();
        })?;
        if let Some(reason) = refused {
            return Err(Failure::refused([reason]));
        }
        model.pack_for_inference();
        let answering = Answering::of(&model, &args.task, args.all_probabilities, &args.echo)?;
        let (mut broken, mut missing) = (0, 0);
        for (file, mut source) in input::sources(&args.files, io::stdin(), args.format, &corpus)? {
            let file = file.filter(|_| args.files.len() > 1).map(|file| file.display().to_string());
            let counts = answering.answer(&mut source, file.as_deref(), &mut io::stdout().lock())?;
            broken += counts.broken;
            missing += counts.missing;
            if counts.reader_left {
                break;
            }
        }
        Ok((broken, missing))
    })?;
    if missing > 0 {
        output::error(format_args!(
            "warning: {missing} answer(s) of tasks whose fields a row lacks are missing; their objects have \"error\" (--task chooses tasks)"
        ));
    }
    if broken > 0 {
        output::error(format_args!(
            "warning: {broken} line(s) could not be answered; their objects have \"error\""
        ));
    }
    Ok(if broken > 0 { SOME_LINES } else { 0 })
}

/// Changes settings of decoding of all tasks that write.
///
/// Errors: what is no setting, and a model none of whose tasks writes.
fn set_decoding(manifest: &mut ModelManifest, settings: &[String]) -> Result<(), String> {
    for setting in settings {
        let error = |reason: String| format!("--decoding {setting}: {reason}");
        let (key, text) = setting.split_once('=').ok_or_else(|| error("expected KEY=VALUE".into()))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        let mut writes = false;
        for task in &mut manifest.tasks {
            writes |= task.table.config.set_decoding(key, &value).map_err(error)?;
        }
        if !writes {
            return Err(error("no task of the model writes".into()));
        }
    }
    Ok(())
}

/// Answers lines of plain text, in order.
///
/// # Errors
/// Where the answers cannot be written.
pub fn answer_texts(model: &Model, from: impl Read, mut to: impl Write) -> Result<(), Failure> {
    let mut source = Source::of_lines(from, InputFormat::Text, &CorpusConfig::of(""))?;
    Answering::of(model, &[], false, &[])?.answer(&mut source, None, &mut to)?;
    Ok(())
}

/// A model and what is wanted of it.
struct Answering<'a> {
    model: &'a Model,
    wanted: Wanted,
    /// Fields that answers repeat.
    echo: &'a [String],
}

/// What came of answering.
#[derive(Default)]
struct Counts {
    /// Rows without any answer, or with something that a task cannot read.
    broken: usize,
    /// Answers of single tasks that are missing in the other rows.
    missing: usize,
    /// Whether the reader of the answers has left.
    reader_left: bool,
}

impl<'a> Answering<'a> {
    /// All tasks of a model, or those that are named.
    fn of(
        model: &'a Model,
        tasks: &[String],
        all_probabilities: bool,
        echo: &'a [String],
    ) -> Result<Self, Failure> {
        let index = |name: &String| {
            model.tasks.iter().position(|task| task.name == *name).ok_or_else(|| {
                let names: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
                Failure::refused([format!("--task {name}: the model has the tasks {}", names.join(", "))])
            })
        };
        let mut chosen = tasks.iter().map(index).collect::<Result<Vec<usize>, Failure>>()?;
        let is_mute = |task: &usize| model.tasks[*task].config.needs_teacher();
        if chosen.is_empty() {
            chosen = (0..model.tasks.len()).filter(|task| !is_mute(task)).collect();
        }
        if let Some(task) = chosen.iter().copied().find(is_mute).or(chosen.is_empty().then_some(0)) {
            return Err(Failure::refused([format!(
                "task `{}` has learned the states of a teacher, and answers nothing; name another with --task",
                model.tasks[task].name
            )]));
        }
        chosen.sort_unstable();
        chosen.dedup();
        let wanted = Wanted::of(model, chosen, all_probabilities);
        Ok(Answering { model, wanted, echo })
    }

    /// Answers every question of a source, in order.
    fn answer(
        &self,
        source: &mut Source<impl Read>,
        file: Option<&str>,
        to: &mut impl Write,
    ) -> Result<Counts, Failure> {
        let mut counts = Counts::default();
        let most = if self.wanted.writes(self.model) { QUESTIONS_WITH_TEXTS } else { QUESTIONS };
        loop {
            let asked = source.next(most)?;
            if asked.is_empty() {
                return Ok(counts);
            }
            for answer in self.objects(asked, file, &mut counts)? {
                match writeln!(to, "{}", escape::commands(&answer.to_string())) {
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => counts.reader_left = true,
                    other => other.map_err(|e| Failure::failed(format!("writing the answers: {e}")))?,
                }
                if counts.reader_left {
                    return Ok(counts);
                }
            }
            match to.flush() {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Counts { reader_left: true, ..counts });
                }
                other => other.map_err(|e| Failure::failed(format!("writing the answers: {e}")))?,
            }
        }
    }

    /// One object a question: its place and echoed fields, its texts and every task's answer, or what is wrong with it.
    fn objects(
        &self,
        asked: Vec<Asked>,
        file: Option<&str>,
        counts: &mut Counts,
    ) -> Result<Vec<Value>, Failure> {
        let mut places = Vec::with_capacity(asked.len());
        let mut questions = Vec::new();
        for Asked { line, question } in asked {
            places.push((line, question.map(|question| questions.push(question))));
        }
        let predicted = passes::answers(self.model, &self.wanted, &questions)?;
        counts.missing += predicted.absent();
        let mut next = 0;
        let mut object = |(line, question): (usize, Result<(), String>)| {
            let mut object = Map::new();
            object.extend(file.map(|file| ("file".to_owned(), json!(file))));
            object.insert("line".into(), json!(line));
            counts.broken += usize::from(question.is_err());
            let answer = question.and_then(|()| {
                next += 1;
                counts.broken += usize::from(predicted.is_broken(next - 1));
                object.extend(self.echoed(&questions[next - 1].row));
                predicted.object(self.model, next - 1)
            });
            match answer {
                Ok(answer) => object.extend(answer),
                Err(error) => {
                    object.insert("error".into(), json!(error));
                }
            }
            Value::Object(object)
        };
        Ok(places.into_iter().map(&mut object).collect())
    }

    /// The fields of a row that its answer repeats.
    fn echoed(&self, row: &Row) -> Vec<(String, Value)> {
        let echo = |field: &String| (field.clone(), row.get(field).map_or(Value::Null, as_json));
        self.echo.iter().map(echo).collect()
    }
}

/// A value of a row as JSON. An integer beyond 64 bits is its digits as text, since JSON's readers would round it.
fn as_json(value: &FieldValue) -> Value {
    match value {
        FieldValue::Null => Value::Null,
        FieldValue::Bool(value) => json!(value),
        FieldValue::Number(number) if number.fract() == 0.0 && number.abs() < 2f64.powi(53) => {
            json!(*number as i64)
        }
        FieldValue::Number(number) => json!(number),
        FieldValue::Integer(digits) => {
            let number =
                digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from));
            number.unwrap_or_else(|_| json!(digits))
        }
        FieldValue::Text(text) => json!(text),
        FieldValue::List(items) => items.iter().map(as_json).collect(),
        FieldValue::Record(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.to_string(), as_json(value))).collect())
        }
    }
}
