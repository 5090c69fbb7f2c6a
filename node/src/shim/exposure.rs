//! What no container may reach, whatever its pod mounts: the folders in which the host's root keeps what it runs, reads and
//! follows of containers, and other pods' volumes and secrets. Many of them belong to containers' root, since they are
//! containers' file systems; so that nobody writes there beside CRI-O, they are hidden.
//!
//! | what a pod mounts | what becomes of it |
//! |---|---|
//! | a path above such a folder | the folder is covered, empty and read-only |
//! | the same, in a container that could uncover it (`CAP_SYS_ADMIN`) | refused |
//! | a path in such a folder | refused, but for what is the pod's own |
//! | a path that others than root can make lead elsewhere | refused |
//!
//! Paths are judged by the place of the file system that they show, so that a folder mounted elsewhere is the same folder.

use std::path::{Path, PathBuf};

use crate::fault::Result;

use super::container::{Bind, Container};
use super::mounts::{Mounts, Place};
use super::refused;
use super::walk::walk;

/// The folders.
pub(super) const TREES: [&str; 9] = [
    "/run/containers",
    "/run/crio",
    "/run/crun",
    "/run/hale",
    "/var/lib/cni",
    "/var/lib/containers",
    "/var/lib/crio",
    "/var/lib/hale",
    "/var/lib/kubelet",
];

/// Where to cover something: paths inside the container.
pub(super) fn hidden(container: &Container) -> Result<Vec<String>> {
    if container.binds.is_empty() {
        return Ok(Vec::new());
    }
    Judge::new(container)?.all(&container.binds)
}

/// What is judged by.
struct Judge<'a> {
    container: &'a Container,
    mounts: Mounts,
    trees: Vec<(PathBuf, Place)>,
    own: Vec<(PathBuf, Place)>,
}

impl<'a> Judge<'a> {
    fn new(container: &'a Container) -> Result<Self> {
        let mounts = Mounts::read()?;
        let located = |paths: &[PathBuf]| {
            let walked = paths.iter().filter(|path| path.exists()).map(|path| walk(path));
            let placed = |path: PathBuf| mounts.place(&path).map(|place| (path, place));
            Ok(walked.collect::<Result<Vec<_>>>()?.into_iter().filter_map(placed).collect::<Vec<_>>())
        };
        let trees = located(&TREES.map(PathBuf::from))?;
        let own = located(&container.own)?;
        Ok(Self { container, mounts, trees, own })
    }

    fn all(&self, binds: &[Bind]) -> Result<Vec<String>> {
        let mut hidden = Vec::new();
        for bind in binds {
            hidden.extend(
                self.one(bind)
                    .map_err(|fault| fault.within(format!("mount of {}", bind.source.display())))?,
            );
        }
        Ok(hidden)
    }

    fn one(&self, bind: &Bind) -> Result<Vec<String>> {
        let source = walk(&bind.source)?;
        let Some(place) = self.mounts.place(&source) else { return Ok(Vec::new()) };
        let is_own = |path: &Path| self.own.iter().any(|(own, _)| path.starts_with(own));
        if let Some((tree, _)) =
            self.trees.iter().find(|(tree, _)| source.starts_with(tree)).filter(|_| !is_own(&source))
        {
            return Err(self.closed(tree));
        }
        let mut ways = self.ways(&place, Path::new(""))?;
        for (below, place) in self.mounts.below(&source).filter(|_| bind.recursive) {
            ways.extend(self.ways(place, below)?);
        }
        if self.container.mounts_itself && !ways.is_empty() {
            let what =
                "it shows what no container may reach, and a container with CAP_SYS_ADMIN could uncover it";
            return Err(refused(what).mend("mount a folder further down, or do without CAP_SYS_ADMIN"));
        }
        ways.sort();
        ways.dedup();
        let inside = |way: PathBuf| bind.destination.join(way).to_str().map(str::to_owned);
        ways.into_iter().map(|way| inside(way).ok_or_else(|| refused("a path that is no UTF-8"))).collect()
    }

    /// The ways to what is to be hidden, from what is seen at `below` of a mount.
    fn ways(&self, seen: &Place, below: &Path) -> Result<Vec<PathBuf>> {
        let mut ways = Vec::new();
        for (tree, place) in &self.trees {
            if let Some(way) = seen.way_to(place) {
                if below.as_os_str().is_empty() && way.as_os_str().is_empty() {
                    return Err(self.closed(tree));
                }
                ways.push(below.join(way));
            } else if place.way_to(seen).is_some()
                && !self.own.iter().any(|(_, own)| own.way_to(seen).is_some())
            {
                if below.as_os_str().is_empty() {
                    return Err(self.closed(tree));
                }
                ways.push(below.to_owned());
            }
        }
        Ok(ways)
    }

    fn closed(&self, tree: &Path) -> crate::fault::Fault {
        refused(format!("{} is no container's to reach, but for its pod's own volumes", tree.display()))
    }
}
