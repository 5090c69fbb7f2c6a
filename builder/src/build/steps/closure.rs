//! Takes programs and the libraries that they need out of a tree.

use super::context::{RunStep, StepContext};
use crate::base::Result;
use crate::pack::image::closure;
use crate::plan::{ClosureStep, Output};

impl RunStep for ClosureStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let tree = closure::closure(&context.inputs.tree(&self.tree)?, context.store, &self.programs)?;
        Ok(Output::Tree { tree: context.store.put_tree(&tree)? })
    }
}
