//! Unpacks a `.deb` of ours.

use super::context::{RunStep, StepContext};
use crate::base::tree::Contents;
use crate::base::{Fault, Result};
use crate::formats::debian::deb::{UnpackLimits, UnpackedDeb};
use crate::plan::{Output, UnpackStep};

impl RunStep for UnpackStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let Output::Blob { content, size } = context.inputs.output(&self.deb)? else {
            return Err(Fault::bug("a package is a file"));
        };
        let (store, limits) = (context.store, UnpackLimits::for_size(size));
        let batch = store.batch()?;
        let read = UnpackedDeb::read(&content.short(), store.open(&content)?, limits, &mut &batch)?;
        batch.commit()?;
        Ok(Output::Tree { tree: store.put_tree(&read.tree)? })
    }
}
