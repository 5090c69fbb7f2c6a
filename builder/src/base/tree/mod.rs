//! A file tree as data: what a package, an overlay, a layer or a disk holds.
//!
//! No times: every file carries the lock's epoch. No devices, fifos or sockets: nothing that we ship
//! needs one, so no archive can smuggle one in. Contents are named by digest; [`Contents`] has the bytes.

mod follow;
mod union;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::serde_as_text;
use super::{Digest, Fault, Result, json};

pub use union::Union;

/// The most parts of a path: what lies deeper is there to cost memory, since each part is a node.
const DEEPEST: usize = 64;

/// A path inside a tree: relative, `/`-separated, no empty, `.` or `..` part, no NUL or newline, at most 64
/// parts.
/// The root itself is no path of the tree; it is always a directory, 0755, owned by root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

impl TreePath {
    /// Checks and wraps a path such as `etc/crio/crio.conf.d/10-hale.conf`.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let part_fits = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
        let parts = text.bytes().filter(|byte| *byte == b'/').count() + 1;
        let fits = text.len() <= 4096
            && parts <= DEEPEST
            && !text.contains(['\0', '\n'])
            && text.split('/').all(part_fits);
        if fits {
            return Ok(Self(text));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Fault::integrity("a path that cannot be in a tree").expected_found(
            "relative, no empty, `.` or `..` part, at most 4096 bytes and 64 parts",
            format!("{shown:?}"),
        ))
    }

    /// Returns the path as text, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the directory that it is in; `None` for a path directly under the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// Returns the last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Returns `self/below`.
    pub fn join(&self, below: &str) -> Result<Self> {
        Self::new(format!("{}/{below}", self.0))
    }

    /// Returns whether it is `dir` or lies below it.
    pub fn is_under(&self, dir: &TreePath) -> bool {
        self.0.strip_prefix(&dir.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TreePath {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl std::borrow::Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

serde_as_text!(TreePath);

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File {
        /// The digest of its bytes.
        content: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link; the target is any text without NUL.
    Symlink {
        /// Where it points, as written.
        target: String,
    },
}

/// A path's kind, permissions and owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most 07777; 0777 for a symbolic link.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes, hex by name: file capabilities, mostly none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

impl Node {
    /// Makes a directory of root's.
    pub fn dir(mode: u16) -> Self {
        Self { kind: Kind::Dir, mode, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }

    /// Makes a file of root's.
    pub fn file(content: Digest, size: u64, mode: u16) -> Self {
        Self { kind: Kind::File { content, size }, mode, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }

    /// Makes a symbolic link of root's.
    pub fn symlink(target: impl Into<String>) -> Self {
        let kind = Kind::Symlink { target: target.into() };
        Self { kind, mode: 0o777, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }

    /// Returns the same node with another owner.
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Returns whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }
}

/// Paths and what stands at them, sorted bytewise. Every parent of a path is a directory of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<TreePath, Node>", into = "BTreeMap<TreePath, Node>")]
pub struct Tree {
    nodes: BTreeMap<TreePath, Node>,
}

impl Tree {
    /// Makes an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a node at a path; missing parents become directories of root's with mode 0755.
    /// Refuses a path below something that is no directory, a directory's replacement by
    /// something else, and a path that is there already unless both are directories (the new one wins).
    pub fn insert(&mut self, path: TreePath, node: Node) -> Result<()> {
        self.make_parents(&path)?;
        if let Some(old) = self.nodes.get(path.as_str())
            && !(old.is_dir() && node.is_dir())
        {
            return Err(Fault::integrity(format!("two entries for {path}")));
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Inserts a node as [`Tree::insert`] does; a file or link may take the place of a file or link.
    pub fn replace(&mut self, path: TreePath, node: Node) -> Result<()> {
        if self.nodes.get(path.as_str()).is_some_and(|old| !old.is_dir() && !node.is_dir()) {
            self.nodes.remove(path.as_str());
        }
        self.insert(path, node)
    }

    /// Takes a path out, and with a directory all that is below it.
    pub fn remove(&mut self, path: &TreePath) -> Option<Node> {
        let node = self.nodes.remove(path.as_str())?;
        if node.is_dir() {
            self.nodes.retain(|other, _| !other.is_under(path));
        }
        Some(node)
    }

    /// Returns the node at a path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Returns the node at a path, to change; the kind of a directory must stay.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(path)
    }

    /// Returns all paths in order: a directory before its entries.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Node)> {
        self.nodes.iter()
    }

    /// Counts the paths.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the sum of the files' lengths in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.nodes.values().map(|node| if let Kind::File { size, .. } = node.kind { size } else { 0 }).sum()
    }

    /// Lays `upper` over `self`. Directories meet (the upper's mode and owner win); anything else at
    /// the same path is a clash unless it is equal.
    pub fn merge(&mut self, upper: &Tree) -> Result<()> {
        for (path, node) in &upper.nodes {
            if self.nodes.get(path.as_str()) != Some(node) {
                self.insert(path.clone(), node.clone())?;
            }
        }
        Ok(())
    }

    /// Returns the tree's identity: the digest of its canonical JSON.
    pub fn digest(&self) -> Result<Digest> {
        Ok(Digest::of(self.to_json()?))
    }

    /// Returns the canonical JSON that is kept in the store.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        json::canonical(self)
    }

    /// Reads [`Tree::to_json`]'s form.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Fault::integrity("not a tree").cause(e))
    }

    fn make_parents(&mut self, path: &TreePath) -> Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.nodes.get(parent.as_str()) {
            Some(node) if node.is_dir() => Ok(()),
            Some(_) => Err(Fault::integrity(format!("{path} lies below {parent}, which is no directory"))),
            None => {
                self.make_parents(&parent)?;
                self.nodes.insert(parent, Node::dir(0o755));
                Ok(())
            }
        }
    }
}

impl TryFrom<BTreeMap<TreePath, Node>> for Tree {
    type Error = Fault;
    fn try_from(nodes: BTreeMap<TreePath, Node>) -> Result<Self> {
        let mut tree = Self::new();
        for (path, node) in nodes {
            tree.insert(path, node)?;
        }
        Ok(tree)
    }
}

impl From<Tree> for BTreeMap<TreePath, Node> {
    fn from(tree: Tree) -> Self {
        tree.nodes
    }
}

/// Bytes by digest. The store is one; a map in memory is another.
pub trait Contents: Sync {
    /// Opens the bytes of `content`; a missing one is an integrity fault.
    fn open(&self, content: &Digest) -> Result<Box<dyn Read + '_>>;

    /// All the bytes of a small file.
    fn read(&self, content: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.open(content)?.read_to_end(&mut bytes);
        read.map_err(|e| Fault::io("read", content.to_string(), e))?;
        Ok(bytes)
    }
}

/// Contents in memory: rendered overlays, and tests.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<Digest, Vec<u8>>);

impl Memory {
    /// Makes a file of root's.
    pub fn file(&mut self, bytes: impl Into<Vec<u8>>, mode: u16) -> Node {
        let bytes = bytes.into();
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.0.insert(digest, bytes);
        Node::file(digest, size, mode)
    }

    /// Returns all contents, by digest.
    pub fn iter(&self) -> impl Iterator<Item = (&Digest, &[u8])> {
        self.0.iter().map(|(digest, bytes)| (digest, bytes.as_slice()))
    }
}

impl Contents for Memory {
    fn open(&self, content: &Digest) -> Result<Box<dyn Read + '_>> {
        let bytes = self.0.get(content);
        let bytes = bytes.ok_or_else(|| Fault::integrity(format!("no content {content}")))?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn paths_cannot_escape() {
        for bad in ["", "/etc", "a//b", "a/", "./a", "a/../b", "..", "a\nb", "a\0", &"x".repeat(256)] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
        assert!(path("a/b").is_under(&path("a")) && !path("ab").is_under(&path("a")));
        assert_eq!((path("a/b/c").parent(), path("a").parent()), (Some(path("a/b")), None));
    }

    #[test]
    fn a_tree_holds_its_parents_and_refuses_clashes() {
        let mut tree = Tree::new();
        tree.insert(path("etc/crio/crio.conf"), Node::file(Digest::of("x"), 1, 0o644)).unwrap();
        assert_eq!(tree.len(), 3);
        assert!(tree.insert(path("etc/crio/crio.conf/x"), Node::dir(0o755)).is_err());
        assert!(tree.insert(path("etc/crio/crio.conf"), Node::dir(0o755)).is_err());
        assert!(tree.replace(path("etc/crio"), Node::symlink("x")).is_err());
        assert!(tree.replace(path("etc/crio/crio.conf"), Node::symlink("x")).is_ok());
        tree.insert(path("etc/crio"), Node::dir(0o700)).unwrap();
        let again = Tree::from_json(&tree.to_json().unwrap()).unwrap();
        assert_eq!(again, tree);
        tree.remove(&path("etc"));
        assert!(tree.is_empty());
    }

    #[test]
    fn merging_takes_equal_files_and_refuses_others() {
        let (mut lower, mut upper) = (Tree::new(), Tree::new());
        lower.insert(path("a/f"), Node::file(Digest::of("1"), 1, 0o644)).unwrap();
        upper.insert(path("a/f"), Node::file(Digest::of("1"), 1, 0o644)).unwrap();
        upper.insert(path("a/g"), Node::symlink("f")).unwrap();
        lower.merge(&upper).unwrap();
        assert_eq!((lower.len(), lower.file_bytes()), (3, 1));
        let mut clash = Tree::new();
        clash.insert(path("a/f"), Node::file(Digest::of("2"), 1, 0o644)).unwrap();
        assert!(lower.merge(&clash).is_err());
    }

    #[test]
    fn a_foreign_tree_document_is_checked() {
        for bad in [
            r#"{"../x":{"kind":"dir","mode":493,"uid":0,"gid":0}}"#,
            r#"{"x":{"kind":"fifo","mode":493,"uid":0,"gid":0}}"#,
            r#"{"x":{"kind":"dir","mode":493,"uid":0,"gid":0,"more":1}}"#,
        ] {
            assert!(Tree::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
