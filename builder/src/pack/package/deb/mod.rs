//! The one writer of .deb files (deb(5)).
//!
//! ```text
//! !<arch>
//! debian-binary     2.0
//! control.tar.gz    ./control ./md5sums ./conffiles ./triggers ./preinst ./postinst ./prerm ./postrm
//! data.tar.gz       the tree
//! ```
//!
//! Streaming: contents pass through once, into a scratch file that the caller gives, because a member's
//! length stands before its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};

use md5::{Digest as _, Md5};

use crate::base::name::{Arch, PackageName};
use crate::base::tree::{Contents, Kind, Memory, Node, Tree, TreePath};
use crate::base::{Epoch, Fault, Result};
use crate::formats::debian::control::Paragraph;
use crate::formats::debian::script::Script;
use crate::formats::debian::version::Version;
use crate::pack::stream::gzip::Gzip;
use crate::pack::stream::tar;
use crate::pack::stream::tar::{Style, TarWriter};
use crate::pack::written;

/// The order of a control file's fields, as dpkg writes them (deb-control(5)). Fields that are in neither
/// list stand between the two, by name.
const FIRST: [&str; 20] = [
    "Package",
    "Source",
    "Version",
    "Architecture",
    "Essential",
    "Protected",
    "Maintainer",
    "Installed-Size",
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Provides",
    "Section",
    "Priority",
    "Multi-Arch",
];
const LAST: [&str; 2] = ["Homepage", "Description"];

/// A package to write.
#[derive(Clone, Copy)]
pub struct DebSpec<'a> {
    /// The control file's fields, in any order; `Installed-Size` is the writer's.
    pub control: &'a Paragraph,
    /// Files of the tree that belong to the administrator once installed (deb-conffiles(5)).
    pub conffiles: &'a BTreeSet<TreePath>,
    /// Maintainer scripts, whole, with their `#!` line.
    pub scripts: &'a BTreeMap<Script, String>,
    /// Lines of the triggers file (deb-triggers(5)), each without its newline.
    pub triggers: &'a [String],
    /// What the package installs.
    pub tree: &'a Tree,
}

/// A file to put bytes down in and take them up again: `data.tar.gz` before its length is known.
pub trait ScratchFile: Read + Write + Seek {}

impl<T: Read + Write + Seek> ScratchFile for T {}

/// Writes the package. `scratch` is used from its position on; `contents` is read once per file.
pub fn write(
    deb: &DebSpec,
    contents: &dyn Contents,
    epoch: Epoch,
    scratch: &mut dyn ScratchFile,
    out: &mut dyn Write,
) -> Result<()> {
    let name = file_name(deb.control)?;
    let start = written("the scratch file", scratch.stream_position())?;
    let sums = write_data(deb, contents, epoch, scratch).map_err(|fault| fault.context(&name))?;
    let length = written("the scratch file", scratch.stream_position())? - start;
    let control = control_archive(deb, &sums, epoch).map_err(|fault| fault.context(&name))?;
    let mut members = || -> io::Result<()> {
        out.write_all(b"!<arch>\n")?;
        member(out, "debian-binary", epoch, 4, &mut &b"2.0\n"[..])?;
        member(out, "control.tar.gz", epoch, control.len() as u64, &mut control.as_slice())?;
        scratch.seek(SeekFrom::Start(start))?;
        member(out, "data.tar.gz", epoch, length, scratch)
    };
    written(&name, members())
}

/// Returns the package's file name, `NAME_VERSION_ARCH.deb`, without the version's epoch as dpkg-name(1) has it.
/// Refuses a control file without the fields that every package has (deb-control(5)).
pub fn file_name(control: &Paragraph) -> Result<String> {
    for field in ["Maintainer", "Description"] {
        control.need(field)?;
    }
    let package = PackageName::new(control.need("Package")?)?;
    let version = Version::new(control.need("Version")?)?;
    let arch: Arch = control.need("Architecture")?.parse()?;
    Ok(format!("{package}_{}_{arch}.deb", version.without_epoch()))
}

/// Returns the tree's size once installed, in KiB, by dpkg's rule (deb-substvars(5), `Installed-Size`): files and
/// links rounded up one by one, and 1 for everything else, the root with it.
pub fn installed_size(tree: &Tree) -> u64 {
    let kib = |node: &Node| match &node.kind {
        Kind::File { size, .. } => size.div_ceil(1024),
        Kind::Symlink { target } => (target.len() as u64).div_ceil(1024),
        Kind::Dir => 1,
    };
    1 + tree.iter().map(|(_, node)| kib(node)).sum::<u64>()
}

/// MD5 sums in hex, by path.
type Sums<'a> = BTreeMap<&'a TreePath, String>;

/// Writes `data.tar.gz`, and takes every file's MD5 on the way.
fn write_data<'a>(
    deb: &DebSpec<'a>,
    contents: &dyn Contents,
    epoch: Epoch,
    scratch: &mut dyn ScratchFile,
) -> Result<Sums<'a>> {
    let mut sums = Sums::new();
    let gzip = written("data.tar.gz", Gzip::new(scratch))?;
    let mut archive = TarWriter::new(gzip, epoch, Style::Deb)?;
    for (path, node) in deb.tree.iter() {
        let Kind::File { content, .. } = &node.kind else {
            archive.append(path, node, &mut io::empty())?;
            continue;
        };
        let mut summing = Summing { inner: contents.open(content)?, hasher: Md5::new() };
        archive.append(path, node, &mut summing)?;
        sums.insert(path, summing.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
    }
    written("data.tar.gz", archive.finish()?.finish())?;
    Ok(sums)
}

struct Summing<R> {
    inner: R,
    hasher: Md5,
}

impl<R: Read> Read for Summing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// `control.tar.gz`, in memory: it is small.
fn control_archive(deb: &DebSpec, sums: &Sums, epoch: Epoch) -> Result<Vec<u8>> {
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    let mut put = |name: &str, text: String, mode: u16| {
        if text.is_empty() { Ok(()) } else { tree.insert(TreePath::new(name)?, memory.file(text, mode)) }
    };
    put("control", fields(deb)?.to_string(), 0o644)?;
    put("conffiles", conffiles(deb)?, 0o644)?;
    put("md5sums", md5sums(deb, sums), 0o644)?;
    put("triggers", deb.triggers.iter().map(|line| format!("{line}\n")).collect(), 0o644)?;
    for (script, text) in deb.scripts {
        if !text.starts_with("#!/") {
            return Err(Fault::user(format!("the {} script cannot be run", script.as_str())).expected_found(
                "a first line `#!/…`",
                format!("{:?}", text.lines().next().unwrap_or_default()),
            ));
        }
        put(script.as_str(), text.clone(), 0o755)?;
    }
    let mut gzip = written("control.tar.gz", Gzip::new(Vec::new()))?;
    tar::write(&tree, &memory, epoch, Style::Deb, &mut gzip)?;
    written("control.tar.gz", gzip.finish())
}

/// The control file's fields in their fixed order.
fn fields(deb: &DebSpec) -> Result<Paragraph> {
    let size = installed_size(deb.tree).to_string();
    let mut ordered = Paragraph::new();
    for name in FIRST {
        let value = if name == "Installed-Size" { Some(size.as_str()) } else { deb.control.get(name) };
        ordered.set(name, value.unwrap_or_default())?;
    }
    let placed = |name: &str| FIRST.iter().chain(&LAST).any(|other| other.eq_ignore_ascii_case(name));
    let others: BTreeMap<_, _> = deb
        .control
        .fields()
        .map(|field| (&field.name, &field.value))
        .filter(|(name, _)| !placed(name))
        .collect();
    for (name, value) in others {
        ordered.set(name, value)?;
    }
    for name in LAST {
        ordered.set(name, deb.control.get(name).unwrap_or_default())?;
    }
    Ok(ordered)
}

fn conffiles(deb: &DebSpec) -> Result<String> {
    let mut text = String::new();
    for path in deb.conffiles {
        match deb.tree.get(path.as_str()).map(|node| &node.kind) {
            Some(Kind::File { .. }) => text.push_str(&format!("/{path}\n")),
            _ => return Err(Fault::user(format!("the conffile {path} is no file of the package"))),
        }
    }
    Ok(text)
}

/// dpkg keeps the sums of conffiles itself, so they are not listed (dh_md5sums(1)).
fn md5sums(deb: &DebSpec, sums: &Sums) -> String {
    let listed = sums.iter().filter(|(path, _)| !deb.conffiles.contains(**path));
    listed.map(|(path, sum)| format!("{sum}  {path}\n")).collect()
}

/// One member of the outer archive: a header of 60 bytes, the bytes, and a newline if they are odd.
fn member(
    out: &mut dyn Write,
    name: &str,
    epoch: Epoch,
    length: u64,
    bytes: &mut dyn Read,
) -> io::Result<()> {
    if length > 9_999_999_999 {
        return Err(io::Error::other(format!("{name} has over ten digits of bytes, which ar cannot say")));
    }
    writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`", epoch.seconds(), 0, 0, "100644")?;
    let copied = io::copy(&mut bytes.take(length), out)?;
    if copied != length {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{name} was cut to {copied} bytes"),
        ));
    }
    if length % 2 == 1 { out.write_all(b"\n") } else { Ok(()) }
}

/// For tests: a package without scripts.
#[cfg(test)]
pub(crate) fn sample(control: &str, tree: &Tree, contents: &dyn Contents) -> Vec<u8> {
    let control = crate::formats::debian::control::ControlText::user("control", control).read_one().unwrap();
    let (conffiles, scripts) = Default::default();
    let deb = DebSpec { control: &control, conffiles: &conffiles, scripts: &scripts, triggers: &[], tree };
    let (mut scratch, mut out) = (io::Cursor::new(Vec::new()), Vec::new());
    write(&deb, contents, Epoch::new(1).unwrap(), &mut scratch, &mut out).unwrap();
    out
}

/// For tests: a package with one file of its own name.
#[cfg(test)]
pub(crate) fn sample_named(name: &str) -> Vec<u8> {
    use crate::base::tree::{Memory, TreePath};
    let (mut tree, mut contents) = (Tree::new(), Memory::default());
    tree.insert(TreePath::new(format!("usr/share/{name}")).unwrap(), contents.file(name, 0o644)).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n"
    );
    sample(&control, &tree, &contents)
}

#[cfg(test)]
mod tests;
