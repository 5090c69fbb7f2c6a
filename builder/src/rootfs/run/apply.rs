//! Puts the changes of a sandbox into the tree.

use std::fs::File;
use std::path::Path;

use rayon::prelude::*;

use crate::base::tree::{Kind, Node, Tree, TreePath};
use crate::base::{Fault, Result};
use crate::host::sandbox::{FileChange, Now, Owner};
use crate::rootfs::scrub;
use crate::store::Batch;

/// Applies the changes in order; `upper` holds the new files' bytes, which go to `batch`. What will be
/// scrubbed away is left out before its bytes are read.
pub(crate) fn apply(tree: &mut Tree, changes: &[FileChange], upper: &Path, batch: &Batch) -> Result<()> {
    let nodes: Vec<Option<Node>> =
        changes.par_iter().map(|change| node(change, upper, batch)).collect::<Result<_>>()?;
    for (change, node) in changes.iter().zip(nodes) {
        let path = TreePath::new(change.path.clone())?;
        let stays = matches!(change.now, Now::Dir { fresh: false, .. })
            && tree.get(path.as_str()).is_some_and(Node::is_dir);
        if !stays {
            tree.remove(&path);
        }
        if let Some(node) = node {
            tree.insert(path, node)?;
        }
    }
    Ok(())
}

fn node(change: &FileChange, upper: &Path, batch: &Batch) -> Result<Option<Node>> {
    if scrub::drops(&change.path, matches!(change.now, Now::Dir { .. })) {
        return Ok(None);
    }
    let (kind, owner) = match &change.now {
        Now::Gone => return Ok(None),
        Now::Dir { owner, .. } => (Kind::Dir, owner),
        Now::Symlink { owner, target } => (Kind::Symlink { target: target.clone() }, owner),
        Now::File { owner } => {
            let path = upper.join(&change.path);
            let file = File::open(&path).map_err(|e| Fault::io("open", &path, e))?;
            let (content, size) = batch.put(file)?;
            (Kind::File { content, size }, owner)
        }
        Now::Odd(what) => {
            return Err(Fault::user(format!("a maintainer script made {what} at /{}", change.path))
                .cause("a tree holds files, folders and symbolic links only"));
        }
    };
    let Owner { uid, gid, mode, xattrs } = owner.clone();
    let mode = if matches!(kind, Kind::Symlink { .. }) { 0o777 } else { mode };
    Ok(Some(Node { kind, mode, uid, gid, xattrs }))
}
