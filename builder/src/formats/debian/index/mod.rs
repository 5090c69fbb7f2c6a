//! The archive's indices: what is there, signed.

pub mod packages;
pub mod release;
pub mod sources;
