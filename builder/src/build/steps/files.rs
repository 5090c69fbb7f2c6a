//! Checks that the planner has put a tree and all its files into the store.

use super::context::{RunStep, StepContext};
use crate::base::tree::Kind;
use crate::base::{Fault, Result};
use crate::plan::{FilesStep, Output};

impl RunStep for FilesStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let whole = context.store.tree(&self.tree)?;
        let missing = whole.iter().find(|(_, node)| match &node.kind {
            Kind::File { content, .. } => !context.store.contains(content),
            Kind::Dir | Kind::Symlink { .. } => false,
        });
        match missing {
            Some((path, _)) => Err(Fault::bug(format!("the contents of {path} were not put into the store"))),
            None => Ok(Output::Tree { tree: self.tree }),
        }
    }
}
