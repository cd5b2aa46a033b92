//! Losses that several kinds use.

pub(crate) mod binary;
pub(crate) mod focal;
pub(crate) mod hidden_states;
pub(crate) mod ragged;
pub(crate) mod soft;
