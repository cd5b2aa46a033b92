//! One head for several tasks.

use super::Parameters;
use crate::ModelError;

/// Names that stand for others while a head is added that is there already.
#[derive(Debug, Clone)]
pub(super) struct Alias {
    own: String,
    prefix: String,
    misfit: Option<Misfit>,
}

/// A parameter that the shared head has not, or not so.
#[derive(Debug, Clone)]
struct Misfit {
    name: String,
    found: Option<Vec<usize>>,
    expected: Vec<usize>,
}

impl Parameters {
    /// Lets `add` find parameters called `PREFIX..` where it would add ones called `OWN..`: two heads become one.
    ///
    /// # Errors
    /// [`ModelError::Shared`] when a parameter is not there, or has another shape; then nothing was added.
    pub fn sharing(
        &mut self,
        own: &str,
        prefix: &str,
        add: impl FnOnce(&mut Parameters),
    ) -> Result<(), ModelError> {
        self.alias = Some(Alias { own: own.to_owned(), prefix: prefix.to_owned(), misfit: None });
        let before = self.table.len();
        add(self);
        let Some(Misfit { name, found, expected }) = self.alias.take().and_then(|alias| alias.misfit) else {
            return Ok(());
        };
        self.table.truncate(before);
        self.by_name.retain(|_, index| *index < before);
        Err(ModelError::Shared { name, found, expected })
    }

    /// The parameter that is shared in place of one of this name, while [`Parameters::sharing`] lasts.
    pub(super) fn shared(&mut self, name: &str, shape: &[usize]) -> Option<usize> {
        let alias = self.alias.as_mut()?;
        let theirs = format!("{}{}", alias.prefix, name.strip_prefix(alias.own.as_str())?);
        let found = self.by_name.get(&theirs).copied();
        let fits = found.filter(|index| self.table[*index].shape == shape);
        match fits {
            Some(index) => self.table[index].shared = true,
            None => {
                let found = found.map(|index| self.table[index].shape.clone());
                let expected = shape.to_vec();
                alias.misfit.get_or_insert(Misfit { name: theirs, found, expected });
            }
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Group, Init, Weight};
    use burn::tensor::Device;

    #[test]
    fn a_second_head_is_the_first_one_if_it_has_its_shape() {
        let mut parameters = Parameters::new(&Device::flex(), 1);
        let [a, b] = ["a", "b"].map(|name| Group::Task(name.into()));
        let first = parameters.matrix(&a, "head.a.weight", [2, 3], Init::Normal(1.0));
        parameters.vector(&a, "head.a.bias", 2, Init::Zeros);
        let mut found = None;
        parameters
            .sharing("head.b.", "head.a.", |p| {
                found = Some(p.matrix(&b, "head.b.weight", [2, 3], Init::Zeros))
            })
            .unwrap();
        assert_eq!((found, parameters.len()), (Some(first), 2));
        let shared = |p: &Parameters| p.iter().map(|p| p.is_shared()).collect::<Vec<_>>();
        assert_eq!(shared(&parameters), [true, false]);
        for (shape, name, says) in [
            (4, "head.b.bias", "head.a.bias: found the shape [2], expected the shape [4]"),
            (2, "head.b.other", "head.a.other: found nothing, expected the shape [2]"),
        ] {
            let add = |p: &mut Parameters| {
                p.vector(&b, name, shape, Init::Zeros);
            };
            let fault = parameters.sharing("head.b.", "head.a.", add).unwrap_err().to_string();
            assert!(fault.contains(says), "{fault}");
        }
        // Afterwards names are themselves again.
        let own = parameters.vector(&b, "head.b.bias", 2, Init::Zeros);
        assert!(matches!(parameters.parameter(own.index()).value(), Weight::Vector(_)));
        assert_eq!(parameters.parameter(own.index()).name, "head.b.bias");
    }
}
