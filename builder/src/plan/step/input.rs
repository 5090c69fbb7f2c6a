//! `input`: bytes that the lock pins.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::kind::StepKind;
use crate::base::digest::Checksum;
use crate::plan::id::StepId;

/// Bytes that the lock pins. Its identity is what they are, so a change of mirror rebuilds nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputStep {
    /// The checksum of the bytes.
    pub checksum: Checksum,
}

impl StepKind for InputStep {
    fn inputs(&self) -> BTreeSet<StepId> {
        BTreeSet::new()
    }
}
