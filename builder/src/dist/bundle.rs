//! A role's bundle where people find it.
//!
//! ```text
//! dist/<role>/
//!   hale_…_amd64.deb  hale-common_…_all.deb  hale-<role>_…_all.deb
//!   oci/                 OCI image layout, one layer a package
//!   manifest.json        every file of every package
//!   sbom.spdx.json  provenance.intoto.json
//!   plan.json            the steps that made all this
//!   SHA256SUMS           of everything but itself, the plan and the mark
//!   .hale                the mark: names all of this, which the next build may replace
//! ```

use std::path::Path;

use super::export;
use crate::base::tree::{Node, TreePath};
use crate::base::{Fault, Result};
use crate::plan::{Output, Plan};
use crate::store::Store;

/// Puts a role's bundle at `to`, with the plan that made it beside it.
pub fn export(store: &Store, bundle: &Output, plan: &Plan, to: &Path) -> Result<()> {
    let Output::Tree { tree } = bundle else { return Err(Fault::bug("a bundle is a tree")) };
    let mut tree = store.tree(tree)?;
    let plan = plan.to_json()?;
    let node = Node::file(store.put_bytes(&plan)?, plan.len() as u64, 0o644);
    tree.insert(TreePath::new("plan.json")?, node)?;
    export::export(store, &tree, to)
}

/// Reads the plan that made the bundle in `dist`, if there is one.
pub fn last_plan(dist: &Path) -> Result<Option<Plan>> {
    match std::fs::read(dist.join("plan.json")) {
        Ok(bytes) => Plan::from_json(&bytes).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Fault::io("read", dist.join("plan.json"), e)),
    }
}
