//! A tree as an erofs file system: what is mounted of it nobody can write to, whoever its files belong to.
//!
//! Its data lies uncompressed in whole blocks, equal files once, so that what carries the file system compresses it
//! as well as it would the files. Time and owners come from the arguments, and the layout from the tree's order.
//! Source: the kernel's `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`. In order:
//!
//! ```text
//! block 0      the superblock, at byte 1024
//! block 1      inodes of 64 bytes each: the root's, then the tree's in its order
//! then         directories and links, then files
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::base::tree::{Contents, Kind, Node, Tree};
use crate::base::{Digest, Epoch, Fault, Result};
use crate::pack::written;

/// Bytes of a block.
const BLOCK: usize = 4096;
/// Bytes of an inode: the larger of two forms, which alone has a time and ids of 32 bits.
const INODE: usize = 64;
/// An inode's number counts in these bytes (`EROFS_ISLOTBITS`).
const SLOT: usize = 32;
/// Bytes of a directory's entry, without its name.
const ENTRY: usize = 12;
const MAGIC: u32 = 0xe0f5_e1e2;
/// The longest name, and the longest target of a link with the zero behind it.
const LONGEST: [usize; 2] = [255, 4095];
const WHAT: &str = "the file system";

/// Writes `tree` into `out`, file by file.
///
/// # Errors
/// What erofs cannot hold; an attribute, which a mount that ignores set-user-id bits would ignore, too.
pub fn write(tree: &Tree, contents: &dyn Contents, epoch: Epoch, out: &mut dyn Write) -> Result<()> {
    let inodes = inodes(tree)?;
    let mut layout = Layout { next: 1 + blocks((inodes.len() * INODE) as u64), files: BTreeMap::new() };
    let mut table = Vec::new();
    let mut small = Vec::new();
    // What is made here lies before all files, so that both are written in one go.
    for inode in &inodes {
        if let Body::Bytes(bytes) = &inode.body {
            small.extend_from_slice(bytes);
            small.resize(small.len().next_multiple_of(BLOCK), 0);
        }
    }
    let mut made = layout.next;
    layout.next += blocks(small.len() as u64);
    for (index, inode) in inodes.iter().enumerate() {
        let at = match &inode.body {
            Body::Bytes(bytes) => {
                let at = made;
                made += blocks(bytes.len() as u64);
                at
            }
            Body::File { content, size } => layout.place(content, *size),
        };
        inode.encode(index, block(at)?, epoch, &mut table);
    }
    table.resize(table.len().next_multiple_of(BLOCK), 0);
    for part in [superblock(inodes.len(), block(layout.next)?, epoch), table, small] {
        written(WHAT, out.write_all(&part))?;
    }
    let mut files: Vec<_> = layout.files.iter().collect();
    files.sort_by_key(|(_, (at, _))| *at);
    for (content, (_, size)) in files {
        let mut file = contents.open(content)?;
        let copied = written(WHAT, io::copy(&mut file, out))?;
        if copied != *size {
            return Err(
                Fault::integrity(format!("{content} has another length")).expected_found(size, copied)
            );
        }
        let rest = (*size as usize).next_multiple_of(BLOCK) - *size as usize;
        written(WHAT, out.write_all(&[0; BLOCK][..rest]))?;
    }
    Ok(())
}

/// Where files lie: each content once.
struct Layout<'a> {
    next: u64,
    files: BTreeMap<&'a Digest, (u64, u64)>,
}

impl<'a> Layout<'a> {
    fn place(&mut self, content: &'a Digest, size: u64) -> u64 {
        if size == 0 {
            return 0;
        }
        let next = &mut self.next;
        let (at, _) = self.files.entry(content).or_insert_with(|| {
            let at = *next;
            *next += blocks(size);
            (at, size)
        });
        *at
    }
}

/// A block's number as it is written down.
fn block(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Fault::user("a tree that is too large for erofs"))
}

fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK as u64)
}

fn superblock(inodes: usize, blocks: u32, epoch: Epoch) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK];
    let mut put = |at: usize, value: &[u8]| bytes[1024 + at..][..value.len()].copy_from_slice(value);
    put(0, &MAGIC.to_le_bytes());
    // Inodes have times of changes (`EROFS_FEATURE_COMPAT_MTIME`).
    put(8, &2_u32.to_le_bytes());
    put(12, &[BLOCK.ilog2() as u8]);
    put(14, &(number(0) as u16).to_le_bytes());
    put(16, &(inodes as u64).to_le_bytes());
    put(24, &epoch.seconds().to_le_bytes());
    put(36, &blocks.to_le_bytes());
    bytes
}

/// What an inode leads to.
enum Body<'a> {
    /// A directory's entries, a link's target.
    Bytes(Vec<u8>),
    File {
        content: &'a Digest,
        size: u64,
    },
}

struct Inode<'a> {
    mode: u16,
    owners: [u32; 2],
    links: u32,
    body: Body<'a>,
}

impl Inode<'_> {
    /// `struct erofs_inode_extended`, its data flat and in whole blocks (`EROFS_INODE_FLAT_PLAIN`).
    fn encode(&self, index: usize, block: u32, epoch: Epoch, table: &mut Vec<u8>) {
        let size = match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { size, .. } => *size,
        };
        let start = table.len();
        table.extend(1_u16.to_le_bytes());
        table.extend([0; 2]);
        table.extend(self.mode.to_le_bytes());
        table.extend([0; 2]);
        table.extend(size.to_le_bytes());
        table.extend(block.to_le_bytes());
        table.extend((index as u32 + 1).to_le_bytes());
        self.owners.iter().for_each(|id| table.extend(id.to_le_bytes()));
        table.extend(epoch.seconds().to_le_bytes());
        table.extend([0; 4]);
        table.extend(self.links.to_le_bytes());
        table.resize(start + INODE, 0);
    }
}

/// What a file is: the bits of its mode (inode(7)), and its number in a directory (`enum` of `fs_types.h`).
fn form(node: &Node) -> (u16, u8) {
    match node.kind {
        Kind::Dir => (0o040_000, 2),
        Kind::File { .. } => (0o100_000, 1),
        Kind::Symlink { .. } => (0o120_000, 7),
    }
}

/// The number of an inode: its place from the start of the file system. So none is 0, which readers skip.
fn number(index: usize) -> u64 {
    ((BLOCK + index * INODE) / SLOT) as u64
}

/// A directory's names with their inodes' numbers and forms.
type Listing<'a> = BTreeMap<&'a str, (u64, u8)>;

/// The root's inode, then the tree's.
fn inodes(tree: &Tree) -> Result<Vec<Inode<'_>>> {
    let root = Node::dir(0o755);
    let mut listings: BTreeMap<&str, Listing<'_>> = BTreeMap::from([("", listing(number(0), number(0)))]);
    let mut indexes = BTreeMap::from([("", 0)]);
    for (index, (path, node)) in tree.iter().enumerate() {
        let (parent, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let own = number(index + 1);
        if name.len() > LONGEST[0] {
            return Err(Fault::user(format!("{path} has a name that is too long"))
                .expected_found(format!("at most {} bytes", LONGEST[0]), name.len()));
        }
        if node.is_dir() {
            listings.insert(path.as_str(), listing(own, number(indexes[parent])));
            indexes.insert(path.as_str(), index + 1);
        }
        let listing = listings.get_mut(parent);
        let listing = listing.ok_or_else(|| Fault::bug(format!("{path} before its directory")))?;
        listing.insert(name, (own, form(node).1));
    }
    let (links, body) = listed(&listings[""]);
    let root = Inode { mode: form(&root).0 | root.mode, owners: [root.uid, root.gid], links, body };
    let all = tree.iter().map(|(path, node)| inode(path.as_str(), node, &listings));
    std::iter::once(Ok(root)).chain(all).collect()
}

fn listing<'a>(own: u64, parent: u64) -> Listing<'a> {
    [(".", (own, 2)), ("..", (parent, 2))].into()
}

fn inode<'a>(path: &str, node: &'a Node, listings: &BTreeMap<&str, Listing<'_>>) -> Result<Inode<'a>> {
    if let Some(name) = node.xattrs.keys().next() {
        return Err(Fault::integrity(format!("{path} has the attribute {name}"))
            .expected_found("a file without attributes", name));
    }
    let (links, body) = match &node.kind {
        Kind::Dir => listed(&listings[path]),
        Kind::Symlink { target } if target.len() > LONGEST[1] => {
            return Err(Fault::user(format!("{path} leads too far"))
                .expected_found(format!("at most {} bytes", LONGEST[1]), target.len()));
        }
        Kind::Symlink { target } => (1, Body::Bytes(target.as_bytes().to_vec())),
        Kind::File { content, size } => (1, Body::File { content, size: *size }),
    };
    Ok(Inode { mode: form(node).0 | node.mode, owners: [node.uid, node.gid], links, body })
}

/// A directory's links, which are its own name and one of each directory in it, and its blocks.
fn listed(listing: &Listing<'_>) -> (u32, Body<'static>) {
    let links = listing.values().filter(|(_, form)| *form == 2).count() as u32;
    (links, Body::Bytes(directory(listing)))
}

/// A directory's blocks: each has entries, then their names; all names are in the order of their bytes.
fn directory(listing: &Listing<'_>) -> Vec<u8> {
    let (mut bytes, mut block, mut used) = (Vec::new(), Vec::new(), 0);
    for entry in listing {
        let need = ENTRY + entry.0.len();
        if used + need > BLOCK {
            flush(&mut bytes, &block);
            (block, used) = (Vec::new(), 0);
        }
        block.push(entry);
        used += need;
    }
    flush(&mut bytes, &block);
    bytes
}

fn flush(bytes: &mut Vec<u8>, block: &[(&&str, &(u64, u8))]) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    let mut name_at = block.len() * ENTRY;
    for (name, (number, form)) in block {
        bytes.extend(number.to_le_bytes());
        bytes.extend((name_at as u16).to_le_bytes());
        bytes.extend([*form, 0]);
        name_at += name.len();
    }
    block.iter().for_each(|(name, _)| bytes.extend(name.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::{Memory, TreePath};

    fn epoch() -> Epoch {
        Epoch::new(1_763_201_230).unwrap()
    }

    fn sample() -> (Tree, Memory) {
        let (mut tree, mut memory) = (Tree::new(), Memory::default());
        let mut put = |path: &str, node| tree.insert(TreePath::new(path).unwrap(), node).unwrap();
        put("diff/a", memory.file(vec![7; BLOCK + 1], 0o755).owned_by(10_000_000, 10_065_535));
        put("diff/b", memory.file(vec![7; BLOCK + 1], 0o600));
        put("diff/empty", memory.file("", 0o600));
        (tree, memory)
    }

    fn bytes(tree: &Tree, memory: &Memory) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        write(tree, memory, epoch(), &mut out).map(|()| out)
    }

    #[test]
    fn equal_files_lie_there_once() {
        let (tree, memory) = sample();
        let image = bytes(&tree, &memory).unwrap();
        // The superblock, inodes, two directories, one file of two blocks.
        assert_eq!(image.len(), 6 * BLOCK);
        assert_eq!(image[1024..][36..40], 6_u32.to_le_bytes());
        assert!(image == bytes(&tree, &memory).unwrap(), "two runs differ");
    }

    #[test]
    fn a_directory_of_many_names_is_in_order() {
        let names: Vec<String> = (0..1000).map(|number| format!("{number:0>40}")).collect();
        let mut listing = listing(number(0), number(0));
        listing.extend(names.iter().map(|name| (name.as_str(), (number(1), 1))));
        listing.insert("-before-the-dots", (number(1), 1));
        let bytes = directory(&listing);
        let mut found = Vec::new();
        for block in bytes.chunks(BLOCK) {
            let at = |entry: usize| {
                u16::from_le_bytes([block[entry * ENTRY + 8], block[entry * ENTRY + 9]]).into()
            };
            let count = at(0) / ENTRY;
            for entry in 0..count {
                let end = if entry + 1 < count { at(entry + 1) } else { block.len() };
                found.push(String::from_utf8_lossy(&block[at(entry)..end]).trim_end_matches('\0').to_owned());
            }
        }
        assert!(found.iter().eq(listing.keys()), "{found:?}");
    }

    #[test]
    fn what_erofs_cannot_hold_is_refused() {
        let (mut tree, memory) = sample();
        assert!(bytes(&tree, &Memory::default()).is_err(), "no bytes");
        let mut lying = tree.clone();
        if let Kind::File { size, .. } = &mut lying.get_mut("diff/a").unwrap().kind {
            *size += 1;
        }
        assert!(bytes(&lying, &memory).unwrap_err().what().ends_with("has another length"));
        tree.get_mut("diff/a").unwrap().xattrs.insert("security.capability".into(), "00".into());
        let fault = bytes(&tree, &memory).unwrap_err();
        assert_eq!(fault.what(), "diff/a has the attribute security.capability");
    }
}
