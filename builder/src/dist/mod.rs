//! Outputs for people: exported, published as a repository, and compared.

pub mod bundle;
pub mod compare;
pub mod disk_image;
pub mod export;
pub mod repository;
