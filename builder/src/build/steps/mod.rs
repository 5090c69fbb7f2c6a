//! What each kind of step does: a file for each, called as its text calls it. Its fields stand in the file of the same
//! name in [`plan`](crate::plan).

mod bundle;
mod closure;
mod compile;
mod context;
pub mod converted;
mod deb;
pub mod disk;
mod files;
mod image;
mod input;
mod install;
pub mod payload;
mod preload;
mod program;
mod root;
mod tools;
mod unpack;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::executor::Executor;
use crate::base::Result;
use crate::base::progress::Progress;
use crate::host::cargo::Toolchain;
use crate::plan::intermediate::Intermediate;
use crate::plan::{LabelledStep, Output, Step, StepId};
use crate::store::Store;
use context::{RunStep, StepContext, StepInputs};

/// Runs steps with a store, and a checkout that programs are compiled from.
pub struct StepRunner<'a> {
    /// The store that has the inputs and takes the outputs.
    pub store: &'a Store,
    /// The checkout's top folder.
    pub checkout: PathBuf,
    /// The compiler.
    pub toolchain: Toolchain,
    /// Where it is told how far a build is.
    pub progress: Box<dyn Progress>,
}

impl Executor for StepRunner<'_> {
    fn recall(&self, id: StepId) -> Result<Option<Output>> {
        self.store.output(&id)
    }

    fn make(&self, id: StepId, planned: &LabelledStep, inputs: &BTreeMap<StepId, Output>) -> Result<Output> {
        let (checkout, toolchain) = (&self.checkout, &self.toolchain);
        let inputs = StepInputs { store: self.store, outputs: inputs };
        let context = StepContext { id, inputs, store: self.store, checkout, toolchain };
        let output = kind(&planned.step).run(&context)?;
        self.store.record(&id, &output)?;
        Ok(output)
    }

    fn expect(&self, steps: usize) {
        self.progress.expect(steps as u64);
    }

    fn report(&self, planned: &LabelledStep, done: bool) {
        match done {
            true => self.progress.advance(1),
            false => self.progress.name(&planned.label),
        }
    }
}

/// Returns what a step makes on its way and keeps; `None` while the store has not all of its inputs.
pub fn intermediates(store: &Store, step: &Step) -> Result<Option<Vec<Intermediate>>> {
    let mut outputs = BTreeMap::new();
    for input in step.inputs() {
        let Some(output) = store.output(&input)? else { return Ok(None) };
        outputs.insert(input, output);
    }
    kind(step).intermediates(&StepInputs { store, outputs: &outputs }).map(Some)
}

fn kind(step: &Step) -> &dyn RunStep {
    match step {
        Step::Input(step) => step,
        Step::Files(step) => step,
        Step::Program(step) => step,
        Step::Unpack(step) => step,
        Step::Payload(step) => step,
        Step::Deb(step) => step,
        Step::Image(step) => step,
        Step::Root(step) => step,
        Step::Install(step) => step,
        Step::Compile(step) => step,
        Step::Tools(step) => step,
        Step::Closure(step) => step,
        Step::Preload(step) => step,
        Step::Disk(step) => step,
        Step::Converted(step) => step,
        Step::Bundle(step) => step,
    }
}
