//! The kinds of step. Each has a format number; an algorithm that changes its bytes raises it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::StepId;
use super::bill::Bill;
use crate::base::digest::Checksum;
use crate::base::name::{Arch, PackageName};
use crate::base::{Digest, Epoch, Result, json};
use crate::component::Release;
use crate::debian::script::Script;
use crate::debian::version::Version;
use crate::tree::TreePath;

/// One derivation: everything that decides its output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Bytes that the lock pins. Its identity is what they are, so a change of mirror rebuilds nothing.
    Input {
        /// What the bytes must hash to.
        checksum: Checksum,
    },
    /// A tree that is read already: a rendered overlay.
    Files {
        /// The digest of the tree's JSON.
        tree: Digest,
    },
    /// `hale`, compiled from the checkout and packed by cargo-deb.
    Program {
        /// The digest of everything that decides its bytes: sources, lock, toolchain.
        sources: Digest,
        /// Every file's time.
        epoch: Epoch,
    },
    /// A `.deb`'s tree.
    Unpack {
        /// The package.
        deb: StepId,
    },
    /// Programs out of somebody else's release, as the tree of a package.
    Payload {
        /// The release's bytes.
        input: StepId,
        /// What is wanted of them.
        release: Release,
        /// Texts of ours beside them, by path: the package's copyright file.
        texts: BTreeMap<TreePath, String>,
    },
    /// A tree as a `.deb`.
    Deb {
        /// What the package says of itself.
        package: Package,
        /// What it installs.
        tree: StepId,
        /// Every file's time.
        epoch: Epoch,
    },
    /// Trees as an OCI image layout, one layer each.
    Image {
        /// Its title.
        title: String,
        /// Its version.
        version: Version,
        /// One sentence for people.
        about: String,
        /// Licences as an SPDX expression.
        licences: String,
        /// True things about the image, beside OCI's own.
        annotations: BTreeMap<String, String>,
        /// What machine it is for.
        arch: Arch,
        /// From the bottom up.
        layers: Vec<Layer>,
        /// Every file's time.
        epoch: Epoch,
    },
    /// What a role becomes: other steps' outputs by their place in `dist/<role>/`, and the documents
    /// that say what they are.
    Bundle {
        /// Files and folders.
        parts: BTreeMap<TreePath, StepId>,
        /// What they are made of; a bundle without one gets checksums only.
        bill: Option<Bill>,
    },
}

/// What a package says of itself (deb-control(5)); the writer adds its size and orders the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Control fields.
    pub control: BTreeMap<String, String>,
    /// Files that belong to the administrator once installed.
    pub conffiles: BTreeSet<TreePath>,
    /// Maintainer scripts.
    pub scripts: BTreeMap<Script, String>,
    /// Lines of the triggers file.
    pub triggers: Vec<String>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The package that it is.
    pub package: PackageName,
    /// The package's version.
    pub version: Version,
    /// What it holds.
    pub tree: StepId,
}

impl Step {
    /// Raised when the same text gives other bytes than before.
    fn format(&self) -> u32 {
        1
    }

    /// The canonical text: sorted JSON with the format number.
    pub fn text(&self) -> Result<Vec<u8>> {
        json::canonical(&(self.format(), self))
    }

    /// The digest of the canonical text.
    pub fn id(&self) -> Result<StepId> {
        Ok(StepId(Digest::of(self.text()?)))
    }

    /// What it needs, by the part it plays.
    pub fn inputs(&self) -> BTreeMap<String, StepId> {
        match self {
            Self::Input { .. } | Self::Files { .. } | Self::Program { .. } => BTreeMap::new(),
            Self::Unpack { deb } => BTreeMap::from([("deb".to_owned(), *deb)]),
            Self::Payload { input, .. } => BTreeMap::from([("input".to_owned(), *input)]),
            Self::Deb { tree, .. } => BTreeMap::from([("tree".to_owned(), *tree)]),
            Self::Image { layers, .. } => {
                layers.iter().map(|layer| (layer.package.to_string(), layer.tree)).collect()
            }
            Self::Bundle { parts, bill } => {
                let wares = bill.iter().flat_map(|bill| &bill.packages);
                let trees = wares.map(|ware| (format!("tree of {}", ware.name), ware.tree));
                parts.iter().map(|(path, part)| (path.to_string(), *part)).chain(trees).collect()
            }
        }
    }
}
