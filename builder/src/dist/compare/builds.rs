//! Two builds of one checkout: the first step whose text or bytes are not the same.

use std::fmt;

use super::bytes::{self, Difference};
use crate::base::Result;
use crate::base::tree::{Contents, Union};
use crate::build::steps;
use crate::plan::why;
use crate::plan::{LabelledStep, Output, Plan, StepId};
use crate::store::Store;

/// One build to compare: what was planned, and the store it was made in.
pub struct BuildRecord<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The store that has its outputs.
    pub store: &'a Store,
}

/// The first step whose inputs or output differ between two builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step's label.
    pub step: String,
    /// Its id in the first build.
    pub id: StepId,
    /// The difference.
    pub how: DivergenceKind,
}

/// The difference of two builds of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DivergenceKind {
    /// Its inputs differ: reading the checkout gave something else.
    Text(String),
    /// The same went in, other bytes came out.
    Bytes(Difference),
    /// One build has an output that the other has not.
    Missing,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step `{}` ({}): ", self.step, &self.id.to_string()[..12])?;
        match &self.how {
            DivergenceKind::Text(change) => write!(f, "was given other inputs: {change}"),
            DivergenceKind::Bytes(difference) => write!(f, "made other bytes: {difference}"),
            DivergenceKind::Missing => f.write_str("was made in one build only"),
        }
    }
}

/// Counts the outputs that agree, or returns the first step, inputs before what needs them, that does not.
pub fn compare(
    left: &BuildRecord<'_>,
    right: &BuildRecord<'_>,
) -> Result<std::result::Result<usize, Divergence>> {
    let mut agree = 0;
    for (id, planned) in left.plan.iter() {
        let part = |how| Divergence { step: planned.label.clone(), id, how };
        if right.plan.get(&id).is_none() {
            let change = text_change(left, right, &planned.label);
            return Ok(Err(part(DivergenceKind::Text(change))));
        }
        if let Some(divergence) = intermediates(left, right, planned)? {
            return Ok(Err(divergence));
        }
        match (left.store.output(&id)?, right.store.output(&id)?) {
            (Some(a), Some(b)) => match differ((&a, left.store), (&b, right.store))? {
                Some(difference) => return Ok(Err(part(DivergenceKind::Bytes(difference)))),
                None => agree += 1,
            },
            // What no goal needed was made in neither.
            (None, None) => {}
            _ if left.plan.goals().any(|goal| goal == id) => return Ok(Err(part(DivergenceKind::Missing))),
            _ => {}
        }
    }
    Ok(Ok(agree))
}

/// Returns the first intermediate of a step that both builds made, and made differently: the step's inputs agree.
fn intermediates(
    left: &BuildRecord<'_>,
    right: &BuildRecord<'_>,
    planned: &LabelledStep,
) -> Result<Option<Divergence>> {
    for intermediate in steps::intermediates(left.store, &planned.step)?.unwrap_or_default() {
        let id = intermediate.id()?;
        let (Some(a), Some(b)) = (left.store.output(&id)?, right.store.output(&id)?) else { continue };
        if let Some(difference) = differ((&a, left.store), (&b, right.store))? {
            let step = format!("{}, {}", planned.label, intermediate.kind());
            return Ok(Some(Divergence { step, id, how: DivergenceKind::Bytes(difference) }));
        }
    }
    Ok(None)
}

fn differ(left: (&Output, &Store), right: (&Output, &Store)) -> Result<Option<Difference>> {
    let (a, b): (&dyn Contents, &dyn Contents) = (left.1, right.1);
    bytes::outputs((left.0, a), (right.0, b))
}

fn text_change(left: &BuildRecord<'_>, right: &BuildRecord<'_>, label: &str) -> String {
    let both = Union(left.store, right.store);
    let chain = why::why(left.plan, right.plan, label, &both).unwrap_or_default();
    chain.last().map_or_else(|| format!("the other build has no step called {label}"), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::base::digest::Checksum;
    use crate::base::tree::{Node, Tree, TreePath};
    use crate::plan::intermediate::Intermediate;
    use crate::plan::{InputStep, ToolsStep};

    /// A store that has a package, and a tree with a file of this mode as what it was unpacked to.
    fn store(folder: &std::path::Path, deb: &[u8], mode: u16) -> Store {
        let store = Store::open(folder).unwrap();
        let content = store.put_bytes(deb).unwrap();
        let id = StepId::of_input(Checksum::Sha256(content)).unwrap();
        store.record(&id, &Output::Blob { content, size: deb.len() as u64 }).unwrap();
        let mut tree = Tree::new();
        tree.insert(TreePath::new("a").unwrap(), Node::file(store.put_bytes(b"").unwrap(), 0, mode)).unwrap();
        let output = Output::Tree { tree: store.put_tree(&tree).unwrap() };
        let unpacked = Intermediate::UnpackedPackage { deb: content };
        assert_eq!(store.intermediate(&unpacked, || Ok(output)).unwrap(), output);
        store
    }

    #[test]
    fn an_intermediate_that_differs_is_named_before_its_step() {
        let (folder, deb) = (tempfile::tempdir().unwrap(), b"a package");
        let mut plan = Plan::new();
        let input = plan.add("input a", InputStep { checksum: Checksum::Sha256(Digest::of(deb)) }).unwrap();
        let packages = [("aa".parse().unwrap(), input)].into();
        plan.add("tools", ToolsStep { packages }).unwrap();
        let stores = ["left", "same", "other"].map(|name| folder.path().join(name));
        let [left, same, other] = [0, 1, 2].map(|at| store(&stores[at], deb, [0o644, 0o644, 0o755][at]));
        let record = |store| BuildRecord { plan: &plan, store };
        assert_eq!(compare(&record(&left), &record(&same)).unwrap(), Ok(1));
        let divergence = compare(&record(&left), &record(&other)).unwrap().unwrap_err();
        assert_eq!(divergence.step, "tools, unpacked package");
    }
}
