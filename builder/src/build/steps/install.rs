//! Installs more packages in a root tree.

use super::context::{RunStep, StepContext, StepInputs};
use crate::base::Result;
use crate::plan::intermediate::Intermediate;
use crate::plan::{InstallStep, Output};

impl RunStep for InstallStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let root = context.inputs.output(&self.root)?.digest();
        let debs = context.inputs.digests(self.packages.values())?;
        let debs = self.packages.keys().cloned().zip(debs).collect();
        context.root(self.epoch, |builder| builder.install(&root, &debs, self.owner, &self.held))
    }

    fn intermediates(&self, inputs: &StepInputs<'_>) -> Result<Vec<Intermediate>> {
        let root = inputs.output(&self.root)?.digest();
        Ok(vec![Intermediate::FurnishedRoot { root, epoch: self.epoch }])
    }
}
