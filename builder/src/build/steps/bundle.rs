//! Lays out a bundle, and writes the documents that describe it.

use super::context::{RunStep, StepContext};
use crate::base::tree::{Memory, Node, Tree, TreePath};
use crate::base::{Fault, Result};
use crate::pack::document::{manifest, provenance, sbom};
use crate::plan::bill::{BillOfMaterials, BundlePackage};
use crate::plan::{BundleStep, Output};

impl RunStep for BundleStep {
    fn run(&self, context: &StepContext<'_>) -> Result<Output> {
        let (mut tree, mut documents) = (self.lay_out(context)?, Memory::default());
        if let Some(bill) = &self.bill {
            describe(bill, context, &mut tree, &mut documents)?;
        }
        let sums = documents.file(manifest::checksums(&tree), 0o644);
        tree.insert(TreePath::new("SHA256SUMS")?, sums)?;
        context.keep(&tree, &documents)
    }
}

impl BundleStep {
    /// Returns the parts in one tree.
    fn lay_out(&self, context: &StepContext<'_>) -> Result<Tree> {
        let mut tree = Tree::new();
        for (path, part) in &self.parts {
            match context.inputs.output(part)? {
                Output::Blob { content, size } => {
                    tree.insert(path.clone(), Node::file(content, size, 0o644))?
                }
                Output::Tree { tree: inner } => {
                    tree.insert(path.clone(), Node::dir(0o755))?;
                    for (below, node) in context.store.tree(&inner)?.iter() {
                        tree.insert(path.join(below.as_str())?, node.clone())?;
                    }
                }
            }
        }
        Ok(tree)
    }
}

/// Adds the documents that describe a bundle: each covers what was there before it.
fn describe(
    bill: &BillOfMaterials,
    context: &StepContext<'_>,
    tree: &mut Tree,
    documents: &mut Memory,
) -> Result<()> {
    let trees = bill.packages.iter().map(|package| context.inputs.tree(&package.tree));
    let trees = trees.collect::<Result<Vec<_>>>()?;
    let versions: Vec<_> = bill.packages.iter().map(|package| package.version.to_string()).collect();
    let packages = bill.packages.iter().zip(&trees).zip(&versions);
    let packages = packages.map(|((package, tree), version)| contents(package, version, tree, context));
    let whole = manifest::BundleContents {
        line: &bill.line,
        role: &bill.role,
        arch: bill.arch,
        epoch: bill.epoch,
        recipe: bill.recipe,
        lock: bill.lock,
        packages: packages.collect::<Result<_>>()?,
        inputs: bill.inputs.iter().cloned().collect(),
    };
    let mut add = |tree: &mut Tree, name: &str, bytes: Vec<u8>| {
        let node = documents.file(bytes, 0o644);
        tree.insert(TreePath::new(name)?, node)
    };
    add(tree, "manifest.json", manifest::document(&whole)?)?;
    add(tree, "sbom.spdx.json", sbom::document(&whole, context.store)?)?;
    let provenance = provenance::document(&whole, tree, &bill.builder)?;
    add(tree, "provenance.intoto.json", provenance)
}

/// Returns a package as the documents describe it.
fn contents<'a>(
    package: &'a BundlePackage,
    version: &'a str,
    tree: &'a Tree,
    context: &StepContext<'_>,
) -> Result<manifest::PackageContents<'a>> {
    let Output::Blob { content, size } = context.inputs.output(&package.deb)? else {
        return Err(Fault::bug(format!("{} is no file", package.name)));
    };
    Ok(manifest::PackageContents {
        name: &package.name,
        version,
        arch: package.arch,
        deb: (content, size),
        origin: package.origin.clone(),
        source: package.source,
        tree,
    })
}
