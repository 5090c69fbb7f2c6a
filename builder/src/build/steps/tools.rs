//! Merges packages into a tree of tools.

use super::context::{RunStep, StepContext, StepInputs};
use crate::base::Result;
use crate::plan::intermediate::Intermediate;
use crate::plan::{Output, ToolsStep};
use crate::rootfs;

impl RunStep for ToolsStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let unpacked = rootfs::unpacked(context.store, &context.inputs.digests(self.packages.values())?)?;
        Ok(Output::Tree { tree: rootfs::merge_only(context.store, &unpacked)? })
    }

    fn intermediates(&self, inputs: &StepInputs<'_>) -> Result<Vec<Intermediate>> {
        let debs = inputs.digests(self.packages.values())?;
        Ok(debs.into_iter().map(|deb| Intermediate::UnpackedPackage { deb }).collect())
    }
}
