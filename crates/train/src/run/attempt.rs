//! A step, as often as memory needs: where there is no room for its packs, half as many tokens go through the trunk at once.

use super::Run;
use crate::{
    error::TrainError,
    events::{self, Event},
    optimizer::Rates,
    step::{self, At, Fault, Measured, Movers},
};
use burn::tensor::Tensor;
use data::Pack;

impl Run<'_, '_> {
    /// Does the step; later ones keep to the size that there was room for. What a step learns does not depend on it, but for the
    /// order in which gradients are added up.
    ///
    /// # Errors
    /// [`TrainError::NoRoom`] where a single sequence is too much.
    pub(super) fn attempt(
        &mut self,
        packs: &[Pack],
        rates: &Rates,
        factor: f64,
    ) -> Result<Result<Measured, Vec<events::BadTask>>, TrainError> {
        let below = self.below(packs)?;
        loop {
            match self.once(packs, below.clone(), rates, factor) {
                Ok(measured) => return Ok(Ok(measured)),
                Err(Fault::Bad(faults)) => return Ok(Err(faults)),
                Err(Fault::NoRoom) => self.halve(packs)?,
            }
        }
    }

    fn once(
        &mut self,
        packs: &[Pack],
        below: Vec<Option<Tensor<2>>>,
        rates: &Rates,
        factor: f64,
    ) -> Result<Measured, Fault> {
        let (place, total) = (self.progress.place, self.timetable.total().max(1));
        let at = At {
            index: self.progress.step,
            progress: (place as f64 / total as f64).min(1.0),
            part: self.progress.at_once,
        };
        let movers = Movers {
            settings: self.settings,
            balancer: self.balancer.as_mut(),
            buffers: &mut self.buffers,
            validation: self.validation.as_ref(),
            moments: &mut self.moments,
            rates,
            factor,
            room: self.host.room,
        };
        step::step(&mut self.job.model, &self.job.views, packs, below, at, movers)
    }

    /// From now on half as many tokens go through the trunk at once as did now.
    fn halve(&mut self, packs: &[Pack]) -> Result<(), TrainError> {
        let longest = packs.iter().flat_map(|pack| pack.sequences.windows(2).map(|s| s[1] - s[0])).max();
        let most = packs.iter().map(Pack::tokens).max().unwrap_or(0);
        let now = self.progress.at_once.map_or(most, |tokens| tokens.min(most));
        let (step, longest) = (self.progress.step + 1, longest.unwrap_or(0));
        if now <= longest {
            return Err(TrainError::NoRoom { step, tokens: longest });
        }
        let tokens = (now / 2).max(1);
        self.progress.at_once = Some(tokens);
        self.emit(Event::Halved(events::Halved { step: self.progress.step, tokens }));
        Ok(())
    }
}
