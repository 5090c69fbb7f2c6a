//! `deb`: a tree as a Debian package.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::Epoch;
use crate::base::tree::TreePath;
use crate::formats::debian::script::Script;
use crate::plan::id::StepId;

/// A tree as a `.deb`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebStep {
    /// The package's metadata.
    pub package: DebMetadata,
    /// The tree that it installs.
    pub tree: StepId,
    /// Every file's time.
    pub epoch: Epoch,
}

/// A package's metadata (deb-control(5)); the writer adds its size and orders the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebMetadata {
    /// Control fields.
    pub control: BTreeMap<String, String>,
    /// Files that belong to the administrator once installed.
    pub conffiles: BTreeSet<TreePath>,
    /// Maintainer scripts.
    pub scripts: BTreeMap<Script, String>,
    /// Lines of the triggers file.
    pub triggers: Vec<String>,
}

impl StepKind for DebStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        [self.tree].into()
    }
}
