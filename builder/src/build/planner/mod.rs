//! Plans: which steps make a bundle, the components' packages, the images, a disk.

pub mod bundle;
pub mod components;
pub mod images;
pub mod inputs;
mod packing;
pub mod supply;
pub mod system;

use crate::base::name::{LineName, RoleName};
use crate::host::cargo::Toolchain;
use crate::host::checkout::Project;

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildTarget {
    /// The checkout.
    pub project: Project,
    /// The line.
    pub line: LineName,
    /// The role.
    pub role: RoleName,
    /// Where the compiler is.
    pub toolchain: Toolchain,
}
