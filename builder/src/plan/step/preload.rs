//! `preload`: images that are on a machine from the start.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::Epoch;
use crate::base::name::{Arch, PackageName};
use crate::base::tree::TreePath;
use crate::formats::debian::version::Version;
use crate::plan::id::StepId;

/// Images as a read-only store: one file system in a file, among the other files of the package that carries them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreloadStep {
    /// The other files.
    pub files: StepId,
    /// The path of the file system among them.
    pub at: TreePath,
    /// The images by the name that they are asked for by.
    pub images: BTreeMap<String, Preloaded>,
    /// The ids that containers run with.
    pub mapping: Mapping,
    /// The machine that they are for.
    pub arch: Arch,
    /// Every file's time.
    pub epoch: Epoch,
}

/// An image that is there from the start: one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preloaded {
    /// The component that it is of: `etcd`.
    pub component: PackageName,
    /// The component's version.
    pub version: Version,
    /// Its license, as an SPDX expression.
    #[serde(rename = "licence")]
    pub license: String,
    /// The command that it runs where a pod names none.
    pub entrypoint: Vec<String>,
    /// The tree that it holds.
    pub tree: StepId,
}

/// Container ids from 0 up stand for the machine's ids from `first` up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The machine's id of the container's root.
    pub first: u32,
    /// The number of ids.
    pub count: u32,
}

impl StepKind for PreloadStep {
    /// One file system since 2.
    fn format(&self) -> u32 {
        2
    }

    fn inputs(&self) -> BTreeSet<StepId> {
        self.images.values().map(|image| image.tree).chain([self.files]).collect()
    }
}
