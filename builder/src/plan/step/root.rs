//! `root`: the tree of an installed system.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::Epoch;
use crate::base::name::PackageName;
use crate::plan::id::StepId;
use crate::plan::intermediate::IntermediateKind;

/// Packages installed together as one root tree: unpacked, then configured by their own scripts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootStep {
    /// The `.deb`s by name.
    pub packages: BTreeMap<PackageName, StepId>,
    /// Every file's time.
    pub epoch: Epoch,
}

impl StepKind for RootStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        self.packages.values().copied().collect()
    }

    fn intermediates(&self) -> Option<IntermediateKind> {
        Some(IntermediateKind::UnpackedPackage)
    }
}
