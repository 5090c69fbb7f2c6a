//! `image`: an OCI image layout.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::Epoch;
use crate::base::name::{Arch, PackageName};
use crate::formats::debian::version::Version;
use crate::plan::id::StepId;

/// Trees as an OCI image layout, one layer each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageStep {
    /// Its title.
    pub title: String,
    /// Its version.
    pub version: Version,
    /// One sentence for people.
    pub about: String,
    /// Its licenses as an SPDX expression.
    #[serde(rename = "licences")]
    pub licenses: String,
    /// Annotations beside OCI's own.
    pub annotations: BTreeMap<String, String>,
    /// The machine that it is for.
    pub arch: Arch,
    /// From the bottom up.
    pub layers: Vec<LayerSpec>,
    /// Every file's time.
    pub epoch: Epoch,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSpec {
    /// The package that it is.
    pub package: PackageName,
    /// The package's version.
    pub version: Version,
    /// The tree that it holds.
    pub tree: StepId,
}

impl StepKind for ImageStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        self.layers.iter().map(|layer| layer.tree).collect()
    }
}
