//! Packs a tree as a `.deb`.

use super::context::{RunStep, StepContext};
use crate::base::tree::Tree;
use crate::base::{Fault, Result};
use crate::formats::debian::control::Paragraph;
use crate::pack::package::deb::{self, DebSpec};
use crate::plan::{DebStep, Output};

impl RunStep for DebStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let tree = context.inputs.tree(&self.tree)?;
        check_owners(&tree)?;
        let mut control = Paragraph::new();
        for (name, value) in &self.package.control {
            control.set(name, value.as_str())?;
        }
        let spec = DebSpec {
            control: &control,
            conffiles: &self.package.conffiles,
            scripts: &self.package.scripts,
            triggers: &self.package.triggers,
            tree: &tree,
        };
        let mut scratch = context.scratch()?;
        let mut writer = context.store.writer()?;
        deb::write(&spec, context.store, self.epoch, &mut scratch, &mut writer)?;
        let (content, size) = writer.commit()?;
        Ok(Output::Blob { content, size })
    }
}

/// Refuses a tree with files that are not root's. Whoever owns a file rewrites it, and some owners are ids that
/// containers run with. What belongs to others is made on the node (tmpfiles.d(5)) or lies in a read-only file system.
fn check_owners(tree: &Tree) -> Result<()> {
    match tree.iter().find(|(_, node)| (node.uid, node.gid) != (0, 0)) {
        Some((path, node)) => Err(Fault::integrity(format!("/{path} of a package is not root's"))
            .expected_found("0:0", format!("{}:{}", node.uid, node.gid))),
        None => Ok(()),
    }
}
