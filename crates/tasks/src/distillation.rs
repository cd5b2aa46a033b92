//! Distillation: what a head answers as a teacher, and what it learns from a teacher's answers.
//!
//! The loss of a row that has a label is `(1 - w) hard + w soft`: the head's own loss at the label, and the cross-entropy with the
//! teacher's distribution at a temperature ([`kernels::soft_cross_entropy`]). Since a cross-entropy is linear in its target, that is the
//! cross-entropy with the target `(1 - w) y + w q` (Clark et al. 2019, "BAM! Born-Again Multi-Task Networks for Natural Language
//! Understanding", whose lambda is `1 - w`). A row without a label has the teacher's answer alone.

use burn::tensor::Tensor;
use model::Parameters;

use crate::losses::soft;
use crate::task_head::Head;
use crate::{Batch, BatchRow, Loss, TeacherAnswers};

/// What fills the place of an answer that the teacher does not give, such as the tag of a word that it has no token for.
pub(crate) const MISSING: f32 = f32::MAX;

/// The weight of a teacher's answer in the loss of a row that has a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TeacherWeight {
    /// The same all the time, 0 to 1.
    Constant(f32),
    /// From 1 at the beginning of the run to 0 at its end, in proportion to the steps done (teacher annealing).
    Annealed,
}

impl TeacherWeight {
    /// The weight when this fraction of the run is done.
    pub fn at(self, progress: f64) -> f32 {
        match self {
            TeacherWeight::Constant(weight) => weight,
            TeacherWeight::Annealed => (1.0 - progress.clamp(0.0, 1.0)) as f32,
        }
    }
}

/// The answers that a head learns from, and how.
#[derive(Debug, Clone)]
pub struct SoftTargets {
    /// By row of the training split.
    pub answers: TeacherAnswers,
    /// What logits are divided by, above 0. Numbers of a regression have none.
    pub temperature: f32,
    /// The weight of the answers beside labels.
    pub weight: TeacherWeight,
}

/// What the numbers of an answer are of: teacher and student have to agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftOutputs {
    /// The name of each output, such as a label. A student's may be in another order.
    pub columns: Vec<String>,
    /// Whether an answer has numbers for each token, so that teacher and student need one tokenizer, and the teacher the encoded targets
    /// of the rows.
    pub by_token: bool,
    /// Whether only rows with a label are answered, since an answer is about the tokens of that.
    pub needs_label: bool,
}

impl SoftOutputs {
    /// Outputs that belong to a row or to a word.
    pub(crate) fn of(names: &[String]) -> SoftOutputs {
        SoftOutputs { columns: names.to_vec(), by_token: false, needs_label: false }
    }

    /// The states of a trunk's tokens, of this width.
    pub fn states(hidden: usize) -> SoftOutputs {
        SoftOutputs {
            columns: vec![format!("states of {hidden} numbers")],
            by_token: true,
            needs_label: false,
        }
    }

    /// For each of these outputs its place among those of a teacher.
    ///
    /// # Errors
    /// Outputs that only one of both has, in words.
    pub fn places_in(&self, teacher: &SoftOutputs) -> Result<Vec<usize>, String> {
        let lacking = |of: &SoftOutputs, other: &SoftOutputs| -> Vec<String> {
            of.columns.iter().filter(|name| !other.columns.contains(name)).cloned().collect()
        };
        let named = |names: &[String]| match names.len() {
            0..=8 => names.join(", "),
            n => format!("{} and {} more", names[..8].join(", "), n - 8),
        };
        let (unknown, more) = (lacking(self, teacher), lacking(teacher, self));
        let differences = [("the teacher lacks", unknown), ("only the teacher has", more)];
        let differences = differences.iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<String> = differences.map(|(what, names)| format!("{what} {}", named(names))).collect();
        if !told.is_empty() {
            return Err(told.join("; "));
        }
        let place = |name| teacher.columns.iter().position(|other| other == name);
        Ok(self.columns.iter().filter_map(place).collect())
    }
}

/// A row of a batch that a teacher has answered.
pub(crate) struct TaughtRow<'a> {
    pub at: BatchRow,
    pub answer: &'a [f32],
    /// The factor of its soft loss: 1 for a row without a label.
    pub weight: f32,
}

/// The loss at a teacher's answers.
pub(crate) struct SoftLoss {
    /// `[1]`: the sum over all targets, each times the weight of its row.
    pub sum: Tensor<1>,
    /// How many targets (rows, words or tokens).
    pub num_targets: usize,
}

/// The loss of a head at labels and at a teacher's answers, by the fraction of the run that is done.
///
/// The mean over all targets of rows that are answered, and of those that have a label alone.
pub(crate) fn loss<H: Head>(
    head: &H,
    parameters: &Parameters,
    batch: &Batch<'_>,
    targets: &H::Targets,
    soft: &SoftTargets,
) -> Option<Loss> {
    let share = soft.weight.at(batch.progress);
    let (mut taught, mut both, mut labels_alone) = (Vec::new(), Vec::new(), Vec::new());
    for at in batch.rows {
        let answer = soft.answers.row(at.row as usize);
        let is_labelled = H::labelled(targets, at.row as usize);
        if answer.is_empty() {
            labels_alone.push(*at);
            continue;
        }
        taught.push(TaughtRow { at: *at, answer, weight: if is_labelled { share } else { 1.0 } });
        if is_labelled {
            both.push(*at);
        }
    }
    let hard = |rows: &[BatchRow]| match rows {
        [] => None,
        rows => head.loss(parameters, &Batch { rows, ..*batch }, targets),
    };
    let alone = hard(&labels_alone);
    let learned = (!taught.is_empty())
        .then(|| head.soft_loss(parameters, batch, targets, &taught, soft.temperature))
        .flatten();
    let at_labels = if head.mixes_targets() || share >= 1.0 { None } else { hard(&both) };
    let count = |loss: &Option<Loss>| loss.as_ref().map_or(0, |loss| loss.num_targets);
    // Where an answer has no target (all its words are cut off), its label may have one.
    let num_targets =
        learned.as_ref().map_or(count(&at_labels), |learned| learned.num_targets) + count(&alone);
    let share_of = |loss: Option<Loss>, factor: f32| {
        loss.map(|Loss { mean, num_targets: own }| mean * (factor * own as f32 / num_targets as f32))
    };
    let parts = [
        share_of(at_labels, 1.0 - share),
        share_of(alone, 1.0),
        learned.map(|learned| learned.sum / num_targets as f32),
    ];
    let mean = parts.into_iter().flatten().reduce(|sum, part| sum + part)?;
    Some(Loss { mean, num_targets })
}

/// The answers of some rows end to end, and the weight of each.
pub(crate) fn joined<'a, 'r: 'a>(
    taught: impl IntoIterator<Item = &'a TaughtRow<'r>>,
) -> (Vec<f32>, Vec<f32>) {
    let (mut answers, mut weights) = (Vec::new(), Vec::new());
    for row in taught {
        answers.extend(row.answer);
        weights.push(row.weight);
    }
    (answers, weights)
}

/// The order of outputs in an answer of as many for each row or word: `order` gives for each place the place that it comes from.
pub(crate) fn reorder_columns(answer: &mut [f32], order: &[usize]) {
    let mut before = vec![0.0; order.len()];
    for unit in answer.chunks_exact_mut(order.len().max(1)) {
        before.copy_from_slice(unit);
        unit.iter_mut().zip(order).for_each(|(value, from)| *value = before[*from]);
    }
}

/// The answers to words: for each row its words' numbers, `columns` each, up to the last one that has a token. `logits` are those of the
/// words that have one, row after row, `firsts` their indices by row.
pub(crate) fn answers_of_words(logits: &[f32], firsts: &[Vec<(u32, u32)>], columns: usize) -> Vec<Vec<f32>> {
    let mut left = logits.chunks_exact(columns.max(1));
    let of_row = |words: &Vec<(u32, u32)>| {
        let count = words.last().map_or(0, |(_, word)| *word as usize + 1);
        let mut answer = vec![MISSING; count * columns];
        for ((_, word), logits) in words.iter().zip(&mut left) {
            answer[*word as usize * columns..][..columns].copy_from_slice(logits);
        }
        answer
    };
    firsts.iter().map(of_row).collect()
}

/// The loss at answers about the tokens of texts: `logits` are those of `lengths` tokens for each row. A token behind the end of an answer
/// has none.
pub(crate) fn loss_of_texts(
    logits: Tensor<2>,
    lengths: &[usize],
    taught: &[TaughtRow<'_>],
    temperature: f32,
) -> Option<SoftLoss> {
    let (mut rows, mut answers, mut weights, mut next) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (row, length) in taught.iter().zip(lengths) {
        for (token, answer) in (next..).zip(row.answer.chunks_exact(soft::TOKEN_ANSWER).take(*length)) {
            rows.push(token as u32);
            answers.extend(answer);
            weights.push(row.weight);
        }
        next += length;
    }
    if rows.is_empty() {
        return None;
    }
    let logits = if rows.len() == next { logits } else { kernels::gather_rows(logits, &rows) };
    let sum = soft::tokens(logits, &answers, weights, temperature);
    Some(SoftLoss { sum, num_targets: rows.len() })
}

/// The loss at answers about words, `columns` numbers each. `logits` makes those of words, `[n, columns]`, of the states of their tokens.
pub(crate) fn loss_of_words(
    batch: &Batch<'_>,
    taught: &[TaughtRow<'_>],
    columns: usize,
    temperature: f32,
    logits: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Option<SoftLoss> {
    let (tokens, answers, weights) = taught_words(batch, taught, columns);
    if tokens.is_empty() {
        return None;
    }
    let logits = logits(kernels::gather_rows(batch.states.clone(), &tokens));
    let sum = soft::softmax(logits, &answers, weights, temperature);
    Some(SoftLoss { sum, num_targets: tokens.len() })
}

/// The words of taught rows that have an answer: their tokens in the pack, the answers end to end, and the weight of each.
fn taught_words(
    batch: &Batch<'_>,
    taught: &[TaughtRow<'_>],
    columns: usize,
) -> (Vec<u32>, Vec<f32>, Vec<f32>) {
    let (mut tokens, mut answers, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for row in taught {
        for (token, word) in crate::targets::words::first_tokens(batch.pack, row.at) {
            let begin = word as usize * columns;
            let Some(answer) = row.answer.get(begin..begin + columns) else { continue };
            if answer.first() != Some(&MISSING) {
                tokens.push(token);
                answers.extend(answer);
                weights.push(row.weight);
            }
        }
    }
    (tokens, answers, weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(names: &[&str]) -> SoftOutputs {
        SoftOutputs::of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn outputs_are_matched_by_name() {
        let (student, teacher) = (outputs(&["a", "b", "c"]), outputs(&["c", "a", "b"]));
        let order = student.places_in(&teacher).unwrap();
        let mut answer = [3.0, 1.0, 2.0, 6.0, 4.0, 5.0];
        reorder_columns(&mut answer, &order);
        assert_eq!(answer, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let told = outputs(&["a", "d"]).places_in(&teacher).unwrap_err();
        assert_eq!(told, "the teacher lacks d; only the teacher has c, b");
    }

    #[test]
    fn the_weight_of_the_teacher_falls_to_0() {
        let at = |progress| TeacherWeight::Annealed.at(progress);
        assert_eq!([at(0.0), at(0.25), at(1.0)], [1.0, 0.75, 0.0]);
        assert_eq!(TeacherWeight::Constant(0.3).at(0.9), 0.3);
    }
}
