//! Compiles and packs a program of ours.

use super::context::{RunStep, StepContext};
use crate::base::Result;
use crate::host::cargo;
use crate::plan::{Output, ProgramStep};

impl RunStep for ProgramStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let package = cargo::build(context.checkout, context.toolchain, self.epoch)?;
        let size = package.deb.len() as u64;
        Ok(Output::Blob { content: context.store.put_bytes(&package.deb)?, size })
    }
}
