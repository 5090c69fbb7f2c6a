//! Compiles a Debian source package in a root tree.

use super::context::{RunStep, StepContext};
use crate::base::Result;
use crate::plan::{CompileStep, Output};

impl RunStep for CompileStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let root = context.inputs.output(&self.root)?.digest();
        let files = context.inputs.digests(self.source.values())?;
        let files = self.source.keys().cloned().zip(files).collect();
        context.root(self.epoch, |builder| builder.compile(&root, &files, &self.compilation))
    }
}
