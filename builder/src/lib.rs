//! The builder: recipes and a lock in, `.deb`s, OCI images, a signed apt repository and disks out.
//!
//! The folders stand in the order of the pipeline, and an import points to its own folder or an earlier one. Those up
//! to [`pack`] are pure: no disk, clock, network or environment. `tests/tests/tidy` holds both.

/// Values that all others speak in: digests, names, texts, trees, faults.
pub mod base;

/// Debian's and other third-party formats as data.
pub mod formats;

/// What people decide: site, line, roles, components.
pub mod recipe;

/// What the outside world could change, pinned.
pub mod lock;

/// Files of ours: rendered, made role packages, and checked.
pub mod overlay;

/// A build as steps, each known by what goes into it.
pub mod plan;

/// Trees in, bytes out.
pub mod pack;

/// This machine: files, the checkout, the compiler, the sandbox.
pub mod host;

/// Every byte that a build reads or makes, by digest.
pub mod store;

/// What the lock names, from wherever it can be had.
pub mod fetch;

/// Packages as the tree of an installed system.
pub mod rootfs;

/// Planning steps and making them.
pub mod build;

/// What was built, put where people find it, and compared.
pub mod dist;

/// Machines that boot it, real and virtual.
pub mod machine;
