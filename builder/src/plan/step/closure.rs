//! `closure`: programs with the libraries that they need.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::tree::TreePath;
use crate::plan::id::StepId;

/// Programs of a tree, and the libraries that they need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosureStep {
    /// The tree that has them.
    pub tree: StepId,
    /// The programs.
    pub programs: BTreeSet<TreePath>,
}

impl StepKind for ClosureStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        [self.tree].into()
    }
}
