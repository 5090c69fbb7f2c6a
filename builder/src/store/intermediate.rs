//! Intermediates: recorded as steps are, or laid out among the trees.

use super::Store;
use crate::base::Result;
use crate::plan::Output;
use crate::plan::intermediate::{Intermediate, IntermediateKind};

impl Store {
    /// Returns the output of an intermediate, made first if it is not there.
    pub(crate) fn intermediate(
        &self,
        intermediate: &Intermediate,
        make: impl FnOnce() -> Result<Output>,
    ) -> Result<Output> {
        let id = intermediate.id()?;
        if let Some(known) = self.output(&id)? {
            return Ok(known);
        }
        let made = make()?;
        self.record(&id, &made)?;
        Ok(made)
    }

    /// Returns whether an intermediate is there.
    pub fn has_intermediate(&self, intermediate: &Intermediate) -> Result<bool> {
        let id = intermediate.id()?;
        match intermediate.kind() {
            IntermediateKind::FurnishedRoot => Ok(self.trees().join(id.to_string()).is_dir()),
            IntermediateKind::UnpackedPackage | IntermediateKind::Initramfs => {
                Ok(self.output(&id)?.is_some())
            }
        }
    }
}
