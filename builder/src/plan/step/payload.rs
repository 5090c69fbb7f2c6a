//! `payload`: the files of a package, taken out of an upstream release.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::tree::TreePath;
use crate::plan::id::StepId;
use crate::recipe::component::UpstreamRelease;

/// Programs out of an upstream release, as the tree of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadStep {
    /// The release's bytes.
    pub input: StepId,
    /// The files that are wanted of it.
    pub release: UpstreamRelease,
    /// Texts of ours beside them, by path: the package's copyright file.
    pub texts: BTreeMap<TreePath, String>,
}

impl StepKind for PayloadStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        [self.input].into()
    }
}
