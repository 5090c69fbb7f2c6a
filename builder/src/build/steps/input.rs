//! Inputs are fetched before a build begins: one that must be made is one that is missing.

use super::context::{RunStep, StepContext};
use crate::base::{Fault, Result};
use crate::plan::{InputStep, Output};

impl RunStep for InputStep {
    fn run(&self, _: &StepContext<'_>) -> Result<Output> {
        let what = format!("the bytes of {} are not in the store", self.checksum);
        Err(Fault::remote(what).help("cargo xtask fetch"))
    }
}
