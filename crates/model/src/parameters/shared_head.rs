//! One head for several tasks.

use super::{Owner, Parameters, head_prefix};
use crate::ModelError;

/// Names that stand for others while a head is added that is there already.
#[derive(Debug, Clone)]
pub(super) struct Alias {
    own: String,
    other: String,
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
    /// Lets `add`, which adds the head of task `own`, find the parameters of the head of task `other` instead: two heads become one.
    /// Gives the result of `add`.
    ///
    /// # Errors
    /// [`ModelError::Shared`] when a parameter is not there, or has another shape; then nothing was added.
    pub fn sharing<T>(
        &mut self,
        own: &str,
        other: &str,
        add: impl FnOnce(&mut Parameters) -> T,
    ) -> Result<T, ModelError> {
        self.alias = Some(Alias { own: head_prefix(own), other: head_prefix(other), misfit: None });
        let before = self.table.len();
        let added = add(self);
        let Some(Misfit { name, found, expected }) = self.alias.take().and_then(|alias| alias.misfit) else {
            return Ok(added);
        };
        self.table.truncate(before);
        self.by_name.retain(|_, index| *index < before);
        for parameter in &mut self.table {
            if let Owner::Tasks(tasks) = &mut parameter.owner {
                tasks.retain(|task| task != own);
            }
        }
        Err(ModelError::Shared { name, found, expected })
    }

    /// The parameter that is shared in place of one of this name, while [`Parameters::sharing`] lasts.
    pub(super) fn shared(&mut self, name: &str, shape: &[usize], owner: &Owner) -> Option<usize> {
        let alias = self.alias.as_mut()?;
        let theirs = format!("{}{}", alias.other, name.strip_prefix(alias.own.as_str())?);
        let found = self.by_name.get(&theirs).copied();
        let fits = found.filter(|index| self.table[*index].shape == shape);
        match fits {
            Some(index) => {
                if let (Owner::Tasks(tasks), Owner::Tasks(more)) = (&mut self.table[index].owner, owner) {
                    let more = more.iter().filter(|task| !tasks.contains(task)).cloned().collect::<Vec<_>>();
                    tasks.extend(more);
                }
            }
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
    use crate::{Init, ParameterTensor};
    use burn::tensor::Device;

    #[test]
    fn a_second_head_is_the_first_one_if_it_has_its_shape() {
        let mut parameters = Parameters::new(&Device::flex(), 1);
        let first = parameters.head("a").matrix("weight", [2, 3], Init::Normal(1.0));
        parameters.head("a").vector("bias", 2, Init::Zeros);
        let mut found = None;
        parameters
            .sharing("b", "a", |p| found = Some(p.head("b").matrix("weight", [2, 3], Init::Zeros)))
            .unwrap();
        assert_eq!((found, parameters.len()), (Some(first), 2));
        let shared = |p: &Parameters| p.iter().map(|p| p.is_shared()).collect::<Vec<_>>();
        assert_eq!(shared(&parameters), [true, false]);
        for (shape, name, says) in [
            (4, "bias", "head.a.bias: found the shape [2], expected the shape [4]"),
            (2, "other", "head.a.other: found nothing, expected the shape [2]"),
        ] {
            let add = |p: &mut Parameters| {
                p.head("b").vector(name, shape, Init::Zeros);
            };
            let fault = parameters.sharing("b", "a", add).unwrap_err().to_string();
            assert!(fault.contains(says), "{fault}");
        }
        // Afterwards names are themselves again.
        let own = parameters.head("b").vector("bias", 2, Init::Zeros);
        assert!(matches!(parameters.parameter(own.index()).value(), ParameterTensor::Vector(_)));
        assert_eq!(parameters.parameter(own.index()).name, "head.b.bias");
    }
}
