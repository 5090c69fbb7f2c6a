//! A tree as an ext4 file system, through the `mkext4` crate alone.
//!
//! Every input is an argument: UUID, hash seed (from the UUID), label, epoch. The writer has no
//! `resize_inode`: the kernel grows such a file system while it is mounted by the `meta_bg` layout
//! (`fs/ext4/resize.c`, `ext4_convert_meta_bg`), which is what `systemd-growfs` asks for at first boot.

use std::collections::BTreeMap;
use std::io;

use mkext4::{FsBuilder, InodeCount, InodeHandle, Layout, Meta, Options, ROOT, RegionSink};

use super::writer::BlockWriter;
use crate::base::tree::{Contents, Kind, Node, Tree, TreePath};
use crate::base::{Epoch, Fault, Result};

/// Bytes of a block.
pub const BLOCK: u64 = 4096;

/// The least bytes for one inode, as `mke2fs` has it; groups added by growth keep the ratio.
const BYTES_PER_INODE: u64 = 16_384;

/// 64 MiB: what a grown node wants, and nothing but a hole in the image.
const JOURNAL_BLOCKS: u64 = 16_384;

/// What a file system is, apart from the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ext4 {
    /// Its UUID, from which the directories' hash seed comes too.
    pub uuid: [u8; 16],
    /// Its label, at most 16 bytes.
    pub label: String,
    /// The time of everything in it.
    pub epoch: Epoch,
    /// Its length in bytes: a multiple of [`BLOCK`].
    pub length: u64,
}

/// Returns the length for a tree and `slack` free bytes, in whole MiB.
pub fn length(tree: &Tree, slack: u64) -> u64 {
    let blocks: u64 = tree.iter().map(|(_, node)| blocks(node)).sum();
    let inodes = (tree.len() as u64).div_ceil(16) * BLOCK;
    let journal = JOURNAL_BLOCKS * BLOCK;
    // Bitmaps, group descriptors, their copies, extent blocks and directory indices: under 2 %.
    let content = (blocks * BLOCK + inodes) / 50 * 51;
    let held = content + journal + slack;
    // One part in 64 of the whole is inode tables, so one in 63 of the rest; bitmaps have what 60 leaves.
    let least = (tree.len() as u64 * BYTES_PER_INODE).max(held + held / 60);
    (least + BYTES_PER_INODE).next_multiple_of(1 << 20)
}

fn blocks(node: &Node) -> u64 {
    match &node.kind {
        Kind::Dir => 1,
        Kind::File { size, .. } => size.div_ceil(BLOCK),
        Kind::Symlink { target } => u64::from(target.len() >= 60),
    }
}

/// Writes `tree` as a file system into `out`, file by file: no file is held in memory.
pub fn write(spec: &Ext4, tree: &Tree, contents: &dyn Contents, out: &mut dyn BlockWriter) -> Result<()> {
    let (layout, files) = plan(spec, tree)?;
    let mut writer = layout.writer(Forward::new(out)).map_err(|e| refused(None, e))?;
    for (path, handle, node) in files {
        let Kind::File { content, .. } = &node.kind else { continue };
        let mut reader = contents.open(content)?;
        writer.fill(handle, &mut reader).map_err(|e| refused(Some(path), e))?;
    }
    writer.finish().map_err(|e| refused(None, e))?;
    Ok(())
}

/// Files with something in them, in the order in which they lie on the disk.
type Files<'a> = Vec<(&'a TreePath, InodeHandle, &'a Node)>;

fn plan<'a>(spec: &Ext4, tree: &'a Tree) -> Result<(Layout, Files<'a>)> {
    let mut builder = FsBuilder::new(options(spec, tree)?).map_err(|e| refused(None, e))?;
    let time = (seconds(spec.epoch)?, 0);
    let mut dirs: BTreeMap<&str, InodeHandle> = BTreeMap::new();
    let mut files = Vec::new();
    for (path, node) in tree.iter() {
        let parent = path.as_str().rsplit_once('/').map(|(parent, _)| parent);
        let parent = match parent {
            None => ROOT,
            Some(parent) => {
                *dirs.get(parent).ok_or_else(|| Fault::bug(format!("{path} before its directory")))?
            }
        };
        let handle = declare(&mut builder, parent, path, node, time).map_err(|e| refused(Some(path), e))?;
        match node.kind {
            Kind::Dir => drop(dirs.insert(path.as_str(), handle)),
            Kind::File { size, .. } if size > 0 => files.push((path, handle, node)),
            _ => {}
        }
        for (name, hex) in &node.xattrs {
            let value = unhex(hex).ok_or_else(|| {
                Fault::integrity(format!("{path}: attribute {name}"))
                    .expected_found("hexadecimal", format!("{hex:?}"))
            })?;
            builder.set_xattr(handle, name, &value).map_err(|e| refused(Some(path), e))?;
        }
    }
    Ok((builder.seal().map_err(|e| refused(None, e))?, files))
}

fn declare(
    builder: &mut FsBuilder,
    parent: InodeHandle,
    path: &TreePath,
    node: &Node,
    time: (i64, u32),
) -> mkext4::Result<InodeHandle> {
    let (name, meta) = (path.file_name(), Meta::new(node.mode, node.uid, node.gid, time));
    match &node.kind {
        // A root tree may hold the directory that every ext4 file system has of its own.
        Kind::Dir => builder.mkdir(parent, name, meta),
        Kind::File { size, .. } => builder.file(parent, name, meta, *size),
        Kind::Symlink { target } => builder.symlink(parent, name, target, meta),
    }
}

fn options(spec: &Ext4, tree: &Tree) -> Result<Options> {
    let blocks = spec.length / BLOCK;
    let inodes = (spec.length / BYTES_PER_INODE).max(tree.len() as u64 + 64);
    let mut options = Options::new(spec.length, spec.uuid, seconds(spec.epoch)?);
    options.label = Some(spec.label.clone());
    options.inodes = InodeCount::Exact(u32::try_from(inodes).unwrap_or(u32::MAX));
    options.journal_blocks = u32::try_from(JOURNAL_BLOCKS.min(blocks / 8)).ok();
    // Root's reserve is a share of the disk; of a grown one five in a hundred would be wasted.
    options.reserved_percent = 1;
    Ok(options)
}

/// The superblock's times have 32 bits: up to the year 2106.
fn seconds(epoch: Epoch) -> Result<i64> {
    let seconds = u32::try_from(epoch.seconds());
    seconds
        .map(i64::from)
        .map_err(|_| Fault::user("a time that ext4 cannot hold").expected_found("before 2106", epoch))
}

fn refused(path: Option<&TreePath>, error: mkext4::Error) -> Fault {
    let place = path.map_or_else(String::new, |path| format!(" at {path}"));
    match error {
        mkext4::Error::Io(error) => {
            Fault::machine(format!("cannot write the file system{place}")).cause_io(&error)
        }
        other => Fault::integrity(format!("the tree does not become ext4{place}")).cause(other),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let byte = |pair: &[u8]| Some(nibble(pair[0])? << 4 | nibble(*pair.get(1)?)?);
    digits.chunks(2).map(byte).collect()
}

/// The writer passes twice from front to back: over its own blocks, and over those of files.
struct Forward<'a> {
    out: &'a mut dyn BlockWriter,
    /// Where the last bytes were put.
    last: u64,
    second: bool,
}

impl<'a> Forward<'a> {
    fn new(out: &'a mut dyn BlockWriter) -> Self {
        Self { out, last: 0, second: false }
    }
}

impl RegionSink for Forward<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match (offset >= self.last, self.second) {
            (true, false) => {}
            (true, true) => self.out.finalize_up_to(offset),
            (false, false) => self.second = true,
            (false, true) => return Err(io::Error::other("a third pass over the file system")),
        }
        self.last = offset;
        self.out.write_at(offset, bytes)
    }
    fn zeros(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::Memory;
    use mkext4::reader::Fs;

    fn spec(tree: &Tree) -> Ext4 {
        let epoch = Epoch::new(1_700_000_000).unwrap();
        Ext4 { uuid: [7; 16], label: "hale-root".into(), epoch, length: length(tree, 1 << 20) }
    }

    fn sample() -> (Tree, Memory) {
        let (mut tree, mut contents) = (Tree::new(), Memory::default());
        let mut put = |path: &str, node| tree.insert(TreePath::new(path).unwrap(), node).unwrap();
        let mut ping = contents.file(vec![9; 10_000], 0o755);
        ping.xattrs.insert("security.capability".into(), "0100000200200000000000000000000000000000".into());
        put("usr/bin/ping", ping);
        put("usr/bin/su", contents.file("su", 0o4755));
        put("etc/empty", contents.file("", 0o600).owned_by(10_000_000, 42));
        put("bin", Node::symlink("usr/bin"));
        put("var/lib/etcd", Node::dir(0o2750).owned_by(10_000_000, 10_000_000));
        (tree, contents)
    }

    #[test]
    fn a_tree_comes_back_as_it_went_in() {
        let (tree, contents) = sample();
        let mut image = Vec::new();
        write(&spec(&tree), &tree, &contents, &mut image).unwrap();
        image.resize(spec(&tree).length as usize, 0);
        let fs = Fs::open(&image[..]).unwrap();
        let ping = fs.resolve("/usr/bin/ping").unwrap();
        assert_eq!(fs.read_file(ping).unwrap(), vec![9; 10_000]);
        let mut again = Vec::new();
        write(&spec(&tree), &tree, &contents, &mut again).unwrap();
        again.resize(image.len(), 0);
        assert!(image == again, "two runs differ");
    }

    #[test]
    fn what_ext4_cannot_hold_is_refused() {
        let (mut tree, contents) = sample();
        let late = Ext4 { epoch: Epoch::new(u64::from(u32::MAX) + 1).unwrap(), ..spec(&tree) };
        assert!(write(&late, &tree, &contents, &mut Vec::new()).is_err());
        let tiny = Ext4 { length: 9 << 20, ..spec(&tree) };
        let mut big = Memory::default();
        tree.insert(TreePath::new("big").unwrap(), big.file(vec![1; 10 << 20], 0o644)).unwrap();
        assert!(write(&tiny, &tree, &big, &mut Vec::new()).is_err(), "more content than room");
        tree.get_mut("etc/empty").unwrap().xattrs.insert("user.x".into(), "0g".into());
        assert!(
            write(&spec(&tree), &tree, &contents, &mut Vec::new()).is_err(),
            "an attribute that is no hex"
        );
    }
}
