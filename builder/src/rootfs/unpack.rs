//! Unpacking: a `.deb` becomes a tree in the store.

use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

use rayon::prelude::*;

use super::package::{CONTROL, DATA};
use crate::base::tree::{Contents, Node, Tree, TreePath};
use crate::base::{Digest, Result};
use crate::formats::debian::deb::{UnpackLimits, UnpackedDeb};
use crate::formats::debian::script::Script;
use crate::plan::intermediate::Intermediate;
use crate::plan::{Output, StepId};
use crate::store::{Batch, Store};

/// Returns the trees of `.deb`s in the same order; each is unpacked once, ever ([`Intermediate::UnpackedPackage`]).
pub(crate) fn unpacked(store: &Store, debs: &[Digest]) -> Result<Vec<Digest>> {
    let id = |deb: &Digest| Intermediate::UnpackedPackage { deb: *deb }.id();
    let ids: Vec<StepId> = debs.iter().map(id).collect::<Result<_>>()?;
    let known = ids.iter().map(|id| Ok(store.output(id)?.map(|output| output.digest())));
    let mut trees: Vec<Option<Digest>> = known.collect::<Result<_>>()?;
    let new: Vec<usize> = (0..debs.len()).filter(|index| trees[*index].is_none()).collect();
    let packed: Vec<Digest> = new.iter().map(|index| debs[*index]).collect();
    let mut made = Vec::new();
    for (index, tree) in new.into_iter().zip(unpack_all(store, &packed)?) {
        made.push((ids[index], Output::Tree { tree }));
        trees[index] = Some(tree);
    }
    store.record_all(&made)?;
    Ok(trees.into_iter().flatten().collect())
}

/// Unpacks many `.deb`s with all cores, and makes them durable together; gives their trees in the same
/// order. The largest come first, so that none is left to a single core at the end.
pub fn unpack_all(store: &Store, debs: &[Digest]) -> Result<Vec<Digest>> {
    let mut order: Vec<(u64, usize)> = Vec::new();
    for (index, deb) in debs.iter().enumerate() {
        order.push((store.size_of(deb)?.unwrap_or_default(), index));
    }
    order.sort_unstable_by(|one, other| other.cmp(one));
    let batch = store.batch()?;
    let mut trees = thread::scope(|scope| {
        // The disk is busy while the cores are; else they would wait for all of it in the end.
        let (ask, asked) = sync_channel(1);
        let disk = scope.spawn(|| asked.into_iter().try_for_each(|()| batch.write_out()));
        let one = |&(size, index): &(u64, usize)| {
            let made = (index, tree(store, &debs[index], size, &batch)?);
            // Refused while the disk is still busy: then it will be asked again.
            let _ = ask.try_send(());
            Ok(made)
        };
        let trees: Result<Vec<(usize, Tree)>> = order.par_iter().with_max_len(1).map(one).collect();
        drop(ask);
        disk.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        trees
    })?;
    trees.sort_by_key(|(index, _)| *index);
    let digests = trees.iter().map(|(_, tree)| batch.put_bytes(&tree.to_json()?)).collect();
    batch.commit()?;
    digests
}

fn tree(store: &Store, deb: &Digest, size: u64, mut batch: &Batch) -> Result<Tree> {
    let reader = store.open(deb)?;
    let package = UnpackedDeb::read(&deb.short(), reader, UnpackLimits::for_size(size), &mut batch)?;
    let mut tree = Tree::new();
    for folder in [CONTROL, DATA] {
        tree.insert(TreePath::new(folder)?, Node::dir(0o755))?;
    }
    for (name, bytes) in &package.members {
        let scripts = [Script::Preinst, Script::Postinst, Script::Prerm, Script::Postrm, Script::Config];
        let mode = if scripts.iter().any(|script| script.as_str() == name) { 0o755 } else { 0o644 };
        let node = Node::file(batch.put_bytes(bytes)?, bytes.len() as u64, mode);
        tree.insert(TreePath::new(format!("{CONTROL}/{name}"))?, node)?;
    }
    for (path, node) in package.tree.iter() {
        tree.insert(TreePath::new(format!("{DATA}/{path}"))?, node.clone())?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::package::deb;

    #[test]
    fn a_package_is_unpacked_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let [one, two, three] =
            ["one", "two", "three"].map(|name| store.put_bytes(&deb::sample_named(name)).unwrap());
        let first = unpacked(&store, &[two]).unwrap();
        // Who reads it again finds nothing.
        std::fs::remove_file(store.path_of(&two)).unwrap();
        let all = unpacked(&store, &[one, two, three]).unwrap();
        assert_eq!(all[1], first[0]);
        for (tree, name) in all.iter().zip(["one", "two", "three"]) {
            let tree = store.tree(tree).unwrap();
            assert!(tree.get(&format!("{DATA}/usr/share/{name}")).is_some(), "{name}");
        }
        std::fs::remove_file(store.path_of(&one)).unwrap();
        assert_eq!(unpacked(&store, &[three, one]).unwrap(), [all[2], all[0]]);
        assert!(unpack_all(&store, &[one]).is_err(), "it is not there");
    }
}
