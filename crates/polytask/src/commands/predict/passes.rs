//! From questions to answers: one pass through the trunk for each way in which tasks read them.

use super::question::{NoAnswer, Question, Source, TaskInput, TrainedFields};
use crate::failure::Failure;
use data::{Encoded, InputField, View};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use train::Model;

/// Tokens that go through the trunk at once.
const TOKENS: usize = 4096;

/// The answer of a task to a question, or why there is none.
type Answer = Result<Value, NoAnswer>;

/// What the tasks of a model say to some questions.
pub struct Predicted {
    /// By question: the answer of each wanted task.
    pub answers: Vec<Vec<(usize, Answer)>>,
    /// What truncation took of each question.
    pub truncated: Vec<u32>,
    /// What was read of each question.
    sources: Vec<Vec<Source>>,
}

/// Which tasks answer, and how.
pub struct Wanted {
    /// Indices of tasks.
    tasks: Vec<usize>,
    /// The different ways in which they read a question.
    inputs: Vec<Input>,
    /// Whether answers list the probabilities of all labels.
    all_probabilities: bool,
}

impl Wanted {
    /// The answers of some tasks, by index.
    pub fn of(model: &Model, tasks: Vec<usize>, all_probabilities: bool) -> Wanted {
        let mut inputs: Vec<Input> = Vec::new();
        for task in &tasks {
            let slot = &model.tasks[*task];
            let (input, trained) = (slot.kind.input(), TrainedFields::of(model, &slot.config.corpus));
            match inputs.iter_mut().find(|known| known.input == input && known.trained == trained) {
                Some(known) => known.tasks.push(*task),
                None => inputs.push(Input { input, trained, tasks: vec![*task] }),
            }
        }
        Wanted { tasks, inputs, all_probabilities }
    }

    /// Whether one of the tasks writes texts.
    pub fn writes(&self, model: &Model) -> bool {
        self.tasks.iter().any(|task| model.tasks[*task].config.writes())
    }
}

/// The questions that can be read in one way, for some tasks.
struct Pass {
    tasks: Vec<usize>,
    /// The questions, by index.
    questions: Vec<usize>,
    sources: Vec<Source>,
    encoded: Encoded,
    /// Whether the tokens know the words that they are of.
    has_words: bool,
}

/// The answers of the wanted tasks to some questions.
pub fn answers(model: &Model, wanted: &Wanted, questions: &[Question]) -> Result<Predicted, Failure> {
    let none = || wanted.tasks.iter().map(|task| (*task, Err(NoAnswer::Absent(String::new())))).collect();
    let mut predicted = Predicted {
        answers: questions.iter().map(|_| none()).collect(),
        truncated: vec![0; questions.len()],
        sources: questions.iter().map(|_| Vec::new()).collect(),
    };
    let mut passes: Vec<Pass> = Vec::new();
    for input in &wanted.inputs {
        let pass = predicted.read(model, input, questions)?;
        for (question, source) in pass.questions.iter().zip(&pass.sources) {
            predicted.sources[*question].push(source.clone());
        }
        match passes.iter_mut().find(|other| other.reads_alike(&pass)) {
            Some(other) => other.join(pass),
            None => passes.push(pass),
        }
    }
    for pass in passes {
        predicted.run(model, wanted, &pass);
    }
    Ok(predicted)
}

/// A way in which some tasks read a question.
struct Input {
    input: InputField,
    trained: TrainedFields,
    tasks: Vec<usize>,
}

impl Pass {
    /// Whether another pass has the same tokens of the same questions, so that one of both is enough.
    fn reads_alike(&self, other: &Pass) -> bool {
        let (a, b) = (&self.encoded, &other.encoded);
        let is_plain = |encoded: &Encoded| encoded.first_segment_len.is_empty();
        self.questions == other.questions
            && is_plain(a)
            && is_plain(b)
            && a.ids == b.ids
            && a.offsets == b.offsets
            && a.sequences == b.sequences
            && !(self.has_words && other.has_words && a.word_ids != b.word_ids)
    }

    /// Takes the tasks of a pass that reads alike. Tasks on words need the tokens that know their words.
    fn join(&mut self, mut other: Pass) {
        if other.has_words && !self.has_words {
            std::mem::swap(self, &mut other);
        }
        self.tasks.append(&mut other.tasks);
    }
}

impl Predicted {
    fn set(&mut self, question: usize, task: usize, answer: Answer) {
        if let Some((_, slot)) = self.answers[question].iter_mut().find(|(other, _)| *other == task) {
            *slot = answer;
        }
    }

    /// Reads the questions under an input; those that cannot be read have an error for its tasks.
    fn read(
        &mut self,
        model: &Model,
        Input { input, trained, tasks }: &Input,
        questions: &[Question],
    ) -> Result<Pass, Failure> {
        let mut found: Vec<(usize, TaskInput)> = Vec::new();
        for (index, question) in questions.iter().enumerate() {
            match question.read(input, trained) {
                Ok(read) => found.push((index, read)),
                Err(error) => tasks.iter().for_each(|task| self.set(index, *task, Err(error.clone()))),
            }
        }
        let mut encoded = encode(model, found.iter().map(|(_, read)| read));
        if encoded.is_err() {
            // One question that the tokenizer refuses is no reason to answer none.
            found.retain(|(index, read)| match encode(model, [read].into_iter()) {
                Ok(_) => true,
                Err(error) => {
                    let error = NoAnswer::Broken(error);
                    tasks.iter().for_each(|task| self.set(*index, *task, Err(error.clone())));
                    false
                }
            });
            encoded = encode(model, found.iter().map(|(_, read)| read));
        }
        let encoded = encoded.map_err(Failure::failed)?;
        let (rows, read): (Vec<usize>, Vec<TaskInput>) = found.into_iter().unzip();
        let has_words = read.iter().all(|found| found.input.has_words());
        let sources = read.into_iter().map(|found| found.source).collect();
        Ok(Pass { tasks: tasks.clone(), questions: rows, sources, encoded, has_words })
    }

    /// Runs a pass. With dataset embeddings there is one for each corpus of its tasks.
    fn run(&mut self, model: &Model, wanted: &Wanted, pass: &Pass) {
        if pass.questions.is_empty() {
            return;
        }
        pass.questions
            .iter()
            .zip(&pass.encoded.truncated)
            .for_each(|(row, lost)| self.truncated[*row] += lost);
        let corpora: Vec<Option<&str>> = match model.datasets.as_slice() {
            [] => vec![None],
            datasets => datasets.iter().map(|corpus| Some(corpus.as_str())).collect(),
        };
        for corpus in corpora {
            let of_corpus =
                |task: &&usize| corpus.is_none_or(|name| model.tasks[**task].config.corpus == name);
            let tasks: Vec<usize> = pass.tasks.iter().filter(of_corpus).copied().collect();
            if !tasks.is_empty() {
                self.one_pass(model, wanted, &tasks, corpus.unwrap_or("standard input"), pass);
            }
        }
    }

    fn one_pass(&mut self, model: &Model, wanted: &Wanted, tasks: &[usize], corpus: &str, pass: &Pass) {
        let view = View {
            corpus: corpus.into(),
            input: InputField::Text("text".into()),
            rows: Arc::default(),
            encoded: pass.encoded.clone(),
            masking: None,
        };
        for (task, predictions) in tasks.iter().zip(train::predict(model, tasks, &view, TOKENS)) {
            let head = &model.tasks[*task].head;
            for (i, prediction) in predictions.iter().enumerate() {
                if !prediction.is_finite() {
                    let error = "the scores are not finite: the weights of the model have overflowed".into();
                    self.set(pass.questions[i], *task, Err(NoAnswer::Broken(error)));
                    continue;
                }
                let mapping = pass.encoded.offset_mapping(i);
                let mut answer = head.to_json(prediction, pass.sources[i].as_model_input(&mapping));
                if let Some(all) = head.probabilities(prediction).filter(|_| wanted.all_probabilities) {
                    answer["probabilities"] = Value::Object(all);
                }
                self.set(pass.questions[i], *task, Ok(answer));
            }
        }
    }

    /// The answer to a question as a JSON object without its place: the texts that were read, and the answer of each task; or one
    /// error, where no task has an answer.
    pub fn object(&self, model: &Model, question: usize) -> Result<Map<String, Value>, String> {
        let answers = &self.answers[question];
        if answers.iter().all(|(_, answer)| answer.is_err()) {
            let mut reasons: Vec<&str> = answers
                .iter()
                .filter_map(|(_, answer)| answer.as_ref().err())
                .map(NoAnswer::reason)
                .collect();
            reasons.sort_unstable();
            reasons.dedup();
            return Err(reasons.join("; "));
        }
        let mut object = Map::new();
        // What is repeated: the text that stands alone, if there is one, and the second text of a pair.
        let sources = &self.sources[question];
        let alone = sources.iter().find(|source| !matches!(source, Source::Pair(_)));
        if let Some(source) = alone.or(sources.first()) {
            object.insert("text".into(), source.texts().0.into());
        }
        if let Some(second) = sources.iter().find_map(|source| source.texts().1) {
            object.insert("pair".into(), second.clone().into());
        }
        let of_task = |(task, answer): &(usize, Answer)| {
            let answer = answer.clone().unwrap_or_else(|error| json!({ "error": error.reason() }));
            (model.tasks[*task].name.clone(), answer)
        };
        object.insert("tasks".into(), Value::Object(answers.iter().map(of_task).collect()));
        if self.truncated[question] > 0 {
            object.insert("truncated_tokens".into(), self.truncated[question].into());
        }
        Ok(object)
    }

    /// How many answers of tasks are missing since their questions lack fields, those questions aside that have no answer at all.
    pub fn absent(&self) -> usize {
        let answered = self.answers.iter().filter(|answers| answers.iter().any(|(_, answer)| answer.is_ok()));
        answered.flatten().filter(|(_, answer)| matches!(answer, Err(NoAnswer::Absent(_)))).count()
    }

    /// Whether a question has no answer at all, or holds something that a task cannot read.
    pub fn is_broken(&self, question: usize) -> bool {
        let answers = &self.answers[question];
        let broken = |(_, answer): &(usize, Answer)| matches!(answer, Err(NoAnswer::Broken(_)));
        answers.iter().any(broken) || answers.iter().all(|(_, answer)| answer.is_err())
    }
}

fn encode<'a>(model: &Model, read: impl Iterator<Item = &'a TaskInput>) -> Result<Encoded, String> {
    let inputs: Vec<_> = read.map(|found| found.input.as_input()).collect();
    model.tokenizer.encode(&inputs, model.max_length).map_err(|error| error.to_string())
}
