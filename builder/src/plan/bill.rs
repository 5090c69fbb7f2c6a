//! What a bundle is made of: the one list from which its manifest, SBOM and provenance are written.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::StepId;
use crate::base::digest::Checksum;
use crate::base::name::{Arch, ComponentName, LineName, OverlayName, PackageName, RoleName};
use crate::base::{Digest, Epoch};
use crate::formats::debian::version::Version;

/// The bill of materials of a role's bundle, as far as it is known before anything is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillOfMaterials {
    /// The line.
    pub line: LineName,
    /// The role.
    pub role: RoleName,
    /// The machine.
    pub arch: Arch,
    /// Every file's time.
    pub epoch: Epoch,
    /// The digest of what the recipe says of the lock.
    pub recipe: Digest,
    /// The digest of the lock.
    pub lock: Digest,
    /// The digest of the builder's own sources.
    pub builder: Digest,
    /// Packages whose files are in the bundle, those that others depend on first.
    pub packages: Vec<BundlePackage>,
    /// What the packages depend on and the bundle does not hold.
    pub inputs: BTreeSet<Input>,
}

/// A package in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundlePackage {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its architecture.
    pub arch: Arch,
    /// Where its files come from.
    pub origin: FileOrigin,
    /// The digest of its source.
    pub source: Checksum,
    /// The step that makes the `.deb`.
    pub deb: StepId,
    /// The step that makes its tree.
    pub tree: StepId,
}

/// Where a file comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileOrigin {
    /// A folder under `overlays/`.
    Overlay(OverlayName),
    /// A component of the line.
    Component(ComponentName),
    /// A program of this project.
    Program(PackageName),
}

/// A locked package or file that a bundle needs and does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The package's or component's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What its bytes hash to; nothing is known of a provided one that was not handed over yet.
    pub checksum: Option<Checksum>,
    /// Where it is published, if it is: a URL, or a path in its archive.
    pub location: Option<String>,
    /// Whether it was handed over with `input add` and is the word of this checkout alone.
    pub local: bool,
}
