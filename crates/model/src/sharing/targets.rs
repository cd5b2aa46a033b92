//! Which linear maps a scheme changes, and the checks that schemes share.

use super::{Map, Site, SiteWeight, TrunkShape};
use crate::error::ModelError;
use crate::parameters::Parameters;
use std::collections::{BTreeMap, BTreeSet};

/// The maps that a scheme's config names.
pub(super) struct Targets<'a> {
    /// The scheme's name in the config.
    pub scheme: &'static str,
    /// `maps`
    pub maps: Option<&'a BTreeSet<Map>>,
    /// What stands for `maps` where it is left out: those of these that the backbone has, or all where it has none of them.
    pub usual: &'static [Map],
    /// `first_layer`
    pub first_layer: usize,
}

impl Targets<'_> {
    /// The sites that are changed; at least one.
    pub fn choose(&self, trunk: &TrunkShape) -> Result<BTreeMap<Site, SiteWeight>, ModelError> {
        let layers = trunk.layers.len();
        if layers > 0 && self.first_layer >= layers {
            let expected = format!("below {layers}, the layers of the backbone");
            return Err(refused(self.scheme, "first_layer", self.first_layer, expected));
        }
        let maps = self.maps(&trunk.sites().map(|(site, _)| site.map).collect())?;
        let chosen = |site: &Site| site.layer >= self.first_layer && maps.contains(&site.map);
        let sites = trunk.sites().filter(|(site, _)| chosen(site));
        Ok(sites.map(|(site, weight)| (site, weight.clone())).collect())
    }

    fn maps(&self, there: &BTreeSet<Map>) -> Result<BTreeSet<Map>, ModelError> {
        if there.is_empty() {
            let expected = "a backbone with linear maps, such as a bag with a `window` above 0";
            return Err(refused(self.scheme, "maps", "none in the backbone", expected));
        }
        let Some(wanted) = self.maps else {
            let usual: BTreeSet<Map> = self.usual.iter().copied().filter(|map| there.contains(map)).collect();
            return Ok(if usual.is_empty() { there.clone() } else { usual });
        };
        match wanted.iter().find(|map| !there.contains(map)) {
            Some(map) => Err(refused(
                self.scheme,
                "maps",
                map.name(),
                format!("maps of the backbone: {}", list(there)),
            )),
            None if wanted.is_empty() => {
                Err(refused(self.scheme, "maps", "none", format!("one of {}", list(there))))
            }
            None => Ok(wanted.clone()),
        }
    }
}

fn list(maps: &BTreeSet<Map>) -> String {
    maps.iter().map(|map| map.name()).collect::<Vec<_>>().join(", ")
}

/// A setting that does not fit.
pub(super) fn refused(
    scheme: &str,
    key: &str,
    found: impl ToString,
    expected: impl Into<String>,
) -> ModelError {
    ModelError::Sharing {
        key: format!("{scheme}.{key}"),
        found: found.to_string(),
        expected: expected.into(),
    }
}

/// Checks a number that must be finite and above 0.
pub(super) fn positive(scheme: &str, key: &str, number: f64) -> Result<(), ModelError> {
    match number.is_finite() && number > 0.0 {
        true => Ok(()),
        false => Err(refused(scheme, key, number, "a number above 0")),
    }
}

/// Checks a rank that must be below the sizes of every map.
pub(super) fn rank_fits(
    scheme: &str,
    rank: usize,
    sites: &BTreeMap<Site, SiteWeight>,
) -> Result<(), ModelError> {
    for (site, weight) in sites {
        let most = weight.rows.len().min(weight.inputs);
        if rank == 0 || rank > most {
            let expected = format!("from 1 to {most}, the smaller size of {site}");
            return Err(refused(scheme, "rank", rank, expected));
        }
    }
    Ok(())
}

/// Stops the training of the network itself.
pub(super) fn freeze_base(parameters: &mut Parameters) {
    for index in 0..parameters.len() {
        if parameters.parameter(index).is_base() {
            parameters.set_trainable(index, false);
        }
    }
}
