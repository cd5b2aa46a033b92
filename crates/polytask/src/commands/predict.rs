//! `polytask predict`: every task's answer for each line of standard input, from one pass; with dataset embeddings from one pass
//! for each corpus.

mod question;

use crate::cli;
use crate::failure::{Failure, SOME_LINES};
use crate::terminal::output;
use data::{Input, InputField, View};
use question::{Choices, Marked, ModelInputs, Question, SingleText};
use serde_json::{Map, Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;
use tasks::ModelInput;
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
        output::error(format_args!(
            "warning: {broken} line(s) could not be answered; their objects have \"error\""
        ));
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
    let inputs = ModelInputs::of(model);
    let (mut number, mut broken, mut json) = (0, 0, (input != "auto").then_some(input == "json"));
    loop {
        let mut questions = Vec::new();
        let mut line = Vec::new();
        while questions.len() < CHUNK && from.read_until(b'\n', &mut line).map_err(read)? > 0 {
            number += 1;
            if *json.get_or_insert_with(|| line.trim_ascii_start().starts_with(b"{")) {
                questions.push((number, Question::from_json(&inputs, &line)));
            } else {
                questions.push((number, Question::from_text(&inputs, &line)));
            }
            line.clear();
        }
        if questions.is_empty() {
            return Ok(broken);
        }
        broken += questions.iter().filter(|(_, question)| question.is_err()).count();
        for answer in answer(model, &inputs, &questions)? {
            match writeln!(to, "{answer}").and_then(|()| to.flush()) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(broken),
                other => other.map_err(|e| Failure::failed(format!("writing the answers: {e}")))?,
            }
        }
    }
}

/// One object a line: the text and every task's answer, or what is wrong with the line.
fn answer(
    model: &Model,
    inputs: &ModelInputs,
    questions: &[(usize, Result<Question, String>)],
) -> Result<Vec<Value>, Failure> {
    let good: Vec<&Question> = questions.iter().filter_map(|(_, q)| q.as_ref().ok()).collect();
    let predicted = run(model, inputs, &good)?;
    let mut next = 0;
    let answers = questions.iter().map(|(line, question)| match question {
        Err(error) => json!({ "line": line, "error": error }),
        Ok(question) => {
            let row = next;
            next += 1;
            let mut tasks = Map::new();
            for (slot, predictions) in model.tasks.iter().zip(&predicted.by_task) {
                if let Some(answer) = &predictions[row] {
                    tasks.insert(slot.name.clone(), answer.clone());
                }
            }
            let mut answer = Map::from_iter([("line".to_string(), json!(line))]);
            answer.extend(question.repeated());
            answer.insert("tasks".into(), tasks.into());
            if predicted.truncated[row] > 0 {
                answer.insert("truncated_tokens".into(), predicted.truncated[row].into());
            }
            answer.into()
        }
    });
    Ok(answers.collect())
}

/// Every task's answer to every question, in the order of both, and what truncation took of each question.
struct Predicted {
    /// `None` where the question lacks what the task reads.
    by_task: Vec<Vec<Option<Value>>>,
    truncated: Vec<u32>,
}

/// One pass for the tasks on one text, and one for each pair of fields or text with spans that tasks read.
fn run(model: &Model, inputs: &ModelInputs, questions: &[&Question]) -> Result<Predicted, Failure> {
    let by_task = model.tasks.iter().map(|_| questions.iter().map(|_| None).collect()).collect();
    let mut predicted = Predicted { by_task, truncated: vec![0; questions.len()] };
    let (rows, ones): (Vec<usize>, Vec<&SingleText>) =
        questions.iter().enumerate().filter_map(|(row, q)| Some((row, q.one.as_ref()?))).unzip();
    if !ones.is_empty() {
        on_one(model, &rows, &ones, &mut predicted)?;
    }
    for (i, input) in inputs.pairs.iter().enumerate() {
        let (rows, pairs): (Vec<usize>, Vec<&[String; 2]>) =
            questions.iter().enumerate().filter_map(|(row, q)| Some((row, q.pairs[i].as_ref()?))).unzip();
        if !pairs.is_empty() {
            let tasks = tasks_where(model, |own| own == input);
            let view = encode(model, pairs.iter().map(|pair| encoded(input, pair)).collect())?;
            predicted.count_truncated(&rows, &view);
            let mapping: Vec<Vec<&[[u32; 2]]>> =
                (0..pairs.len()).map(|i| view.encoded.offset_mapping(i)).collect();
            let source = |i: usize| ModelInput::Pair { second: &pairs[i][1], offset_mapping: &mapping[i] };
            predicted.run(model, &tasks, &rows, &view, source);
        }
    }
    for (i, fields) in inputs.choices.iter().enumerate() {
        let (rows, found): (Vec<usize>, Vec<&Choices>) =
            questions.iter().enumerate().filter_map(|(row, q)| Some((row, q.choices[i].as_ref()?))).unzip();
        if !found.is_empty() {
            let [text, choices] = fields.clone();
            let input = InputField::Choices(text, choices);
            let tasks = tasks_where(model, |own| *own == input);
            let view = encode(model, found.iter().map(|a| Input::Choices(&a.text, &a.choices)).collect())?;
            predicted.count_truncated(&rows, &view);
            predicted.run(model, &tasks, &rows, &view, |i| ModelInput::Choices(&found[i].choices));
        }
    }
    for (i, fields) in inputs.marked.iter().enumerate() {
        let (rows, marked): (Vec<usize>, Vec<&Marked>) =
            questions.iter().enumerate().filter_map(|(row, q)| Some((row, q.marked[i].as_ref()?))).unzip();
        if !marked.is_empty() {
            let tasks = tasks_where(model, |input| *input == InputField::Marked(fields.clone()));
            let view = encode(model, marked.iter().map(|marked| Input::Words(&marked.pieces)).collect())?;
            predicted.count_truncated(&rows, &view);
            let source = |i: usize| ModelInput::Text { text: &marked[i].text, words: &[] };
            predicted.run(model, &tasks, &rows, &view, source);
        }
    }
    Ok(predicted)
}

/// Two texts as the tasks with this input read them.
fn encoded<'a>(input: &InputField, [first, second]: &'a [String; 2]) -> Input<'a> {
    match *input {
        InputField::Windows { overlap, most, .. } => Input::Windows { first, second, overlap, most },
        _ => Input::Pair(first, second),
    }
}

/// One pass serves all tasks on one text, unless the vocabulary reads a text otherwise than its words one by one; then the
/// tasks on texts get a pass of their own, so that every task sees what it was trained on.
fn on_one(
    model: &Model,
    rows: &[usize],
    ones: &[&SingleText],
    predicted: &mut Predicted,
) -> Result<(), Failure> {
    let (texts, words): (Vec<String>, Vec<Vec<String>>) = ones.iter().map(|q| (q.text(), q.words())).unzip();
    let of_texts = encode(model, texts.iter().map(|t| Input::Text(t)).collect())?;
    let of_words = encode(model, words.iter().map(|w| Input::Words(w)).collect())?;
    let same =
        of_texts.encoded.ids == of_words.encoded.ids && of_texts.encoded.offsets == of_words.encoded.offsets;
    let mut on_words = tasks_where(model, |input| matches!(input, InputField::Words(_)));
    let mut on_texts = tasks_where(model, |input| matches!(input, InputField::Text(_)));
    if !on_words.is_empty() {
        predicted.count_truncated(rows, &of_words);
    } else if !on_texts.is_empty() {
        predicted.count_truncated(rows, &of_texts);
    }
    if same && !on_words.is_empty() {
        on_words.append(&mut on_texts);
    }
    for (tasks, view) in [(on_words, of_words), (on_texts, of_texts)] {
        predicted.run(model, &tasks, rows, &view, |i| ones[i].source());
    }
    for prefix in prefixes(model) {
        let tasks = tasks_where(
            model,
            |input| matches!(input, InputField::Prefixed { prefix: own, .. } if *own == prefix),
        );
        let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let view = encode(model, texts.iter().map(|text| Input::Text(text)).collect())?;
        predicted.count_truncated(rows, &view);
        predicted.run(model, &tasks, rows, &view, |i| ones[i].source());
    }
    Ok(())
}

/// What stands before the texts of the tasks that have such a thing, each once.
fn prefixes(model: &Model) -> Vec<String> {
    let mut prefixes = Vec::new();
    for task in &model.tasks {
        match task.kind.input() {
            InputField::Prefixed { prefix, .. } if !prefixes.contains(&prefix) => prefixes.push(prefix),
            _ => {}
        }
    }
    prefixes
}

/// The tasks whose input passes the test.
fn tasks_where(model: &Model, test: impl Fn(&InputField) -> bool) -> Vec<usize> {
    (0..model.tasks.len()).filter(|task| test(&model.tasks[*task].kind.input())).collect()
}

impl Predicted {
    /// Runs a view whose rows are the questions `rows` for some tasks; `source` is the input of each of the rows. With dataset
    /// embeddings there is a pass for each corpus of these tasks.
    fn run<'a>(
        &mut self,
        model: &Model,
        tasks: &[usize],
        rows: &[usize],
        view: &View,
        source: impl Fn(usize) -> ModelInput<'a>,
    ) {
        if model.datasets.is_empty() && !tasks.is_empty() {
            self.one_pass(model, tasks, rows, view, &source);
        }
        for corpus in &model.datasets {
            let of_corpus = |task: &&usize| model.tasks[**task].config.corpus == *corpus;
            let tasks: Vec<usize> = tasks.iter().filter(of_corpus).copied().collect();
            if !tasks.is_empty() {
                let view = View { corpus: corpus.as_str().into(), ..view.clone() };
                self.one_pass(model, &tasks, rows, &view, &source);
            }
        }
    }

    fn one_pass<'a>(
        &mut self,
        model: &Model,
        tasks: &[usize],
        rows: &[usize],
        view: &View,
        source: &impl Fn(usize) -> ModelInput<'a>,
    ) {
        for (task, predictions) in tasks.iter().zip(train::predict(model, tasks, view, TOKENS)) {
            let head = &model.tasks[*task].head;
            for (i, (row, prediction)) in rows.iter().zip(predictions).enumerate() {
                self.by_task[*task][*row] = Some(head.to_json(&prediction, source(i)));
            }
        }
    }

    /// Counts what truncation took of the questions `rows`.
    fn count_truncated(&mut self, rows: &[usize], view: &View) {
        rows.iter().zip(&view.encoded.truncated).for_each(|(row, lost)| self.truncated[*row] += lost);
    }
}

fn encode(model: &Model, inputs: Vec<Input<'_>>) -> Result<View, Failure> {
    let encoded = model.tokenizer.encode(&inputs, model.max_length).map_err(Failure::failed)?;
    let input = InputField::Text("text".into());
    Ok(View { corpus: "standard input".into(), input, rows: Arc::default(), encoded, masking: None })
}
