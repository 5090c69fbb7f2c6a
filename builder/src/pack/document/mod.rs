//! What says what a bundle is made of.

pub mod manifest;
pub mod provenance;
pub mod sbom;
