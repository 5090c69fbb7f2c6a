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

use std::collections::BTreeMap;
use std::io::Read;

use super::control::{ControlText, Paragraph};
use super::script::Script;
use super::version::Version;
use crate::base::name::{Arch, PackageName};
use crate::base::tree::{Tree, TreePath};
use crate::base::{Class, Fault, Result};
use crate::formats::archive::{self, Compression, EntryKind, Sink, Tar, broken};

/// How much a package may unpack to, so that no small file fills the disk.
#[derive(Clone, Copy, Debug)]
pub struct UnpackLimits {
    /// Bytes of data.tar.
    pub data: u64,
    /// Bytes of control.tar.
    pub control: u64,
    /// Files, directories and links.
    pub entries: usize,
}

impl UnpackLimits {
    /// Returns the limits for a package of `size` bytes: 64 MiB, or 300 times its size if that is more, but never over
    /// 8 GiB. The densest real packages (fonts, documentation) stay under 50 times.
    pub fn for_size(size: u64) -> Self {
        let data = size.saturating_mul(300).clamp(64 << 20, 8 << 30);
        Self { data, control: 64 << 20, entries: 500_000 }
    }
}

/// What a package is: its control members and its files as a tree.
#[derive(Clone, Debug)]
pub struct UnpackedDeb {
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

impl UnpackedDeb {
    /// Reads a package; `name` is what its errors call it. The contents of its files go to `sink`.
    pub fn read(name: &str, package: impl Read, limits: UnpackLimits, sink: &mut dyn Sink) -> Result<Self> {
        read(package, limits, sink).map_err(|fault| fault.context(name))
    }

    /// Reads a package's control paragraph alone; what it installs is not looked at.
    pub fn read_control(name: &str, package: impl Read, limits: UnpackLimits) -> Result<Paragraph> {
        let read = begin(package, limits).and_then(|(_, members)| control(&members));
        read.map_err(|fault| fault.context(name))
    }

    /// Returns the text of a maintainer script.
    pub fn script(&self, script: Script) -> Option<&[u8]> {
        self.members.get(script.as_str()).map(Vec::as_slice)
    }

    /// Returns the lines of the control member `triggers` (deb-triggers(5)).
    pub fn triggers(&self) -> Option<&[u8]> {
        self.members.get("triggers").map(Vec::as_slice)
    }
}

fn read(package: impl Read, limits: UnpackLimits, sink: &mut dyn Sink) -> Result<UnpackedDeb> {
    let (mut archive, members) = begin(package, limits)?;
    let tree = part(&mut archive, "data.tar", limits.data, |tar| tar.tree(limits.entries, sink))?;
    archive.end()?;
    assemble(members, tree)
}

/// The files of `control.tar` by name.
type ControlMembers = BTreeMap<String, Vec<u8>>;

/// Reads up to the data: the format's version, and the control members.
fn begin<R: Read>(package: R, limits: UnpackLimits) -> Result<(ar::ArReader<R>, ControlMembers)> {
    let mut archive = ar::ArReader::open(package)?;
    let format = archive.member("debian-binary", |name| name == "debian-binary")?;
    let mut version = Vec::new();
    archive.content(&format).take(16).read_to_end(&mut version).map_err(|error| broken(&error))?;
    archive.finish(&format)?;
    if version != b"2.0\n" {
        let found = String::from_utf8_lossy(&version).into_owned();
        return Err(Fault::integrity("debian-binary").expected_found("2.0", format!("{found:?}")));
    }
    let members = part(&mut archive, "control.tar", limits.control, control_members)?;
    Ok((archive, members))
}

/// Reads one of the two tar archives to its end with `work`.
fn part<T, R: Read>(
    archive: &mut ar::ArReader<R>,
    stem: &str,
    limit: u64,
    work: impl FnOnce(&mut Tar<&mut dyn Read>) -> Result<T>,
) -> Result<T> {
    let expect = format!("{stem}, alone or with .gz, .xz or .zst");
    let member = archive.member(&expect, |name| Compression::of(name, stem).is_some())?;
    let Some(compression) = Compression::of(&member.name, stem) else {
        return Err(Fault::bug("a member that was matched does not match"));
    };
    let value = archive::read(archive.content(&member), compression, limit, work);
    let value = value.map_err(|fault| fault.context(&member.name))?;
    archive.finish(&member)?;
    Ok(value)
}

/// The plain files of control.tar.
fn control_members(tar: &mut Tar<&mut dyn Read>) -> Result<ControlMembers> {
    let mut members = BTreeMap::new();
    while let Some(entry) = tar.next()? {
        let Some(path) = entry.path()? else { continue };
        if entry.kind != EntryKind::File || path.parent().is_some() {
            return Err(entry.refuse("only plain files may stand in control.tar"));
        }
        let mut bytes = Vec::new();
        tar.content().read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        if members.insert(path.as_str().to_owned(), bytes).is_some() {
            return Err(entry.refuse("stands twice"));
        }
    }
    Ok(members)
}

fn text<'a>(members: &'a ControlMembers, name: &str) -> Result<Option<&'a str>> {
    match members.get(name).map(|bytes| std::str::from_utf8(bytes)) {
        Some(Err(_)) => Err(Fault::integrity(format!("{name} is not UTF-8"))),
        Some(Ok(text)) => Ok(Some(text)),
        None => Ok(None),
    }
}

fn control(members: &ControlMembers) -> Result<Paragraph> {
    let text =
        text(members, "control")?.ok_or_else(|| Fault::integrity("control.tar has no member control"))?;
    ControlText { file: "control", text, class: Class::Integrity }.read_one()
}

fn assemble(members: ControlMembers, tree: Tree) -> Result<UnpackedDeb> {
    let control = control(&members)?;
    let conffile = |line: &str| {
        let path =
            line.strip_prefix('/').ok_or_else(|| Fault::integrity("a conffile without a leading slash"));
        path.and_then(TreePath::new).map_err(|fault| fault.context(format!("conffiles: {line:?}")))
    };
    // `remove-on-upgrade /path` names a file that is no longer in the package.
    let lines = text(&members, "conffiles")?.unwrap_or_default().lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("remove-on-upgrade "));
    let conffiles = lines.map(conffile).collect::<Result<Vec<_>>>()?;
    if let Some(missing) = conffiles.iter().find(|path| tree.get(path.as_str()).is_none()) {
        return Err(Fault::integrity(format!("conffiles names {missing}, which the package does not hold")));
    }
    let field = |name: &str| control.need(name);
    let wrong = |fault: Fault| Fault::integrity(format!("control: {}", fault.what())).cause(&fault);
    Ok(UnpackedDeb {
        name: PackageName::new(field("Package")?).map_err(wrong)?,
        version: Version::new(field("Version")?).map_err(wrong)?,
        arch: field("Architecture")?.parse().map_err(wrong)?,
        control,
        conffiles,
        members,
        tree,
    })
}

#[cfg(test)]
mod tests;
