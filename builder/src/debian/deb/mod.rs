//! Debian packages (deb(5)), read strictly and in one pass.
//!
//! ```text
//! ar archive
//! ├── debian-binary               2.0
//! ├── control.tar[.gz|.xz|.zst]   ./control, ./conffiles, ./postinst, ...
//! └── data.tar[.gz|.xz|.zst]      the files; their contents go to a Sink as they come
//! ```
//!
//! Whatever dpkg, apt or tar would read differently from us is refused, not guessed at. Every refusal
//! is an integrity fault that names the member. Nothing is written anywhere: the result is a
//! [`Tree`], so a name cannot escape, and a file cannot be written through a link.

mod ar;
mod compression;
mod tar;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};

use super::control::{Paragraph, Source};
use super::script::Script;
use super::version::Version;
use crate::base::name::{Arch, PackageName};
use crate::base::{Class, Digest, Fault, Result};
use crate::tree::{Kind, Memory, Node, Tree, TreePath};

use compression::Unpacked;
use tar::{Entry, EntryKind, Tar};

/// Where the contents of a package's files go, one after the other.
pub trait Sink {
    /// Reads a file's bytes to their end, keeps them, and returns their digest and length in bytes.
    fn keep(&mut self, content: &mut dyn Read) -> Result<(Digest, u64)>;
}

impl Sink for Memory {
    fn keep(&mut self, content: &mut dyn Read) -> Result<(Digest, u64)> {
        let mut bytes = Vec::new();
        let read = content.read_to_end(&mut bytes);
        let length = read.map_err(|error| Fault::machine("cannot read a content").because(error))? as u64;
        let digest = Digest::of(&bytes);
        self.file(bytes, 0o644);
        Ok((digest, length))
    }
}

/// A sink that keeps nothing but the digests: to list or check a package.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forget;

impl Sink for Forget {
    fn keep(&mut self, content: &mut dyn Read) -> Result<(Digest, u64)> {
        Digest::of_reader(content).map_err(|error| Fault::machine("cannot read a content").because(error))
    }
}

/// How much a package may unpack to, so that no small file fills the disk.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of data.tar.
    pub data: u64,
    /// Bytes of control.tar.
    pub control: u64,
    /// Files, directories and links.
    pub entries: usize,
}

impl Limits {
    /// For a package of `size` bytes: 64 MiB, or 300 times its size if that is more, but never over
    /// 8 GiB. The densest real packages (fonts, documentation) stay under 50 times.
    pub fn for_size(size: u64) -> Self {
        let data = size.saturating_mul(300).clamp(64 << 20, 8 << 30);
        Self { data, control: 64 << 20, entries: 500_000 }
    }
}

/// What a package is: its control members and its files as a tree.
#[derive(Clone, Debug)]
pub struct Deb {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its architecture.
    pub arch: Arch,
    /// The control paragraph.
    pub control: Paragraph,
    /// All control members by name, `control` among them, as dpkg keeps them in its info directory.
    pub members: BTreeMap<String, Vec<u8>>,
    /// Configuration files that dpkg keeps when the user has changed them.
    pub conffiles: Vec<TreePath>,
    /// The files. Hard links have become files with the same content.
    pub tree: Tree,
}

impl Deb {
    /// Reads a package; `name` is what its errors call it. The contents of its files go to `sink`.
    pub fn read(name: &str, package: impl Read, limits: Limits, sink: &mut dyn Sink) -> Result<Self> {
        read(package, limits, sink).map_err(|fault| fault.within(name))
    }

    /// The text of a maintainer script.
    pub fn script(&self, script: Script) -> Option<&[u8]> {
        self.members.get(script.as_str()).map(Vec::as_slice)
    }

    /// The lines of the control member `triggers` (deb-triggers(5)).
    pub fn triggers(&self) -> Option<&[u8]> {
        self.members.get("triggers").map(Vec::as_slice)
    }
}

fn read(package: impl Read, limits: Limits, sink: &mut dyn Sink) -> Result<Deb> {
    let mut archive = ar::Archive::open(package)?;
    let format = archive.member("debian-binary", |name| name == "debian-binary")?;
    let mut version = Vec::new();
    archive.content(&format).take(16).read_to_end(&mut version).map_err(|error| broken(&error))?;
    archive.finish(&format)?;
    if version != b"2.0\n" {
        let found = String::from_utf8_lossy(&version).into_owned();
        return Err(Fault::integrity("debian-binary").versus("2.0", format!("{found:?}")));
    }
    let members = part(&mut archive, "control.tar", limits.control, |tar| control_members(tar))?;
    let tree = part(&mut archive, "data.tar", limits.data, |tar| data_tree(tar, limits.entries, sink))?;
    archive.end()?;
    assemble(members, tree)
}

/// Reads one of the two tar archives to its end with `work`.
fn part<T, R: Read>(
    archive: &mut ar::Archive<R>,
    stem: &str,
    limit: u64,
    work: impl FnOnce(&mut Tar<&mut dyn Read>) -> Result<T>,
) -> Result<T> {
    let expect = format!("{stem}, alone or with .gz, .xz or .zst");
    let member = archive.member(&expect, |name| compression::of(name, stem).is_some())?;
    let Some(compression) = compression::of(&member.name, stem) else {
        return Err(Fault::bug("a member that was matched does not match"));
    };
    let within = |fault: Fault| fault.within(&member.name);
    let mut unpacked =
        Unpacked::new(BufReader::new(archive.content(&member)), compression, limit).map_err(within)?;
    let stream: &mut dyn Read = &mut unpacked;
    let mut tar = Tar::new(stream);
    let result = work(&mut tar).and_then(|value| tar.end().map(|()| value));
    // What broke the stream explains better than what its reader then met.
    let value = match (unpacked.fault(), result) {
        (Some(fault), _) => Err(fault),
        (None, result) => result,
    };
    let value = value.map_err(within)?;
    unpacked.finish().map_err(within)?;
    archive.finish(&member)?;
    Ok(value)
}

/// The plain files of control.tar.
fn control_members(tar: &mut Tar<&mut dyn Read>) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut members = BTreeMap::new();
    while let Some(entry) = tar.next()? {
        let Some(path) = entry.path()? else { continue };
        if entry.kind != EntryKind::File || path.parent().is_some() {
            return Err(refuse(&entry, "only plain files may stand in control.tar"));
        }
        let mut bytes = Vec::new();
        tar.content().read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        if members.insert(path.as_str().to_owned(), bytes).is_some() {
            return Err(refuse(&entry, "stands twice"));
        }
    }
    Ok(members)
}

/// The tree of data.tar.
fn data_tree(tar: &mut Tar<&mut dyn Read>, entries: usize, sink: &mut dyn Sink) -> Result<Tree> {
    let (mut tree, mut seen) = (Tree::new(), BTreeSet::new());
    while let Some(entry) = tar.next()? {
        let Some(path) = entry.path()? else { continue };
        if !seen.insert(path.clone()) {
            return Err(refuse(&entry, "stands twice"));
        }
        if seen.len() > entries {
            return Err(refuse(&entry, format!("is one more than {entries} entries")));
        }
        let node = match &entry.kind {
            EntryKind::Dir => Node::dir(entry.mode),
            EntryKind::Symlink(target) => Node::symlink(target.as_str()),
            EntryKind::Hardlink(target) => linked(&entry, target, &tree)?,
            EntryKind::File => {
                let (content, size) = sink.keep(&mut tar.content())?;
                if size != entry.size {
                    return Err(refuse(&entry, "is cut short").versus(entry.size, size));
                }
                Node::file(content, size, entry.mode)
            }
        };
        let node = match entry.kind {
            EntryKind::Hardlink(_) => node,
            _ => node.owned_by(entry.uid, entry.gid),
        };
        tree.insert(path, node).map_err(|fault| refuse(&entry, fault.what()))?;
    }
    Ok(tree)
}

/// The file that a hard link names, which must stand earlier in the archive.
fn linked(entry: &Entry, target: &str, tree: &Tree) -> Result<Node> {
    let path = tar::tree_path(target)
        .map_err(|fault| refuse(entry, format!("links to {target:?}")).because(fault))?;
    let node = path.as_ref().and_then(|path| tree.get(path.as_str()));
    match node {
        Some(node) if matches!(node.kind, Kind::File { .. }) => Ok(node.clone()),
        _ => Err(refuse(entry, format!("is a hard link to {target:?}"))
            .versus("a file that stands earlier in the archive", "none there")),
    }
}

fn assemble(members: BTreeMap<String, Vec<u8>>, tree: Tree) -> Result<Deb> {
    let text = |name: &str| match members.get(name).map(|bytes| std::str::from_utf8(bytes)) {
        Some(Err(_)) => Err(Fault::integrity(format!("{name} is not UTF-8"))),
        Some(Ok(text)) => Ok(Some(text)),
        None => Ok(None),
    };
    let control = text("control")?.ok_or_else(|| Fault::integrity("control.tar has no member control"))?;
    let source = Source { file: "control", text: control, class: Class::Integrity };
    let control = source.read_one()?;
    let conffile = |line: &str| {
        let path =
            line.strip_prefix('/').ok_or_else(|| Fault::integrity("a conffile without a leading slash"));
        path.and_then(TreePath::new).map_err(|fault| fault.within(format!("conffiles: {line:?}")))
    };
    // `remove-on-upgrade /path` names a file that is no longer in the package.
    let lines = text("conffiles")?.unwrap_or_default().lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("remove-on-upgrade "));
    let conffiles = lines.map(conffile).collect::<Result<Vec<_>>>()?;
    if let Some(missing) = conffiles.iter().find(|path| tree.get(path.as_str()).is_none()) {
        return Err(Fault::integrity(format!("conffiles names {missing}, which the package does not hold")));
    }
    let field = |name: &str| control.need(name);
    let wrong = |fault: Fault| Fault::integrity(format!("control: {}", fault.what())).because(&fault);
    Ok(Deb {
        name: PackageName::new(field("Package")?).map_err(wrong)?,
        version: Version::new(field("Version")?).map_err(wrong)?,
        arch: field("Architecture")?.parse().map_err(wrong)?,
        control,
        conffiles,
        members,
        tree,
    })
}

fn refuse(entry: &Entry, why: impl Into<String>) -> Fault {
    Fault::integrity(format!("{}: {}", entry.shown(), why.into()))
}

fn broken(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::integrity("truncated"),
        _ => Fault::integrity("unreadable").because(error),
    }
}

#[cfg(test)]
mod tests;
