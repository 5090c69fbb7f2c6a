//! A tree as a squashfs file system, through the `backhand` crate alone: what is mounted of it nobody can write to,
//! whoever its files belong to.
//!
//! Time and owners come from the arguments, files in the tree's order, each compressed block by itself and in one
//! thread: the same tree gives the same bytes. The kernel's reader is `fs/squashfs`, its format
//! `Documentation/filesystems/squashfs.rst`.

use std::io::{self, Read, Seek, Write};

use backhand::compression::{CompressionOptions, Compressor, Zstd};
use backhand::{BackhandError, FilesystemCompressor, FilesystemWriter, NodeHeader};

use crate::base::{Digest, Epoch, Fault, Result};
use crate::tree::{Contents, Kind, Node, Tree};

/// Bytes of a block, the most that the format has: programs are read whole, and larger ones are smaller by a tenth.
const BLOCK: u32 = 1 << 20;

/// zstd's level: beyond it an image takes five times as long for one part in a hundred.
const LEVEL: u32 = 9;

/// Writes `tree` into `out`. Attributes are refused: a mount that ignores set-user-id bits ignores capabilities, too.
pub fn write(tree: &Tree, contents: &dyn Contents, epoch: Epoch, out: impl Write + Seek) -> Result<()> {
    let time = u32::try_from(epoch.seconds());
    let time =
        time.map_err(|_| Fault::user("a time that squashfs cannot hold").versus("before 2106", epoch))?;
    let zstd = CompressionOptions::Zstd(Zstd { compression_level: LEVEL });
    let compressor = FilesystemCompressor::new(Compressor::Zstd, Some(zstd)).map_err(refused)?;
    let mut writer = FilesystemWriter::default();
    writer.set_compressor(compressor);
    writer.set_block_size(BLOCK);
    writer.set_time(time);
    writer.set_root_mode(0o755);
    for (path, node) in tree.iter() {
        if let Some(name) = node.xattrs.keys().next() {
            return Err(Fault::integrity(format!("{path} has the attribute {name}"))
                .versus("a file without attributes", name));
        }
        let header = header(node, time);
        let path = path.as_str();
        match &node.kind {
            Kind::Dir => writer.push_dir(path, header),
            Kind::Symlink { target } => writer.push_symlink(target.as_str(), path, header),
            Kind::File { content, .. } => {
                writer.push_file(Late { contents, content: *content, open: None }, path, header)
            }
        }
        .map_err(|error| refused(error).within(path))?;
    }
    writer.write(out).map(drop).map_err(refused)
}

fn header(node: &Node, time: u32) -> NodeHeader {
    NodeHeader::new(node.mode, node.uid, node.gid, time)
}

fn refused(error: BackhandError) -> Fault {
    match error {
        BackhandError::StdIo(error) => Fault::machine("cannot write the file system").because(error),
        other => Fault::integrity("the tree does not become squashfs").because(other),
    }
}

/// A file that is opened when it is read, and closed at its end: the writer is told of all of them first.
struct Late<'a> {
    contents: &'a dyn Contents,
    content: Digest,
    open: Option<Box<dyn Read + 'a>>,
}

impl Read for Late<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(self.contents.open(&self.content).map_err(io::Error::other)?),
        };
        let count = open.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.open = Some(Box::new(io::empty()));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use backhand::{FilesystemReader, InnerNode};

    use super::*;
    use crate::tree::{Memory, TreePath};

    fn epoch() -> Epoch {
        Epoch::new(1_763_201_230).unwrap()
    }

    fn sample() -> (Tree, Memory) {
        let (mut tree, mut memory) = (Tree::new(), Memory::default());
        let mut put = |path: &str, node| tree.insert(TreePath::new(path).unwrap(), node).unwrap();
        put("diff", Node::dir(0o755).owned_by(10_000_000, 10_000_000));
        put("diff/etcd", memory.file(vec![7; 3 << 20], 0o755).owned_by(10_000_000, 10_065_535));
        put("diff/passwd", memory.file("root", 0o600).owned_by(10_001_000, 0));
        put("images.lock", memory.file("", 0o644));
        put("l/A", Node::symlink("../diff"));
        (tree, memory)
    }

    fn bytes(tree: &Tree, memory: &Memory) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        write(tree, memory, epoch(), &mut out).unwrap();
        out.into_inner()
    }

    #[test]
    fn a_tree_comes_back_as_it_went_in() {
        let (tree, memory) = sample();
        let image = bytes(&tree, &memory);
        assert!(image == bytes(&tree, &memory), "two runs differ");
        let system = FilesystemReader::from_reader(Cursor::new(image)).unwrap();
        let mut found = 0;
        for node in system.files().filter(|node| node.fullpath.as_os_str() != "/") {
            let path = node.fullpath.to_str().unwrap().trim_start_matches('/');
            let expect = tree.get(path).unwrap();
            assert_eq!(node.header, header(expect, epoch().seconds() as u32), "{path}");
            match (&node.inner, &expect.kind) {
                (InnerNode::Dir(_), Kind::Dir) => {}
                (InnerNode::Symlink(link), Kind::Symlink { target }) => {
                    assert_eq!(link.link.to_str(), Some(target.as_str()));
                }
                (InnerNode::File(file), Kind::File { content, .. }) => {
                    let mut read = Vec::new();
                    system.file(file).reader().read_to_end(&mut read).unwrap();
                    assert_eq!(Digest::of(read), *content, "{path}");
                }
                (_, other) => panic!("{path} is no {other:?}"),
            }
            found += 1;
        }
        assert_eq!(found, tree.len());
    }

    #[test]
    fn what_squashfs_cannot_hold_is_refused() {
        let (mut tree, memory) = sample();
        let late = Epoch::new(u64::from(u32::MAX) + 1).unwrap();
        assert!(write(&tree, &memory, late, &mut Cursor::new(Vec::new())).is_err());
        assert!(write(&tree, &Memory::default(), epoch(), &mut Cursor::new(Vec::new())).is_err(), "no bytes");
        tree.get_mut("diff/etcd").unwrap().xattrs.insert("security.capability".into(), "00".into());
        let fault = write(&tree, &memory, epoch(), &mut Cursor::new(Vec::new())).unwrap_err();
        assert_eq!(fault.what(), "diff/etcd has the attribute security.capability");
    }
}
