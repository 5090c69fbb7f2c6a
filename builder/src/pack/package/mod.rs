//! `.deb`s, and the signed repository that has them.

pub mod deb;
pub mod repository;
