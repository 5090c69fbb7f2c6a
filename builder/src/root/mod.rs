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

mod apply;
mod compile;
mod configure;
mod database;
mod lower;
mod merge;
mod package;
mod scrub;
mod unpack;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::base::name::PackageName;
use crate::base::{Digest, Epoch, Fault, Result};
use crate::debian::control::Source;
use crate::sandbox::{Bind, Change, Job, Run, Sandbox};
use crate::store::Store;
use crate::tree::{Contents, Kind, Memory, Node, Tree};

pub use configure::Limits;
pub(crate) use lower::write as write_tree;
use package::Package;
pub use unpack::unpack_all;
pub(crate) use unpack::unpacked;
use work::Work;

const STATUS: &str = "var/lib/dpkg/status";

/// Unpacked packages in one tree, without dpkg's database and without running anything: enough for
/// programs that are run from the store.
pub fn merge_only(store: &Store, unpacked: &[Digest]) -> Result<Digest> {
    store.put_tree(&merge::merge(&read(store, unpacked)?)?.tree)
}

/// The packages, sorted by name.
fn read(store: &Store, unpacked: &[Digest]) -> Result<Vec<Package>> {
    let read = |digest| Package::read(&store.tree(digest)?, store);
    let mut packages: Vec<Package> = unpacked.iter().map(read).collect::<Result<_>>()?;
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(packages)
}

/// What root trees are made in, and by which time.
pub struct Builder<'a> {
    /// Holds the packages and takes the trees.
    pub store: &'a Store,
    /// Runs the maintainer scripts.
    pub sandbox: &'a Sandbox,
    /// The lock's time.
    pub epoch: Epoch,
    /// How long scripts may take.
    pub limits: Limits,
}

impl Builder<'_> {
    /// A root with these packages installed, from their unpacked trees; the order does not matter.
    pub fn assemble(&self, unpacked: &[Digest]) -> Result<Digest> {
        let packages = read(self.store, unpacked)?;
        let mut root = merge::merge(&packages)?;
        let mut new = Memory::default();
        database::write(&packages, &mut root, self.store, &mut new)?;
        let runs = configure::configure(&packages, self.epoch, self.limits)?;
        self.run(root.tree, new, runs, Vec::new(), None)
    }

    /// The root with more packages installed by its own dpkg, from `.deb` blobs by name; `owner` is a user
    /// and group beyond Debian's own ids that may own what they make.
    pub fn install(&self, root: &Digest, debs: &BTreeMap<PackageName, Digest>, owner: u32) -> Result<Digest> {
        let bind = |(name, deb): (&PackageName, &Digest)| Bind {
            from: self.store.path_of(deb),
            to: format!("{}/{name}.deb", configure::PACKAGES).into(),
        };
        let binds = debs.iter().map(bind).collect();
        let run = configure::install(self.epoch, self.limits);
        self.run(self.store.tree(root)?, Memory::default(), vec![run], binds, Some(owner))
    }

    /// The root with packages on hold, as `apt-mark hold` would set them (dpkg(1), "Package selection").
    pub fn hold(&self, root: &Digest, names: &[PackageName]) -> Result<Digest> {
        let mut tree = self.store.tree(root)?;
        let status = tree.get(STATUS).map(|node| &node.kind);
        let Some(Kind::File { content, .. }) = status else {
            return Err(Fault::integrity(format!("a root without /{STATUS}")));
        };
        let text = String::from_utf8(self.store.read(content)?)
            .map_err(|_| Fault::integrity(format!("/{STATUS} is no UTF-8")))?;
        let (content, size) = self.store.put(held(&text, names)?.as_bytes())?;
        if let Some(node) = tree.get_mut(STATUS) {
            node.kind = Kind::File { content, size };
        }
        self.store.put_tree(&tree)
    }

    /// Runs programs in a root, and says what changed in the work folder's upper tree.
    fn inside(
        &self,
        tree: &Tree,
        new: &Memory,
        owner: Option<u32>,
        runs: Vec<Run>,
        binds: Vec<Bind>,
    ) -> Result<(Work, Vec<Change>)> {
        let work = Work::new(self.store, self.sandbox)?;
        let specials = lower::write(tree, &Either(new, self.store), self.epoch, &work.path().join("lower"))?;
        work.furnish()?;
        let job = Job { work: work.path().to_owned(), owner, specials, binds, runs };
        let changes = self.sandbox.run(&job)?;
        Ok((work, changes))
    }

    /// Runs programs in a root and keeps the scrubbed result; `new` has bytes that the store has not.
    fn run(
        &self,
        mut tree: Tree,
        mut new: Memory,
        runs: Vec<Run>,
        binds: Vec<Bind>,
        owner: Option<u32>,
    ) -> Result<Digest> {
        let (work, changes) = self.inside(&tree, &new, owner, runs, binds)?;
        let batch = self.store.batch()?;
        apply::apply(&mut tree, &changes, &work.path().join("upper"), &batch)?;
        // First, or the batch's sync would write the whole lower tree to the disk.
        drop(work);
        batch.commit()?;
        let old = new.clone();
        scrub::scrub(&mut tree, &Either(&old, self.store), self.epoch, &mut new)?;
        self.keep(&tree, &new)
    }

    /// Keeps the tree, and those of the new bytes that it names.
    fn keep(&self, tree: &Tree, new: &Memory) -> Result<Digest> {
        let named: BTreeSet<&Digest> = tree.iter().filter_map(|(_, node)| content(node)).collect();
        let batch = self.store.batch()?;
        for (digest, bytes) in new.iter() {
            if named.contains(digest) {
                batch.put_bytes(bytes)?;
            }
        }
        batch.commit()?;
        self.store.put_tree(tree)
    }
}

/// Two sources of bytes; the first that has them gives them.
struct Either<'a>(&'a Memory, &'a Store);

impl Contents for Either<'_> {
    fn open(&self, content: &Digest) -> Result<Box<dyn Read + '_>> {
        self.0.open(content).or_else(|_| self.1.open(content))
    }
}

fn content(node: &Node) -> Option<&Digest> {
    match &node.kind {
        Kind::File { content, .. } => Some(content),
        Kind::Dir | Kind::Symlink { .. } => None,
    }
}

/// dpkg's status with some packages on hold: the first word of `Status` is what is wanted of them.
fn held(text: &str, names: &[PackageName]) -> Result<String> {
    let mut paragraphs = Source::integrity(STATUS, text).read()?;
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
        let crun = PackageName::new("crun").unwrap();
        let expect = text.replacen("install ok", "hold ok", 1);
        assert_eq!(held(text, std::slice::from_ref(&crun)).unwrap(), expect);
        assert!(held("", &[crun]).is_err());
    }
}
