//! A step's id and its output.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::digest::serde_as_text;
use crate::base::{Digest, Fault, Result};

/// A step's identity: the digest of its canonical text, in which inputs stand by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub Digest);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl FromStr for StepId {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        Digest::from_hex(text).map(Self)
    }
}

serde_as_text!(StepId);

/// The output of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Output {
    /// One file: its digest and its length in bytes.
    Blob {
        /// The digest of its bytes.
        content: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A [`Tree`](crate::base::tree::Tree): the digest of its canonical JSON, which is a blob too.
    Tree {
        /// The digest of the tree's JSON.
        tree: Digest,
    },
}

impl Output {
    /// Returns the digest of the blob that is the output, or describes it.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Blob { content, .. } => *content,
            Self::Tree { tree } => *tree,
        }
    }
}
