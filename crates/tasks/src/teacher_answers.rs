//! A teacher's answers to the rows of a view, as they are kept.

/// A teacher's answers to the rows of a view: for each row numbers whose order its kind knows, none for a row that it does not answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TeacherAnswers {
    /// `[rows + 1]`: where the numbers of each row begin and end.
    offsets: Vec<u64>,
    values: Vec<f32>,
}

impl Default for TeacherAnswers {
    fn default() -> Self {
        TeacherAnswers { offsets: vec![0], values: Vec::new() }
    }
}

impl TeacherAnswers {
    /// Answers from their offsets `[rows + 1]` and numbers; `None` where these do not fit together.
    pub fn from_parts(offsets: Vec<u64>, values: Vec<f32>) -> Option<TeacherAnswers> {
        let is_whole = offsets.first() == Some(&0)
            && offsets.last() == Some(&(values.len() as u64))
            && offsets.is_sorted();
        is_whole.then_some(TeacherAnswers { offsets, values })
    }

    /// Answers that are not known yet, to the rows of which it is true: they count as labelled, and nothing is learned of them.
    pub fn expected(rows: impl IntoIterator<Item = bool>) -> TeacherAnswers {
        let mut answers = TeacherAnswers::default();
        let mut end = 0;
        answers.offsets.extend(rows.into_iter().map(|is_answered| {
            end += u64::from(is_answered);
            end
        }));
        answers
    }

    /// Whether a row is answered, also where the answer is not known yet.
    pub fn is_answered(&self, row: usize) -> bool {
        self.offsets.get(row..row + 2).is_some_and(|ends| ends[0] < ends[1])
    }

    /// The answers to all rows, each of which is dropped as it is taken: states of many tokens would not be there twice.
    pub fn of_rows(rows: Vec<Vec<f32>>) -> TeacherAnswers {
        let mut answers = TeacherAnswers::default();
        answers.values.reserve_exact(rows.iter().map(Vec::len).sum());
        rows.into_iter().for_each(|answer| answers.push(&answer));
        answers
    }

    /// Adds the answer to the next row.
    pub fn push(&mut self, answer: &[f32]) {
        self.values.extend(answer);
        self.offsets.push(self.values.len() as u64);
    }

    /// The numbers of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// How many rows are answered.
    pub fn answered(&self) -> usize {
        (0..self.rows()).filter(|row| self.is_answered(*row)).count()
    }

    /// The answer to a row; empty where there is none, or it is not known yet.
    pub fn row(&self, row: usize) -> &[f32] {
        match self.offsets.get(row..row + 2) {
            Some(&[start, end]) => self.values.get(start as usize..end as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The answer to a row, to be changed in place.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        match self.offsets.get(row..row + 2) {
            Some(&[start, end]) => self.values.get_mut(start as usize..end as usize).unwrap_or_default(),
            _ => &mut [],
        }
    }

    /// Offsets and numbers, as [`TeacherAnswers::from_parts`] takes them.
    pub fn parts(&self) -> (&[u64], &[f32]) {
        (&self.offsets, &self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_none() {
        let mut answers = TeacherAnswers::default();
        answers.push(&[1.0, 2.0]);
        answers.push(&[]);
        let (offsets, values) = answers.parts();
        let (offsets, values) = (offsets.to_vec(), values.to_vec());
        assert_eq!(
            (answers.rows(), answers.answered(), answers.row(0).len(), answers.row(7).len()),
            (2, 1, 2, 0)
        );
        assert_eq!(TeacherAnswers::of_rows(vec![vec![1.0, 2.0], Vec::new()]), answers);
        assert_eq!(TeacherAnswers::from_parts(offsets, values.clone()), Some(answers));
        let expected = TeacherAnswers::expected([true, false, true]);
        assert_eq!((expected.answered(), expected.is_answered(2), expected.row(2)), (2, true, &[][..]));
        assert_eq!(TeacherAnswers::from_parts(vec![0, 3], values.clone()), None);
        assert_eq!(TeacherAnswers::from_parts(vec![0, 2, 1, 2], values), None);
    }
}
