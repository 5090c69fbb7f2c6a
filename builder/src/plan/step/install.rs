//! `install`: more packages in a root tree.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::Epoch;
use crate::base::name::PackageName;
use crate::plan::id::StepId;
use crate::plan::intermediate::IntermediateKind;

/// A root tree with more packages, installed by its own dpkg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallStep {
    /// The root.
    pub root: StepId,
    /// The `.deb`s by name.
    pub packages: BTreeMap<PackageName, StepId>,
    /// Packages that are on hold afterwards.
    pub held: BTreeSet<PackageName>,
    /// The user and group beyond Debian's own ids that may own what the packages make.
    pub owner: u32,
    /// Every file's time.
    pub epoch: Epoch,
}

impl StepKind for InstallStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        self.packages.values().copied().chain([self.root]).collect()
    }

    fn intermediates(&self) -> Option<IntermediateKind> {
        Some(IntermediateKind::FurnishedRoot)
    }
}
