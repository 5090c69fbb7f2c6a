//! Two sources of contents as one.

use std::io::Read;

use super::Contents;
use crate::base::{Digest, Result};

/// Two sources of contents: the first that has the bytes gives them.
pub struct Union<'a>(pub &'a dyn Contents, pub &'a dyn Contents);

impl Contents for Union<'_> {
    fn open(&self, content: &Digest) -> Result<Box<dyn Read + '_>> {
        self.0.open(content).or_else(|_| self.1.open(content))
    }
}
