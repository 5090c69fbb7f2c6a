//! Payloads: an upstream release becomes the tree of a package of ours.
//!
//! ```text
//! bare program    it is the one file
//! tar.gz          the files that the recipe names, wherever upstream's layouts have them
//! .deb            the files that the recipe names, at their paths on the node
//! ```
//!
//! Only what the recipe names is taken, with the recipe's mode and root as its owner; a file that is not
//! there is refused by name. What can be run must be a program for the line's machine.

use std::collections::BTreeMap;
use std::io::Read;

use crate::base::name::Arch;
use crate::base::tree::{Contents, Kind, Node, Tree, TreePath};
use crate::base::{Digest, Fault, Result};
use crate::formats::archive::{self, Compression, EntryKind, Sink};
use crate::formats::debian::deb::{UnpackLimits, UnpackedDeb};
use crate::plan::Output;
use crate::recipe::component::{ArchiveKind, UpstreamRelease};
use crate::store::Store;

/// Takes the wanted files out of a release of `size` bytes; their contents go to `sink`.
pub fn tree(release: &UpstreamRelease, input: &mut dyn Read, size: u64, sink: &mut dyn Sink) -> Result<Tree> {
    take(release, input, size, sink).map_err(|fault| fault.context(&release.name))
}

fn take(release: &UpstreamRelease, input: &mut dyn Read, size: u64, sink: &mut dyn Sink) -> Result<Tree> {
    let mut sink = Heads { sink, heads: BTreeMap::new() };
    let taken = match release.archive {
        ArchiveKind::None => bare(release, input, &mut sink),
        ArchiveKind::TarGz => unpacked(release, input, size, &mut sink),
        ArchiveKind::Deb => packaged(release, input, size, &mut sink),
    }?;
    let mut tree = Tree::new();
    for (path, (content, size)) in taken {
        let mode = release.files[&path].mode;
        if mode & 0o111 != 0 {
            check_program(&sink.heads[&content], release.arch).map_err(|fault| fault.context(&path))?;
        }
        tree.insert(path, Node::file(content, size, mode))?;
    }
    Ok(tree)
}

/// Takes the wanted files out of a tree of programs that were compiled here.
pub fn of_tree(release: &UpstreamRelease, from: &Tree, contents: &dyn Contents) -> Result<Tree> {
    let mut tree = Tree::new();
    for (path, wanted) in &release.files {
        let node = wanted.places.iter().find_map(|place| from.get(place.as_str()));
        let Some(Kind::File { content, size }) = node.map(|node| &node.kind) else {
            return Err(Fault::user(format!("{} was not compiled", path.file_name()))
                .context(&release.name)
                .expected_found(listed(wanted.places.iter()), listed(from.iter().map(|(path, _)| path))));
        };
        let mut head = Vec::new();
        let read = contents.open(content)?.take(HEAD as u64).read_to_end(&mut head);
        read.map_err(|error| Fault::integrity("unreadable").cause(error))?;
        check_program(&head, release.arch).map_err(|fault| fault.context(path))?;
        tree.insert(path.clone(), Node::file(*content, *size, wanted.mode))?;
    }
    Ok(tree)
}

/// Digest and length of each wanted file's bytes.
type Taken = BTreeMap<TreePath, (Digest, u64)>;

fn bare(release: &UpstreamRelease, input: &mut dyn Read, sink: &mut Heads) -> Result<Taken> {
    let mut paths = release.files.keys();
    match (paths.next(), paths.next()) {
        (Some(path), None) => Ok(BTreeMap::from([(path.clone(), sink.keep(input)?)])),
        _ => Err(Fault::user("one file was given where several are needed")
            .expected_found(listed(release.files.keys()), "one file")
            .help("give a .tar.gz or a .deb that holds them all")),
    }
}

fn unpacked(release: &UpstreamRelease, input: &mut dyn Read, size: u64, sink: &mut Heads) -> Result<Taken> {
    let is_wanted = |path: &TreePath| release.files.values().any(|wanted| wanted.places.contains(path));
    let (mut found, mut others) = (BTreeMap::new(), Vec::new());
    archive::read(input, Compression::Gzip, UnpackLimits::for_size(size).data, |tar| {
        while let Some(entry) = tar.next()? {
            let Some(path) = entry.path()? else { continue };
            if !is_wanted(&path) {
                others.extend((entry.kind == EntryKind::File).then_some(path));
            } else if entry.kind != EntryKind::File {
                return Err(entry.refuse("is no plain file"));
            } else if found.insert(path, tar.keep(&entry, sink)?).is_some() {
                return Err(entry.refuse("stands twice"));
            }
        }
        Ok(())
    })?;
    let mut taken = Taken::new();
    for (path, wanted) in &release.files {
        let Some(one) = wanted.places.iter().find_map(|place| found.get(place)) else {
            let places = wanted.places.iter().map(TreePath::as_str).collect::<Vec<_>>().join(" or ");
            return Err(Fault::integrity(format!("{} is not in the archive", path.file_name()))
                .expected_found(places, listed(found.keys().chain(&others))));
        };
        taken.insert(path.clone(), *one);
    }
    Ok(taken)
}

fn packaged(release: &UpstreamRelease, input: &mut dyn Read, size: u64, sink: &mut Heads) -> Result<Taken> {
    let deb = UnpackedDeb::read("the package", input, UnpackLimits::for_size(size), sink)?;
    if deb.arch != release.arch {
        return Err(Fault::integrity("a package for another machine").expected_found(release.arch, deb.arch));
    }
    let is_file = |node: &Node| matches!(node.kind, Kind::File { .. });
    let mut taken = Taken::new();
    for path in release.files.keys() {
        let Some(Kind::File { content, size }) = deb.tree.get(path.as_str()).map(|node| &node.kind) else {
            let files = deb.tree.iter().filter(|(_, node)| is_file(node)).map(|(path, _)| path);
            return Err(Fault::integrity(format!("{} is not in the package", path.file_name()))
                .expected_found(path, listed(files)));
        };
        taken.insert(path.clone(), (*content, *size));
    }
    Ok(taken)
}

/// Names for people: the first few.
fn listed<'a>(paths: impl Iterator<Item = &'a TreePath>) -> String {
    const SHOWN: usize = 8;
    let all: Vec<_> = paths.map(TreePath::as_str).collect();
    match all.len() {
        0 => "no file".to_owned(),
        count if count <= SHOWN => all.join(", "),
        count => format!("{} and {} more", all[..SHOWN].join(", "), count - SHOWN),
    }
}

/// How many bytes say what a program is for.
const HEAD: usize = 20;

/// A sink that remembers how each content begins.
struct Heads<'a> {
    sink: &'a mut dyn Sink,
    heads: BTreeMap<Digest, Vec<u8>>,
}

impl Sink for Heads<'_> {
    fn keep(&mut self, content: &mut dyn Read) -> Result<(Digest, u64)> {
        let mut head = Vec::new();
        let read = content.take(HEAD as u64).read_to_end(&mut head);
        read.map_err(|error| Fault::integrity("unreadable").cause(error))?;
        let kept = self.sink.keep(&mut head.as_slice().chain(content))?;
        self.heads.insert(kept.0, head);
        Ok(kept)
    }
}

/// Refuses what the machine cannot run: neither a script nor an ELF program for it (elf(5): `EI_CLASS` and
/// `EI_DATA` at 4 and 5, `e_machine` at 18).
fn check_program(head: &[u8], arch: Arch) -> Result<()> {
    if head.starts_with(b"#!/") {
        return Ok(());
    }
    let expected = match arch {
        Arch::Amd64 => ("amd64", 62),
        Arch::Arm64 => ("arm64", 183),
        Arch::All => return Err(Fault::bug("a program for no machine")),
    };
    match head {
        [0x7f, b'E', b'L', b'F', 2, 1, .., low, high] if head.len() == HEAD => {
            match u16::from_le_bytes([*low, *high]) {
                machine if machine == expected.1 => Ok(()),
                machine => Err(Fault::integrity("a program for another machine")
                    .expected_found(format!("{} (ELF machine {})", expected.0, expected.1), machine)),
            }
        }
        _ => Err(Fault::integrity("no program").expected_found(
            format!("a 64-bit ELF file for {} or a script", expected.0),
            format!("{:?}…", String::from_utf8_lossy(head)),
        )),
    }
}

/// Takes the wanted files out of the release that the store holds.
pub fn unpack(
    store: &Store,
    input: Output,
    release: &UpstreamRelease,
    texts: &BTreeMap<TreePath, String>,
) -> Result<Output> {
    let batch = store.batch()?;
    let mut unpacked = match input {
        Output::Blob { content, size } => tree(release, &mut store.open(&content)?, size, &mut &batch)?,
        Output::Tree { tree } => of_tree(release, &store.tree(&tree)?, store)?,
    };
    for (path, text) in texts {
        let node = Node::file(batch.put_bytes(text.as_bytes())?, text.len() as u64, 0o644);
        unpacked.insert(path.clone(), node)?;
    }
    batch.commit()?;
    Ok(Output::Tree { tree: store.put_tree(&unpacked)? })
}

#[cfg(test)]
mod tests;
