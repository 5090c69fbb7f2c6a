//! Merges packages into a tree of tools.

use super::context::{RunStep, StepContext};
use crate::base::Result;
use crate::plan::{Output, ToolsStep};
use crate::rootfs;

impl RunStep for ToolsStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let unpacked = rootfs::unpacked(context.store, &context.digests(self.packages.values())?)?;
        Ok(Output::Tree { tree: rootfs::merge_only(context.store, &unpacked)? })
    }
}
