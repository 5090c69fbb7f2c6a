//! What no container may reach, whatever its pod mounts: the folders in which the host's root keeps what it runs, reads and
//! follows of containers, the images that other pods will run, and other pods' volumes and secrets. Many of them belong to containers' root, since they are
//! containers' file systems; so that nobody writes there beside CRI-O, they are hidden.
//!
//! | what a pod mounts | what becomes of it |
//! |---|---|
//! | a path above such a folder | the folder is covered, empty and read-only |
//! | a path above a file system with such a folder, `rbind` | `bind`: without what is mounted below, as crun before 1.9 has it |
//! | the same, in a container that could uncover it (`CAP_SYS_ADMIN`) | refused |
//! | a path in such a folder | refused, but for what is the pod's own |
//! | a path that a container could make lead elsewhere | refused |
//!
//! Paths are judged by the place of the file system that they show, so that a folder mounted elsewhere is the same folder.

use std::path::{Path, PathBuf};

use crate::fault::Result;

use super::container::{BindMount, Container};
use super::mounts::{Mounts, Place};
use super::refusal::refused;
use super::walk::{Distrusted, walk};
use crate::config::shim::ShimConfig;

/// Folders that no container may reach.
pub(super) const TREES: [&str; 10] = [
    "/run/containers",
    "/run/crio",
    "/run/crun",
    "/run/hale",
    "/usr/lib/hale/images",
    "/var/lib/cni",
    "/var/lib/containers",
    "/var/lib/crio",
    "/var/lib/hale",
    "/var/lib/kubelet",
];

/// How a container's mounts are to be edited.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MountEdits {
    /// Paths in the container that are to be covered by something empty.
    pub hidden: Vec<String>,
    /// Indices of the mounts that are to be made without what is mounted below.
    pub alone: Vec<usize>,
}

/// Judges a container's mounts: returns how they are to be edited, or why the container must not start.
pub(super) fn judge(container: &Container, config: &ShimConfig) -> Result<MountEdits> {
    let mut mounted = MountEdits::default();
    if container.binds.is_empty() {
        return Ok(mounted);
    }
    let judge = Judge::new(container, Distrusted::Pods(config.first_id, config.ids))?;
    for bind in &container.binds {
        judge
            .judge_mount(bind, &mut mounted)
            .map_err(|fault| fault.context(format!("mount of {}", bind.source.display())))?;
    }
    Ok(mounted)
}

/// What mounts are judged by: the kernel's mounts, closed folders, and the container's own.
struct Judge<'a> {
    container: &'a Container,
    distrusted: Distrusted,
    mounts: Mounts,
    trees: Vec<(PathBuf, Place)>,
    own: Vec<(PathBuf, Place)>,
}

impl<'a> Judge<'a> {
    fn new(container: &'a Container, distrusted: Distrusted) -> Result<Self> {
        let mounts = Mounts::read()?;
        let located = |paths: &[PathBuf]| {
            let walked = paths.iter().filter(|path| path.exists()).map(|path| walk(path, distrusted));
            let placed = |path: PathBuf| mounts.place(&path).map(|place| (path, place));
            Ok(walked.collect::<Result<Vec<_>>>()?.into_iter().filter_map(placed).collect::<Vec<_>>())
        };
        let trees = located(&TREES.map(PathBuf::from))?;
        let own = located(&container.own)?;
        Ok(Self { container, distrusted, mounts, trees, own })
    }

    fn judge_mount(&self, bind: &BindMount, mounted: &mut MountEdits) -> Result<()> {
        let source = walk(&bind.source, self.distrusted)?;
        let Some(place) = self.mounts.place(&source) else { return Ok(()) };
        let is_own = self.own.iter().any(|(own, _)| source.starts_with(own));
        if let Some((tree, _)) =
            self.trees.iter().find(|(tree, _)| source.starts_with(tree)).filter(|_| !is_own)
        {
            return Err(self.closed(tree));
        }
        for (tree, way) in self.shown(&place) {
            let Some(way) = way.filter(|way| !way.as_os_str().is_empty()) else {
                return Err(self.closed(tree));
            };
            if self.container.mounts_itself {
                let what = format!(
                    "{} lies below, and a container with CAP_SYS_ADMIN could uncover it",
                    tree.display()
                );
                return Err(refused(what).help("mount a folder further down, or do without CAP_SYS_ADMIN"));
            }
            let inside = bind.destination.join(way);
            let inside = inside.to_str().ok_or_else(|| refused("a destination that is no UTF-8"))?;
            mounted.hidden.push(inside.to_owned());
        }
        if bind.recursive && self.mounts.below(&source).any(|place| self.shown(place).next().is_some()) {
            mounted.alone.push(bind.index);
        }
        Ok(())
    }

    /// Returns the closed folders that a place shows something of, with the way to those that lie below it.
    fn shown<'b>(&'b self, seen: &'b Place) -> impl Iterator<Item = (&'b Path, Option<&'b Path>)> {
        let is_own = self.own.iter().any(|(_, own)| own.way_to(seen).is_some());
        let look = move |(tree, place): &'b (PathBuf, Place)| {
            let way = seen.way_to(place);
            let within = place.way_to(seen).is_some() && !is_own;
            (way.is_some() || within).then_some((tree.as_path(), way))
        };
        self.trees.iter().filter_map(look)
    }

    fn closed(&self, tree: &Path) -> crate::fault::Fault {
        refused(format!("{} is no container's to reach, but for its pod's own volumes", tree.display()))
    }
}
