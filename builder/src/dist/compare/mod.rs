//! Differences: between two outputs, two bundles, two builds.

pub mod builds;
pub mod bundles;
pub mod bytes;
