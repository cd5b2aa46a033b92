//! A network without some of its structures.

use super::selection::{CutTensors, Removed};
use super::width::remove_width;
use super::{CutWeights, CuttableSizes, HeadSizes, WidthOfHeads};
use crate::backbones::Backbone;
use crate::error::ModelError;
use crate::io::{Checkpoint, Weights, keep_layers, open_checkpoint};
use crate::parameters::Parameters;
use crate::sharing::{Map, SiteWeight};
use crate::trunk::Trunk;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What stays of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    /// The layers, rising; `None`: all.
    pub layers: Option<Vec<usize>>,
    /// For each layer that there was the columns inside its feed-forward part, rising, as many in each; `None`: all.
    pub ffn: Option<Vec<Vec<usize>>>,
    /// For each layer that there was the groups of heads, rising, as many in each; `None`: all.
    pub head_groups: Option<Vec<Vec<usize>>>,
    /// The dimensions of states, rising; `None`: all. Heads may have to go with them ([`super::WidthOfHeads`]).
    pub hidden: Option<Vec<usize>>,
}

/// The network that is left when everything but `keep` is cut out of a trunk's backbone: a smaller one of the same sort, whose parameters
/// are added to `to`. The sharing scheme and all else of the trunk play no part. `path` is the backbone's config.json, for errors.
///
/// # Errors
/// [`ModelError::NotCut`]: a size that the network's config.json cannot say, or structures that are not there; those of [`crate::open`].
pub fn cut(
    (trunk, parameters): (&Trunk, &Parameters),
    keep: &Cut,
    path: &Path,
    to: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    let (spec, sizes) = (trunk.spec(), trunk.cuttable());
    let (mut removed, mut json) = (Removed::default(), spec.config_json.clone());
    if let Some(columns) = &keep.ffn {
        let width = remove_columns(&spec.layers, columns, &sizes, &mut removed)?;
        json[sizes.ffn.map_err(|reason| not_cut("ffn", reason))?] = width.into();
    }
    match (&keep.hidden, &keep.head_groups) {
        (Some(kept), groups) => {
            cut_width(trunk, parameters, (kept, groups.as_deref()), (&mut removed, &mut json))?;
        }
        (None, Some(groups)) => {
            let heads = sizes.heads.map_err(|reason| not_cut("heads", reason))?;
            remove_heads(&spec.layers, groups, heads, &mut removed)?;
            write_heads(&mut json, heads, groups.first().map_or(0, Vec::len))?;
        }
        (None, None) => {}
    }
    let width = keep.hidden.as_ref().map(|_| spec.hidden);
    let mut weights = Weights::Cut(CutTensors::new(spec, parameters, (&removed, width), path));
    if let Some(layers) = &keep.layers {
        check_layers(spec.layers.len(), layers, &sizes)?;
        if let Some(types) = trunk.backbone().layer_types() {
            // Older files say it by the places of layers, which are no longer what they were.
            json["layer_types"] = types.into();
        }
        keep_layers(path, &mut json, layers)?;
        weights = Weights::Layers(Box::new(weights), layers.clone());
    }
    open_checkpoint(Checkpoint { weights, path, json, dropout: None }, to)
}

/// Cuts dimensions of the states, and the heads that go with them or are cut beside.
fn cut_width(
    trunk: &Trunk,
    parameters: &Parameters,
    (kept, groups): (&Vec<usize>, Option<&[Vec<usize>]>),
    (removed, json): (&mut Removed, &mut Value),
) -> Result<(), ModelError> {
    let (spec, sizes) = (trunk.spec(), trunk.cuttable());
    let width = sizes.hidden.map_err(|reason| not_cut("hidden", reason))?;
    check_kept("hidden", std::slice::from_ref(kept), width.width)?;
    let left = groups.map(|groups| groups.first().map_or(0, Vec::len));
    let following = width.checked(kept.len(), left).map_err(|reason| not_cut("hidden", reason))?;
    remove_width(trunk.backbone(), parameters, kept, removed)?;
    json[width.key] = kept.len().into();
    match (width.of_heads, groups) {
        (WidthOfHeads::Follow(key, heads), groups) => {
            let all: Vec<usize> = (0..heads.kv_heads).collect();
            let all = vec![all; spec.layers.len()];
            let groups = groups.unwrap_or(&all);
            if groups.iter().any(|groups| Some(groups.len()) != following) {
                let expected = following.unwrap_or(heads.heads);
                return Err(not_cut(
                    "heads",
                    format!("{} dimensions are those of {expected} heads in every layer", kept.len()),
                ));
            }
            remove_heads(&spec.layers, groups, heads, removed)?;
            json[key] = following.unwrap_or(heads.heads).into();
        }
        (WidthOfHeads::Free(heads), groups) => {
            // Whom the number of heads has to divide is the new width.
            let heads = HeadSizes { divide: heads.divide.map(|_| kept.len()), ..heads };
            if let Some(groups) = groups {
                remove_heads(&spec.layers, groups, heads, removed)?;
            }
            write_heads(json, heads, left.unwrap_or(heads.kv_heads))?;
        }
    }
    Ok(())
}

pub(super) fn not_cut(what: &'static str, reason: impl Into<String>) -> ModelError {
    ModelError::NotCut { what, reason: reason.into() }
}

/// Refuses layers that are not there, or that cannot be left out.
fn check_layers(layers: usize, keep: &[usize], sizes: &CuttableSizes) -> Result<(), ModelError> {
    sizes.layers.map_err(|reason| not_cut("layers", reason))?;
    check_kept("layers", std::slice::from_ref(&keep.to_vec()), layers)?;
    if sizes.first_layer_stays && keep[0] != 0 {
        return Err(not_cut("layers", "the first layer is made otherwise than the others, and has to stay"));
    }
    Ok(())
}

/// Refuses lists that name structures that are not there, none, or not as many in each.
fn check_kept(what: &'static str, keep: &[Vec<usize>], count: usize) -> Result<(), ModelError> {
    let rises = |kept: &Vec<usize>| kept.windows(2).all(|two| two[0] < two[1]);
    let is_there = |kept: &Vec<usize>| kept.last().is_some_and(|last| *last < count);
    let first = keep.first().map_or(0, Vec::len);
    match keep.iter().all(|kept| kept.len() == first && rises(kept) && is_there(kept)) {
        true => Ok(()),
        false => Err(not_cut(
            what,
            format!("expected at least one of {count}, rising, and as many in every layer"),
        )),
    }
}

fn check_number(what: &'static str, keep: &[Vec<usize>], layers: usize) -> Result<(), ModelError> {
    match keep.len() == layers {
        true => Ok(()),
        false => Err(not_cut(what, format!("found {} layers, the network has {layers}", keep.len()))),
    }
}

/// What is not among the kept.
pub(super) fn gone(kept: &[usize], count: usize) -> impl Iterator<Item = usize> + Clone + '_ {
    (0..count).filter(|at| kept.binary_search(at).is_err())
}

/// Removes all but some columns inside the feed-forward parts; gives how many stay in each.
fn remove_columns(
    layers: &[Vec<SiteWeight>],
    keep: &[Vec<usize>],
    sizes: &CuttableSizes,
    removed: &mut Removed,
) -> Result<usize, ModelError> {
    sizes.ffn.map_err(|reason| not_cut("ffn", reason))?;
    check_number("ffn", keep, layers.len())?;
    let mut by_weight: BTreeMap<usize, &Vec<usize>> = BTreeMap::new();
    for (sites, kept) in layers.iter().zip(keep) {
        let Some(out) = sites.iter().find(|site| site.map == Map::FfnOut) else { continue };
        check_kept("ffn", std::slice::from_ref(kept), out.inputs)?;
        if **by_weight.entry(out.weight.index()).or_insert(kept) != *kept {
            return Err(not_cut("ffn", "layers that have the same weights have to keep the same columns"));
        }
        for site in sites.iter().filter(|site| matches!(site.map, Map::FfnIn | Map::FfnGate)) {
            remove_rows(site, gone(kept, out.inputs), removed);
        }
        removed.columns(out.weight.index(), gone(kept, out.inputs));
    }
    let widths: Vec<usize> = by_weight.values().map(|kept| kept.len()).collect();
    match widths.first() {
        Some(width) if widths.iter().all(|other| other == width) => Ok(*width),
        _ => Err(not_cut("ffn", "expected as many columns in every layer")),
    }
}

/// Rows of a map, counted from its first.
pub(super) fn remove_rows(
    site: &SiteWeight,
    rows: impl Iterator<Item = usize> + Clone,
    removed: &mut Removed,
) {
    let rows = rows.map(|row| site.rows.start + row);
    if let Some(bias) = site.bias {
        removed.rows(bias.index(), rows.clone());
    }
    removed.rows(site.weight.index(), rows);
}

/// Removes all but some groups of heads.
fn remove_heads(
    layers: &[Vec<SiteWeight>],
    keep: &[Vec<usize>],
    heads: HeadSizes,
    removed: &mut Removed,
) -> Result<(), ModelError> {
    check_number("heads", keep, layers.len())?;
    check_kept("heads", keep, heads.kv_heads)?;
    let (own, served) = (heads.head_dim, heads.head_dim * heads.heads_per_group());
    for (sites, kept) in layers.iter().zip(keep) {
        let columns = |width: usize| {
            gone(kept, heads.kv_heads).flat_map(move |group| group * width..(group + 1) * width)
        };
        for site in sites {
            match site.map {
                Map::Query => remove_rows(site, columns(served), removed),
                Map::Key | Map::Value => remove_rows(site, columns(own), removed),
                Map::AttentionOutput => removed.columns(site.weight.index(), columns(served)),
                Map::FfnIn | Map::FfnGate | Map::FfnOut => {}
            }
        }
    }
    Ok(())
}

/// Lets a config.json say that so many groups of heads are there.
fn write_heads(json: &mut Value, heads: HeadSizes, left: usize) -> Result<(), ModelError> {
    if !heads.group_counts().contains(&left) {
        let reason = format!(
            "transformers wants hidden_size to be a multiple of num_attention_heads, which would be {}; expected to keep one of {:?} of {} \
             groups",
            left * heads.heads_per_group(),
            heads.group_counts(),
            heads.kv_heads
        );
        return Err(not_cut("heads", reason));
    }
    json["num_attention_heads"] = (left * heads.heads_per_group()).into();
    json["num_key_value_heads"] = left.into();
    json["head_dim"] = heads.head_dim.into();
    Ok(())
}

/// The weights that [`cut`] takes out of a trunk's backbone, to be set to zero in it: the network then computes what the smaller one does, but
/// for layers, which have to stay. Numbers that config.json could not say are no error here.
///
/// # Errors
/// [`ModelError::NotCut`]: structures that are not there, or cannot be cut.
pub fn cut_weights(trunk: &Trunk, keep: &Cut) -> Result<Vec<CutWeights>, ModelError> {
    let (spec, sizes) = (trunk.spec(), trunk.cuttable());
    let mut removed = Removed::default();
    for (what, is_cut) in [("layers", keep.layers.is_some()), ("hidden", keep.hidden.is_some())] {
        if is_cut {
            return Err(not_cut(what, "no weights that are zero have the same effect in every network"));
        }
    }
    if let Some(columns) = &keep.ffn {
        remove_columns(&spec.layers, columns, &sizes, &mut removed)?;
    }
    if let Some(groups) = &keep.head_groups {
        let heads = sizes.heads.map_err(|reason| not_cut("heads", reason))?;
        remove_heads(&spec.layers, groups, heads, &mut removed)?;
    }
    Ok(removed.weights())
}
