//! What a step runs with.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crate::base::tree::{Memory, Tree};
use crate::base::{Digest, Epoch, Fault, Result};
use crate::host::cargo::Toolchain;
use crate::host::sandbox::Sandbox;
use crate::plan::intermediate::Intermediate;
use crate::plan::{Output, StepId};
use crate::rootfs::{self, Builder};
use crate::store::Store;

/// One kind of step, as what it does.
pub(super) trait RunStep {
    /// Makes the step's output from its inputs' outputs.
    fn run(&self, context: &StepContext<'_>) -> Result<Output>;

    /// Returns what [`RunStep::run`] makes on its way and keeps.
    fn intermediates(&self, _: &StepInputs<'_>) -> Result<Vec<Intermediate>> {
        Ok(Vec::new())
    }
}

/// What a step's inputs made, and the store that has it.
pub(super) struct StepInputs<'a> {
    /// The store.
    pub(super) store: &'a Store,
    /// The outputs.
    pub(super) outputs: &'a BTreeMap<StepId, Output>,
}

impl StepInputs<'_> {
    /// Returns an input's output.
    pub(super) fn output(&self, step: &StepId) -> Result<Output> {
        let output = self.outputs.get(step).copied();
        output.ok_or_else(|| Fault::bug(format!("step {step} was not made first")))
    }

    /// Returns the digests of some inputs' outputs, in the same order.
    pub(super) fn digests<'s>(&self, steps: impl Iterator<Item = &'s StepId>) -> Result<Vec<Digest>> {
        steps.map(|step| Ok(self.output(step)?.digest())).collect()
    }

    /// Reads the tree that an input made.
    pub(super) fn tree(&self, step: &StepId) -> Result<Tree> {
        match self.output(step)? {
            Output::Tree { tree } => self.store.tree(&tree),
            Output::Blob { .. } => {
                Err(Fault::bug(format!("step {step} made a file where a tree was needed")))
            }
        }
    }
}

/// What a step runs with.
pub(super) struct StepContext<'a> {
    /// The step's own id.
    pub(super) id: StepId,
    /// What the step's inputs made.
    pub(super) inputs: StepInputs<'a>,
    /// The store that has the inputs and takes the output.
    pub(super) store: &'a Store,
    /// The checkout's top folder.
    pub(super) checkout: &'a Path,
    /// The compiler.
    pub(super) toolchain: &'a Toolchain,
}

impl StepContext<'_> {
    /// Makes a root tree in a sandbox whose helpers are this very program.
    pub(super) fn root(
        &self,
        epoch: Epoch,
        make: impl FnOnce(&Builder<'_>) -> Result<Digest>,
    ) -> Result<Output> {
        let sandbox = Sandbox::of_this_program()?;
        let builder =
            Builder { store: self.store, sandbox: &sandbox, epoch, limits: rootfs::Timeouts::default() };
        Ok(Output::Tree { tree: make(&builder)? })
    }

    /// Opens a file without a name, for what is read once more.
    pub(super) fn scratch(&self) -> Result<File> {
        let made = tempfile::tempfile_in(self.store.scratch());
        made.map_err(|e| Fault::io("write in", self.store.scratch(), e))
    }

    /// Puts a tree and the bytes of `contents` into the store.
    pub(super) fn keep(&self, tree: &Tree, contents: &Memory) -> Result<Output> {
        let batch = self.store.batch()?;
        for (_, bytes) in contents.iter() {
            batch.put_bytes(bytes)?;
        }
        let tree = batch.put_bytes(&tree.to_json()?)?;
        batch.commit()?;
        Ok(Output::Tree { tree })
    }
}
