//! Installs packages as a root tree.

use super::context::{RunStep, StepContext, StepInputs};
use crate::base::Result;
use crate::plan::intermediate::Intermediate;
use crate::plan::{Output, RootStep};
use crate::rootfs;

impl RunStep for RootStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let unpacked = rootfs::unpacked(context.store, &context.inputs.digests(self.packages.values())?)?;
        context.root(self.epoch, |builder| builder.assemble(&unpacked))
    }

    fn intermediates(&self, inputs: &StepInputs<'_>) -> Result<Vec<Intermediate>> {
        let debs = inputs.digests(self.packages.values())?;
        Ok(debs.into_iter().map(|deb| Intermediate::UnpackedPackage { deb }).collect())
    }
}
