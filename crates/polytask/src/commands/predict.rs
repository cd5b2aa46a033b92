//! `polytask predict`: every task's answer for each line of standard input, from one pass.

use crate::cli;
use crate::failure::{Failure, SOME_LINES};
use data::{Input, InputField, View, split_words};
use serde_json::{Map, Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::sync::Arc;
use tasks::{Prediction, Source};
use train::Model;

/// Lines that are read, answered and written together.
const CHUNK: usize = 256;
/// Tokens that go through the trunk at once.
const TOKENS: usize = 4096;

/// Answers standard input on standard output; exit code 3 if some lines could not be answered.
pub fn predict(args: &cli::Predict) -> Result<u8, Failure> {
    let device = super::open_device(args.device)?;
    let broken = super::with_threads(args.threads, || {
        let model = super::open_model(&args.run, &device)?;
        answer_lines(&model, &args.input, BufReader::new(io::stdin()), io::stdout().lock())
    })?;
    if broken > 0 {
        eprintln!("warning: {broken} line(s) could not be answered; their objects have \"error\"");
    }
    Ok(if broken > 0 { SOME_LINES } else { 0 })
}

/// Answers every line of `from`, in order; gives the number of lines that could not be answered.
pub fn answer_lines(
    model: &Model,
    input: &str,
    mut from: impl BufRead,
    mut to: impl Write,
) -> Result<usize, Failure> {
    let read = |e: io::Error| Failure::failed(format!("reading standard input: {e}"));
    let (mut number, mut broken, mut json) = (0, 0, (input != "auto").then_some(input == "json"));
    loop {
        let mut questions = Vec::new();
        let mut line = Vec::new();
        while questions.len() < CHUNK && from.read_until(b'\n', &mut line).map_err(read)? > 0 {
            number += 1;
            if *json.get_or_insert_with(|| line.trim_ascii_start().starts_with(b"{")) {
                questions.push((number, from_json(model, &line)));
            } else {
                questions.push((number, from_text(&line)));
            }
            line.clear();
        }
        if questions.is_empty() {
            return Ok(broken);
        }
        broken += questions.iter().filter(|(_, question)| question.is_err()).count();
        for answer in answer(model, &questions)? {
            match writeln!(to, "{answer}").and_then(|()| to.flush()) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(broken),
                other => other.map_err(|e| Failure::failed(format!("writing the answers: {e}")))?,
            }
        }
    }
}

/// What is asked about.
enum Question {
    /// Plain text, and the byte ranges of its words.
    Text(String, Vec<Range<usize>>),
    /// Words as they were given.
    Words(Vec<String>),
}

impl Question {
    fn text(&self) -> String {
        match self {
            Question::Text(text, _) => text.clone(),
            Question::Words(words) => words.join(" "),
        }
    }

    fn words(&self) -> Vec<String> {
        match self {
            Question::Text(text, words) => words.iter().map(|w| text[w.clone()].to_string()).collect(),
            Question::Words(words) => words.clone(),
        }
    }

    fn source(&self) -> Source<'_> {
        match self {
            Question::Text(text, words) => Source::Text { text, words },
            Question::Words(words) => Source::Words(words),
        }
    }
}

fn from_text(line: &[u8]) -> Result<Question, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))?;
    of_text(text.trim_end_matches(['\n', '\r']))
}

fn of_text(text: &str) -> Result<Question, String> {
    let words = split_words(text);
    if words.is_empty() { Err("the text is empty".into()) } else { Ok(Question::Text(text.into(), words)) }
}

/// An object with `text` or `tokens`, or with a field that the model was trained on.
fn from_json(model: &Model, line: &[u8]) -> Result<Question, String> {
    let value: Value = serde_json::from_slice(line).map_err(|e| format!("not a JSON object: {e}"))?;
    let Value::Object(fields) = value else { return Err("not a JSON object".into()) };
    let trained: Vec<InputField> = model.tasks.iter().map(|t| t.kind.input()).collect();
    let names = trained.iter().map(InputField::field).chain(["tokens", "text"]);
    let Some((name, value)) = names.filter_map(|name| fields.get_key_value(name)).find(|(_, v)| !v.is_null())
    else {
        let found: Vec<&str> = fields.keys().map(String::as_str).collect();
        return Err(format!("no field `text` or `tokens`; found {}", found.join(", ")));
    };
    match value {
        Value::String(text) => of_text(text),
        Value::Array(items) => {
            let words: Option<Vec<String>> = items.iter().map(|w| w.as_str().map(str::to_string)).collect();
            match words {
                Some(words) if !words.is_empty() => Ok(Question::Words(words)),
                _ => Err(format!("`{name}` is not a list of words")),
            }
        }
        _ => Err(format!("`{name}` is neither a text nor a list of words")),
    }
}

/// One object a line: the text and every task's answer, or what is wrong with the line.
fn answer(model: &Model, questions: &[(usize, Result<Question, String>)]) -> Result<Vec<Value>, Failure> {
    let good: Vec<&Question> = questions.iter().filter_map(|(_, q)| q.as_ref().ok()).collect();
    let predicted = run(model, &good)?;
    let mut next = 0;
    let answers = questions.iter().map(|(line, question)| match question {
        Err(error) => json!({ "line": line, "error": error }),
        Ok(question) => {
            let row = next;
            next += 1;
            let mut tasks = Map::new();
            for (slot, predictions) in model.tasks.iter().zip(&predicted.by_task) {
                tasks.insert(slot.name.clone(), slot.kind.explain(&predictions[row], question.source()));
            }
            let mut answer = json!({ "line": line, "text": question.text(), "tasks": tasks });
            if predicted.cut[row] > 0 {
                answer["truncated_tokens"] = predicted.cut[row].into();
            }
            answer
        }
    });
    Ok(answers.collect())
}

/// Predictions of every task in the order of the model's, and what truncation took of each row.
struct Predicted {
    by_task: Vec<Vec<Prediction>>,
    cut: Vec<u32>,
}

/// One pass serves all tasks, unless the vocabulary reads a text otherwise than its words one by one; then the
/// tasks on texts get a pass of their own, so that every task sees what it was trained on.
fn run(model: &Model, questions: &[&Question]) -> Result<Predicted, Failure> {
    let (texts, words): (Vec<String>, Vec<Vec<String>>) =
        questions.iter().map(|q| (q.text(), q.words())).unzip();
    let reads_words: Vec<bool> =
        model.tasks.iter().map(|t| matches!(t.kind.input(), InputField::Words(_))).collect();
    let of_texts = encode(model, texts.iter().map(|t| Input::Text(t)).collect())?;
    let of_words = encode(model, words.iter().map(|w| Input::Words(w)).collect())?;
    let same =
        of_texts.encoded.ids == of_words.encoded.ids && of_texts.encoded.offsets == of_words.encoded.offsets;
    let any_words = reads_words.contains(&true);
    let cut = if any_words { of_words.encoded.cut.clone() } else { of_texts.encoded.cut.clone() };

    let on_words: Vec<usize> =
        (0..model.tasks.len()).filter(|i| reads_words[*i] || (same && any_words)).collect();
    let on_texts: Vec<usize> = (0..model.tasks.len()).filter(|i| !on_words.contains(i)).collect();
    let mut by_task: Vec<Vec<Prediction>> = model.tasks.iter().map(|_| Vec::new()).collect();
    for (tasks, view) in [(on_words, of_words), (on_texts, of_texts)] {
        if !tasks.is_empty() {
            for (task, predictions) in tasks.iter().zip(train::predict(model, &tasks, &view, TOKENS)) {
                by_task[*task] = predictions;
            }
        }
    }
    Ok(Predicted { by_task, cut })
}

fn encode(model: &Model, inputs: Vec<Input<'_>>) -> Result<View, Failure> {
    let encoded = model.tokenizer.encode(&inputs, model.max_length).map_err(Failure::failed)?;
    let input = InputField::Text("text".into());
    Ok(View { corpus: "standard input".into(), input, rows: Arc::default(), encoded })
}
