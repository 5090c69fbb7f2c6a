//! Which intermediates a step needs, and how many of them the store has.

use super::steps;
use crate::base::Result;
use crate::plan::Step;
use crate::plan::intermediate::IntermediateKind;
use crate::store::Store;

/// The intermediates of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntermediateCount {
    /// What they are.
    pub kind: IntermediateKind,
    /// How many the step needs, and how many of these are in the store. Nobody knows before the step's inputs are made.
    pub known: Option<KnownCount>,
}

/// How many intermediates a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCount {
    /// All of them.
    pub needed: usize,
    /// Those in the store.
    pub stored: usize,
}

/// Counts the intermediates of a step; `None` for a step that has none.
pub fn count(store: &Store, step: &Step) -> Result<Option<IntermediateCount>> {
    let Some(kind) = step.intermediates() else { return Ok(None) };
    let Some(needed) = steps::intermediates(store, step)? else {
        return Ok(Some(IntermediateCount { kind, known: None }));
    };
    let mut known = KnownCount { needed: needed.len(), stored: 0 };
    for intermediate in &needed {
        known.stored += usize::from(store.has_intermediate(intermediate)?);
    }
    Ok(Some(IntermediateCount { kind, known: Some(known) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Checksum;
    use crate::base::{Digest, Epoch};
    use crate::pack::package::deb;
    use crate::plan::{FilesStep, Output, RootStep, StepId, ToolsStep};
    use crate::rootfs;

    #[test]
    fn what_a_step_makes_on_its_way_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let debs = ["one", "two"].map(|name| deb::sample_named(name));
        let ids = debs.each_ref().map(|deb| StepId::of_input(Checksum::Sha256(Digest::of(deb))).unwrap());
        let packages = ["one", "two"].map(|name| name.parse().unwrap()).into_iter().zip(ids).collect();
        let step = Step::from(ToolsStep { packages });
        let kind = IntermediateKind::UnpackedPackage;
        let unknown = IntermediateCount { kind, known: None };
        assert_eq!(count(&store, &step).unwrap(), Some(unknown));
        for (deb, id) in debs.iter().zip(&ids) {
            let content = store.put_bytes(deb).unwrap();
            store.record(id, &Output::Blob { content, size: deb.len() as u64 }).unwrap();
        }
        let counted =
            |stored| Some(IntermediateCount { kind, known: Some(KnownCount { needed: 2, stored }) });
        assert_eq!(count(&store, &step).unwrap(), counted(0));
        rootfs::unpacked(&store, &[Digest::of(&debs[0])]).unwrap();
        assert_eq!(count(&store, &step).unwrap(), counted(1));
        // Whoever needs the same finds it.
        let Step::Tools(ToolsStep { packages }) = step else { unreachable!() };
        let epoch = Epoch::new(1_700_000_000).unwrap();
        assert_eq!(count(&store, &RootStep { packages, epoch }.into()).unwrap(), counted(1));
        assert_eq!(count(&store, &FilesStep { tree: Digest::of("") }.into()).unwrap(), None);
    }
}
