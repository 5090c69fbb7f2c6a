//! Installs packages as a root tree.

use super::context::{RunStep, StepContext};
use crate::base::Result;
use crate::plan::{Output, RootStep};
use crate::rootfs;

impl RunStep for RootStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let unpacked = rootfs::unpacked(context.store, &context.digests(self.packages.values())?)?;
        context.root(self.epoch, |builder| builder.assemble(&unpacked))
    }
}
