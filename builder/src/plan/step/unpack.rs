//! `unpack`: the tree that a `.deb` installs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::plan::id::StepId;

/// The tree that a `.deb` installs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackStep {
    /// The package.
    pub deb: StepId,
}

impl StepKind for UnpackStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        [self.deb].into()
    }
}
