//! Many packages become one root tree, as data: what dpkg would have unpacked, without dpkg.

use std::collections::BTreeMap;

use super::package::UnpackedPackage;
use crate::base::name::Arch;
use crate::base::tree::{Kind, Node, Tree, TreePath};
use crate::base::{Fault, Result};
use crate::formats::debian::relation::{self, Relation};
use crate::formats::debian::version::Version;

/// Folders that are links into /usr since Debian 12 (the usrmerge transition), while packages may still
/// ship them as folders.
const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// The links that every system has; the others come when a package ships something there.
const ALWAYS: [&str; 3] = ["bin", "lib", "sbin"];

/// Returns a package's path as it is in a merged root.
pub(super) fn merged(path: &TreePath) -> Result<TreePath> {
    let first = path.as_str().split('/').next().unwrap_or_default();
    if MERGED.contains(&first) { TreePath::new(format!("usr/{path}")) } else { Ok(path.clone()) }
}

/// All packages in one tree, and the paths that each has lost to one that replaces it.
pub(super) struct Merged {
    /// The root tree, without dpkg's database.
    pub(super) tree: Tree,
    /// Paths that dpkg no longer counts as a package's own, by the package's index.
    pub(super) lost: BTreeMap<usize, Vec<TreePath>>,
}

/// Lays the packages into one tree. Two packages with the same path must both have a folder there, or
/// one must say that it replaces the other (Debian Policy 7.6.1).
pub(super) fn merge(packages: &[UnpackedPackage]) -> Result<Merged> {
    let mut merging = Merging { packages, tree: Tree::new(), owners: BTreeMap::new(), lost: BTreeMap::new() };
    for name in ALWAYS {
        merging.link(name)?;
    }
    for (index, package) in packages.iter().enumerate() {
        for (path, node) in package.data.iter() {
            merging.add(index, path, node).map_err(|fault| fault.context(&package.name))?;
        }
    }
    Ok(Merged { tree: merging.tree, lost: merging.lost })
}

struct Merging<'a> {
    packages: &'a [UnpackedPackage],
    tree: Tree,
    owners: BTreeMap<TreePath, usize>,
    lost: BTreeMap<usize, Vec<TreePath>>,
}

impl Merging<'_> {
    /// The link of a merged folder, and the folder that it points to.
    fn link(&mut self, name: &str) -> Result<()> {
        if self.tree.get(name).is_none() {
            self.tree.insert(TreePath::new(name)?, Node::symlink(format!("usr/{name}")))?;
            self.tree.insert(TreePath::new(format!("usr/{name}"))?, Node::dir(0o755))?;
        }
        Ok(())
    }

    fn add(&mut self, index: usize, shipped: &TreePath, node: &Node) -> Result<()> {
        if MERGED.contains(&shipped.as_str()) {
            return self.link(shipped.as_str());
        }
        let path = merged(shipped)?;
        match self.tree.get(path.as_str()) {
            None => {
                if !node.is_dir() {
                    self.owners.insert(path.clone(), index);
                }
                self.tree.insert(path, node.clone())
            }
            Some(there) if there.is_dir() && node.is_dir() => {
                // dpkg leaves a folder that it finds as it is, so its order would decide; here a mode or
                // an owner that somebody chose goes before the plain one.
                if is_plain(there) { self.tree.insert(path, node.clone()) } else { Ok(()) }
            }
            Some(there) => {
                let there = there.clone();
                self.clash(index, shipped, &path, &there, node)
            }
        }
    }

    fn clash(
        &mut self,
        index: usize,
        shipped: &TreePath,
        path: &TreePath,
        there: &Node,
        node: &Node,
    ) -> Result<()> {
        let Some(&other) = self.owners.get(path) else {
            return Err(Fault::user(format!("/{path} is a folder in one package and no folder in another")));
        };
        if other == index || there == node && same_source(&self.packages[index], &self.packages[other]) {
            return Ok(());
        }
        let (ours, theirs) = (&self.packages[index], &self.packages[other]);
        if !there.is_dir() && !node.is_dir() && replaces(ours, theirs)? {
            self.lost.entry(other).or_default().push(path.clone());
            self.owners.insert(path.clone(), index);
            return self.tree.replace(path.clone(), node.clone());
        }
        if !there.is_dir() && !node.is_dir() && replaces(theirs, ours)? {
            self.lost.entry(index).or_default().push(shipped.clone());
            return Ok(());
        }
        Err(Fault::user(format!("/{path} is in {} and in {}", theirs.name, ours.name)).help(format!(
            "leave one of the two out of the recipe, or let one say `Replaces: {}`",
            theirs.name
        )))
    }
}

fn is_plain(node: &Node) -> bool {
    node.kind == Kind::Dir && (node.mode, node.uid, node.gid) == (0o755, 0, 0)
}

/// The same package for two architectures may share equal files (Multi-Arch: same).
fn same_source(one: &UnpackedPackage, other: &UnpackedPackage) -> bool {
    one.name == other.name && one.control.get("Multi-Arch") == Some("same")
}

/// Whether `one` says that its files may take the place of `other`'s.
fn replaces(one: &UnpackedPackage, other: &UnpackedPackage) -> Result<bool> {
    let Some(text) = one.control.get("Replaces") else { return Ok(false) };
    let arch: Arch = other.control.need("Architecture")?.parse()?;
    let version = Version::new(other.control.need("Version")?)?;
    let named = |relation: &Relation| relation.name == other.name && relation.allows(&version);
    Ok(relation::parse(text, arch)?.iter().flatten().any(named))
}
