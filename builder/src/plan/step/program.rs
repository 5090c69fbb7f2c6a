//! `program`: the package of a program of ours.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::{Digest, Epoch};
use crate::plan::id::StepId;

/// `hale`, compiled from the checkout and packed by cargo-deb.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramStep {
    /// The digest of everything that decides its bytes: sources, lock, toolchain.
    pub sources: Digest,
    /// Every file's time.
    pub epoch: Epoch,
}

impl StepKind for ProgramStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        BTreeSet::new()
    }
}
