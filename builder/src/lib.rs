//! The builder: recipes and a lock in, `.deb`s, OCI images, a signed apt repository and disks out.
//!
//! Modules stand in floors and import downwards only; ARCHITECTURE.md is the map and
//! `tests/tests/tidy.rs` enforces it.

// Floor 0: values.
pub mod base;
// Floor 1: formats.
pub mod archive;
pub mod debian;
pub mod openpgp;
pub mod text;
pub mod tree;
// Floor 2: meaning.
pub mod component;
pub mod explain;
pub mod line;
pub mod plan;
pub mod role;
pub mod site;
pub mod source_build;

pub mod recipe;

pub mod lock;
pub mod overlay;
pub mod pinned;
pub mod render;

pub mod bundle;
pub mod resolve;
pub mod trust;

pub mod lint;
// Floor 3: packers.
pub mod compare;
pub mod pack;
pub mod payload;
// Floor 4: the world.
pub mod fetch;
pub mod inputs;
pub mod keys;
pub mod mirror;

pub mod flash;
pub mod image;
pub mod overwrite;
pub mod tools;
pub mod vm;

pub mod program;
pub mod progress;
pub mod project;
pub mod root;
pub mod sandbox;
pub mod store;

pub mod export;
pub mod repository;
// Floor 5: the driver.
pub mod build;
pub mod check;
pub mod components;
pub mod diff;
pub mod dist;
pub mod images;
pub mod supply;
pub mod system;
pub mod workshop;
// Floor 6: the edge.
pub mod report;
