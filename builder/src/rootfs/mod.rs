//! Root trees: a set of packages becomes the file tree of an installed system.
//!
//! ```text
//! .deb --unpack--> tree            each once, ever; in parallel
//! trees --merge--> root            as data, with dpkg's database: unpacked, not configured
//! root --sandbox--> changes        maintainer scripts, with the root's own dpkg
//! root + changes --scrub--> root   the same bytes whenever and wherever it was made
//! ```
//!
//! Role packages are installed on top by dpkg itself, which so checks what we packed.

mod compile;
mod database;
mod merge;
mod package;
mod run;
mod scrub;
pub mod tools;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::name::PackageName;
use crate::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath, Union};
use crate::base::{Digest, Epoch, Fault, Result};
use crate::formats::debian::control::ControlText;
use crate::host::sandbox::{Bind, FileChange, Job, Run, Sandbox};
use crate::plan::intermediate::Intermediate;
use crate::store::Store;

use package::UnpackedPackage;
pub use run::configure::Timeouts;
pub(crate) use run::lower::write as write_tree;
use run::work::Work;
pub use unpack::unpack_all;
pub(crate) use unpack::unpacked;

const STATUS: &str = "var/lib/dpkg/status";

/// Merges unpacked packages in one tree, without dpkg's database and without running anything: enough for
/// programs that are run from the store.
pub fn merge_only(store: &Store, unpacked: &[Digest]) -> Result<Digest> {
    store.put_tree(&merge::merge(&read(store, unpacked)?)?.tree)
}

/// The packages, sorted by name.
fn read(store: &Store, unpacked: &[Digest]) -> Result<Vec<UnpackedPackage>> {
    let read = |digest| UnpackedPackage::read(&store.tree(digest)?, store);
    let mut packages: Vec<UnpackedPackage> = unpacked.iter().map(read).collect::<Result<_>>()?;
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(packages)
}

/// The surroundings in which root trees are made.
pub struct Builder<'a> {
    /// Holds the packages and takes the trees.
    pub store: &'a Store,
    /// Runs the maintainer scripts.
    pub sandbox: &'a Sandbox,
    /// The lock's time.
    pub epoch: Epoch,
    /// The time that scripts may take.
    pub limits: Timeouts,
}

impl Builder<'_> {
    /// Makes a root with these packages installed, from their unpacked trees; the order does not matter.
    pub fn assemble(&self, unpacked: &[Digest]) -> Result<Digest> {
        let packages = read(self.store, unpacked)?;
        let mut root = merge::merge(&packages)?;
        let mut new = Memory::default();
        database::write(&packages, &mut root, self.store, &mut new)?;
        let runs = run::configure::configure(&packages, self.epoch, self.limits)?;
        let work = self.lay_out(&root.tree, &new)?;
        let changes = self.inside(&work, &root.tree, None, runs, Vec::new())?;
        self.keep(work, &changes, root.tree, new, &BTreeSet::new())
    }

    /// Installs more packages in a root by its own dpkg, from `.deb` blobs by name; `owner` is a user
    /// and group beyond Debian's own ids that may own what they make, `held` are packages that are on hold
    /// afterwards, as `apt-mark hold` would set them (dpkg(1), "Package selection").
    pub fn install(
        &self,
        root: &Digest,
        debs: &BTreeMap<PackageName, Digest>,
        owner: u32,
        held: &BTreeSet<PackageName>,
    ) -> Result<Digest> {
        let bind = |(name, deb): (&PackageName, &Digest)| Bind {
            from: self.store.path_of(deb),
            to: format!("{}/{name}.deb", run::configure::PACKAGES).into(),
        };
        let binds = debs.iter().map(bind).collect();
        let runs = vec![run::configure::install(self.epoch, self.limits)];
        let tree = self.store.tree(root)?;
        let work = self.borrow(root, &tree)?;
        let changes = self.inside(&work, &tree, Some(owner), runs, binds)?;
        self.keep(work, &changes, tree, Memory::default(), held)
    }

    /// Lays a root out for one run: `new` has bytes that the store has not.
    fn lay_out(&self, tree: &Tree, new: &Memory) -> Result<Work> {
        let work = Work::new(self.store, self.sandbox)?;
        run::lower::write(tree, &Union(new, self.store), self.epoch, &work.lower())?;
        run::lower::furnish(&work.lower())?;
        Ok(work)
    }

    /// Lends a root to one run; it is laid out once for all of them ([`Intermediate::FurnishedRoot`]).
    fn borrow(&self, root: &Digest, tree: &Tree) -> Result<Work> {
        let name = Intermediate::FurnishedRoot { root: *root, epoch: self.epoch }.id()?;
        let lower = self.store.checkout_tree(&name.0, |folder| {
            run::lower::write(tree, self.store, self.epoch, folder)?;
            run::lower::furnish(folder)
        })?;
        let work = Work::new(self.store, self.sandbox)?;
        work.borrow(&lower)?;
        Ok(work)
    }

    /// Runs programs in a root, and says what changed in the work folder's upper tree.
    fn inside(
        &self,
        work: &Work,
        tree: &Tree,
        owner: Option<u32>,
        runs: Vec<Run>,
        binds: Vec<Bind>,
    ) -> Result<Vec<FileChange>> {
        let specials = run::lower::specials(tree)?;
        self.sandbox.run(&Job { work: work.path().to_owned(), owner, specials, binds, runs })
    }

    /// Puts what a run changed into its tree, and keeps it scrubbed, with packages on hold; `new` has bytes
    /// that the store has not.
    fn keep(
        &self,
        work: Work,
        changes: &[FileChange],
        mut tree: Tree,
        mut new: Memory,
        held: &BTreeSet<PackageName>,
    ) -> Result<Digest> {
        let batch = self.store.batch()?;
        run::apply::apply(&mut tree, changes, &work.path().join("upper"), &batch)?;
        // First, or the batch's sync would write a lower tree of its own to the disk.
        drop(work);
        let old = new.clone();
        scrub::scrub(&mut tree, &Union(&old, &batch), self.epoch, &mut new)?;
        hold(&mut tree, &Union(&old, &batch), held, &mut new)?;
        let named: BTreeSet<&Digest> = tree.iter().filter_map(|(_, node)| content(node)).collect();
        for (_, bytes) in new.iter().filter(|(digest, _)| named.contains(digest)) {
            batch.put_bytes(bytes)?;
        }
        let kept = batch.put_tree(&tree)?;
        batch.commit()?;
        Ok(kept)
    }
}

fn content(node: &Node) -> Option<&Digest> {
    match &node.kind {
        Kind::File { content, .. } => Some(content),
        Kind::Dir | Kind::Symlink { .. } => None,
    }
}

/// Sets packages on hold; the status's new bytes go to `new`.
fn hold(
    tree: &mut Tree,
    contents: &dyn Contents,
    names: &BTreeSet<PackageName>,
    new: &mut Memory,
) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get(STATUS) else {
        return Err(Fault::integrity(format!("a root without /{STATUS}")));
    };
    let text = String::from_utf8(contents.read(content)?)
        .map_err(|_| Fault::integrity(format!("/{STATUS} is no UTF-8")))?;
    scrub::set_bytes(tree, &TreePath::new(STATUS)?, held(&text, names)?, new)
}

/// dpkg's status with some packages on hold: the first word of `Status` is what is wanted of them.
fn held(text: &str, names: &BTreeSet<PackageName>) -> Result<String> {
    let mut paragraphs = ControlText::integrity(STATUS, text).read()?;
    for name in names {
        let mut found = paragraphs.iter_mut().filter(|p| p.get("Package") == Some(name.as_str())).peekable();
        if found.peek().is_none() {
            return Err(Fault::user(format!("{name} is to be held, but is not installed")));
        }
        for paragraph in found {
            let status = paragraph.need("Status")?;
            let (_, rest) = status.split_once(' ').unwrap_or_default();
            let status = format!("hold {rest}");
            paragraph.set("Status", status)?;
        }
    }
    Ok(paragraphs.iter().map(|paragraph| format!("{paragraph}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holding_changes_one_word() {
        let text = "Package: crun\nStatus: install ok installed\nConffiles:\n /etc/x 00\n\nPackage: sed\n\
                    Status: install ok installed\nDescription: a\n b\n .\n c\n\n";
        let crun = BTreeSet::from([PackageName::new("crun").unwrap()]);
        let expect = text.replacen("install ok", "hold ok", 1);
        assert_eq!(held(text, &crun).unwrap(), expect);
        assert!(held("", &crun).is_err());
    }
}
