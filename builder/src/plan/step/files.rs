//! `files`: a tree that is in the store before the build begins.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::Digest;
use crate::plan::id::StepId;

/// A tree that the planner has put into the store: a rendered overlay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesStep {
    /// The digest of the tree's JSON.
    pub tree: Digest,
}

impl StepKind for FilesStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        BTreeSet::new()
    }
}
