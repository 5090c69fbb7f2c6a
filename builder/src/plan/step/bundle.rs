//! `bundle`: the outputs of a role in one folder.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::tree::TreePath;
use crate::plan::bill::BillOfMaterials;
use crate::plan::id::StepId;

/// The bundle of a role: other steps' outputs by their place in `dist/<role>/`, and the documents that describe them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleStep {
    /// Files and folders.
    pub parts: BTreeMap<TreePath, StepId>,
    /// The bill of what they are made of; a bundle without one gets checksums only.
    pub bill: Option<BillOfMaterials>,
}

impl StepKind for BundleStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        let packages = self.bill.iter().flat_map(|bill| &bill.packages);
        self.parts.values().copied().chain(packages.map(|package| package.tree)).collect()
    }
}
