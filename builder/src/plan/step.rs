//! The kinds of step. Each has a format number; an algorithm that changes its bytes raises it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StepId;
use crate::base::digest::Checksum;
use crate::base::{Digest, Result, json};

/// One derivation: everything that decides its output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Bytes that the lock pins. Its identity is what they are, so a change of mirror rebuilds nothing.
    Input {
        /// What the bytes must hash to.
        checksum: Checksum,
    },
    /// A tree that is read already: a rendered overlay.
    Files {
        /// The digest of the tree's JSON.
        tree: Digest,
    },
    /// A `.deb`'s tree.
    Unpack {
        /// The package.
        deb: StepId,
    },
}

impl Step {
    /// Raised when the same text gives other bytes than before.
    fn format(&self) -> u32 {
        match self {
            Self::Input { .. } | Self::Files { .. } | Self::Unpack { .. } => 1,
        }
    }

    /// The canonical text: sorted JSON with the format number.
    pub fn text(&self) -> Result<Vec<u8>> {
        json::canonical(&(self.format(), self))
    }

    /// The digest of the canonical text.
    pub fn id(&self) -> Result<StepId> {
        Ok(StepId(Digest::of(self.text()?)))
    }

    /// What it needs, by the part it plays.
    pub fn inputs(&self) -> BTreeMap<String, StepId> {
        match self {
            Self::Input { .. } | Self::Files { .. } => BTreeMap::new(),
            Self::Unpack { deb } => BTreeMap::from([("deb".to_owned(), *deb)]),
        }
    }
}
