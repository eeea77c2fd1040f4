//! The rules, by what they look at.

pub(crate) mod batch;
pub(crate) mod data;
pub(crate) mod divergence;
pub(crate) mod fit;
pub(crate) mod length;
pub(crate) mod rate;
pub(crate) mod schedule;
pub(crate) mod start;
