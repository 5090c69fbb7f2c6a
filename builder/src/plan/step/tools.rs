//! `tools`: programs that the build itself runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::name::PackageName;
use crate::plan::id::StepId;
use crate::plan::intermediate::IntermediateKind;

/// Packages merged in one tree and never installed: programs that are run from the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolsStep {
    /// The `.deb`s by name.
    pub packages: BTreeMap<PackageName, StepId>,
}

impl StepKind for ToolsStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        self.packages.values().copied().collect()
    }

    fn intermediates(&self) -> Option<IntermediateKind> {
        Some(IntermediateKind::UnpackedPackage)
    }
}
