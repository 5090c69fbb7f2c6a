//! Installs more packages in a root tree.

use super::context::{RunStep, StepContext};
use crate::base::Result;
use crate::plan::{InstallStep, Output};

impl RunStep for InstallStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let root = context.output(&self.root)?.digest();
        let debs = context.digests(self.packages.values())?;
        let debs = self.packages.keys().cloned().zip(debs).collect();
        context.root(self.epoch, |builder| builder.install(&root, &debs, self.owner, &self.held))
    }
}
