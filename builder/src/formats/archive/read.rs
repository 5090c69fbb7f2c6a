//! A whole archive, to its end: what is in it as a tree, and the contents in order.

use std::collections::BTreeSet;
use std::io::{BufReader, Read};

use super::compression::{Compression, Unpacked};
use super::tar::{self, Entry, EntryKind, Tar};
use crate::base::tree::{Kind, Memory, Node, Tree};
use crate::base::{Digest, Fault, Result};

/// Where the contents of an archive's files go, one after the other.
pub trait Sink {
    /// Reads a file's bytes to their end, keeps them, and returns their digest and length in bytes.
    fn keep(&mut self, content: &mut dyn Read) -> Result<(Digest, u64)>;
}

impl Sink for Memory {
    fn keep(&mut self, content: &mut dyn Read) -> Result<(Digest, u64)> {
        let mut bytes = Vec::new();
        let read = content.read_to_end(&mut bytes);
        let length = read.map_err(|error| Fault::machine("cannot read a content").cause(error))? as u64;
        let digest = Digest::of(&bytes);
        self.file(bytes, 0o644);
        Ok((digest, length))
    }
}

/// A sink that keeps nothing but the digests: to list or check an archive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forget;

impl Sink for Forget {
    fn keep(&mut self, content: &mut dyn Read) -> Result<(Digest, u64)> {
        Digest::of_reader(content).map_err(|error| Fault::machine("cannot read a content").cause(error))
    }
}

/// The most letters in the paths of one archive: some forty times those of the largest packages.
const PATHS: usize = 64 << 20;

/// Reads a compressed tar archive with `work`, which must read it to its end; `limit` is the most bytes
/// that it may unpack to. Stream, archive and file must end together.
pub fn read<T>(
    stream: impl Read,
    compression: Compression,
    limit: u64,
    work: impl FnOnce(&mut Tar<&mut dyn Read>) -> Result<T>,
) -> Result<T> {
    let mut unpacked = Unpacked::new(BufReader::new(stream), compression, limit)?;
    let plain: &mut dyn Read = &mut unpacked;
    let mut tar = Tar::new(plain);
    let result = work(&mut tar).and_then(|value| tar.end().map(|()| value));
    // What broke the stream explains better than what its reader then met.
    let value = match (unpacked.fault(), result) {
        (Some(fault), _) => Err(fault),
        (None, result) => result,
    }?;
    unpacked.finish()?;
    Ok(value)
}

impl<R: Read> Tar<R> {
    /// Reads the whole archive as a tree of at most `entries` entries, implied directories among them. Hard links
    /// become files with the same content.
    pub fn tree(&mut self, entries: usize, sink: &mut dyn Sink) -> Result<Tree> {
        let (mut tree, mut seen, mut letters) = (Tree::new(), BTreeSet::new(), 0);
        while let Some(entry) = self.next()? {
            let Some(path) = entry.path()? else { continue };
            if !seen.insert(path.clone()) {
                return Err(entry.refuse("stands twice"));
            }
            let owned = |node: Node| node.owned_by(entry.uid, entry.gid);
            let node = match &entry.kind {
                EntryKind::Dir => owned(Node::dir(entry.mode)),
                EntryKind::Symlink(target) => owned(Node::symlink(target.as_str())),
                EntryKind::Hardlink(target) => linked(&entry, target, &tree)?,
                EntryKind::File => {
                    let (content, size) = self.keep(&entry, sink)?;
                    owned(Node::file(content, size, entry.mode))
                }
            };
            let (before, length) = (tree.len(), path.as_str().len());
            tree.insert(path, node).map_err(|fault| entry.refuse(fault.what()))?;
            if tree.len() > entries {
                return Err(entry.refuse(format!("makes more than {entries} entries")));
            }
            letters += (tree.len() - before) * length;
            if letters > PATHS {
                return Err(entry.refuse(format!("makes paths of more than {} MiB", PATHS >> 20)));
            }
        }
        Ok(tree)
    }

    /// Gives the last entry's content to `sink`; gives its digest and length in bytes.
    pub fn keep(&mut self, entry: &Entry, sink: &mut dyn Sink) -> Result<(Digest, u64)> {
        let (content, size) = sink.keep(&mut self.content())?;
        if size != entry.size {
            return Err(entry.refuse("is cut short").expected_found(entry.size, size));
        }
        Ok((content, size))
    }
}

/// The file that a hard link names, which must stand earlier in the archive.
fn linked(entry: &Entry, target: &str, tree: &Tree) -> Result<Node> {
    let path =
        tar::tree_path(target).map_err(|fault| entry.refuse(format!("links to {target:?}")).cause(fault))?;
    let node = path.as_ref().and_then(|path| tree.get(path.as_str()));
    match node {
        Some(node) if matches!(node.kind, Kind::File { .. }) => Ok(node.clone()),
        _ => Err(entry
            .refuse(format!("is a hard link to {target:?}"))
            .expected_found("a file that stands earlier in the archive", "none there")),
    }
}
