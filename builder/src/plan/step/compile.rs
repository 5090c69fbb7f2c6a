//! `compile`: programs of a Debian source package.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::Epoch;
use crate::plan::id::StepId;
use crate::recipe::source_build::Compilation;

/// Programs compiled from a source package of Debian's, as a tree with nothing else in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileStep {
    /// The source package's files by name.
    pub source: BTreeMap<String, StepId>,
    /// A root tree with what the build needs.
    pub root: StepId,
    /// The command, its environment and what it makes.
    pub compilation: Compilation,
    /// Every file's time.
    pub epoch: Epoch,
}

impl StepKind for CompileStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        self.source.values().copied().chain([self.root]).collect()
    }
}
