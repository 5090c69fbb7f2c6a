//! Packages indices: what a suite offers. Only the fields that we use are kept.

use std::ops::Range;

use crate::base::name::{Arch, PackageName, SuiteName};
use crate::base::tree::TreePath;
use crate::base::{Digest, Fault, Result};
use crate::formats::debian::control::{ControlText, Paragraph};
use crate::formats::debian::version::Version;

/// A package as an index lists it. Relations stay text: most are never looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its architecture.
    pub arch: Arch,
    /// The suite whose index it stands in.
    pub suite: SuiteName,
    /// `Essential: yes`: dpkg takes its presence for granted, so no relation names it.
    pub essential: bool,
    /// How much a system wants it.
    pub priority: Priority,
    /// `Pre-Depends` and `Depends`, joined.
    pub depends: Box<str>,
    /// `Conflicts` and `Breaks`, joined.
    pub conflicts: Box<str>,
    /// `Provides`.
    pub provides: Box<str>,
    /// Its path below the archive's root.
    pub path: TreePath,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
}

/// The field `Priority` (Debian Policy 2.5), most wanted first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Needed for the system to work.
    Required,
    /// Expected on any Unix system.
    Important,
    /// On a reasonable text-mode system.
    Standard,
    /// Everything else.
    #[default]
    Optional,
    /// The old name of what is even less.
    Extra,
}

impl Priority {
    fn of(text: &str) -> Self {
        match text {
            "required" => Self::Required,
            "important" => Self::Important,
            "standard" => Self::Standard,
            "extra" => Self::Extra,
            _ => Self::Optional,
        }
    }
}

/// Reads an index of `suite`: the packages for `arch` (and `all`) in the order of the file. Every stanza must
/// have what it takes to fetch and check the package: a path inside the archive, a size and a SHA-256.
pub fn parse(source: ControlText<'_>, suite: &SuiteName, arch: Arch) -> Result<Vec<IndexEntry>> {
    let mut packages = Vec::new();
    for span in source.paragraphs() {
        let stanza = Stanza::read(source, span.clone())?;
        if stanza.arch == "all" || stanza.arch == arch.as_str() {
            let package = stanza.package(suite);
            packages.push(package.map_err(|fault| source.locate(span, fault.context(stanza.name)))?);
        }
    }
    Ok(packages)
}

/// Returns the index's stanza for a package: its own control fields, then where and what the file is.
pub fn stanza(control: &Paragraph, path: &TreePath, size: u64, digest: Digest) -> Result<Paragraph> {
    let mut stanza = control.clone();
    let description = stanza.get("Description").map(str::to_owned);
    stanza.set("Description", "")?;
    stanza.set("Filename", path.as_str())?;
    stanza.set("Size", size.to_string())?;
    stanza.set("SHA256", digest.hex())?;
    stanza.set("Description", description.unwrap_or_default())?;
    Ok(stanza)
}

/// A stanza's fields that we use, as text.
#[derive(Default)]
struct Stanza<'a> {
    name: &'a str,
    version: &'a str,
    arch: &'a str,
    essential: &'a str,
    priority: &'a str,
    pre_depends: &'a str,
    depends: &'a str,
    conflicts: &'a str,
    breaks: &'a str,
    provides: &'a str,
    path: &'a str,
    size: &'a str,
    digest: &'a str,
}

impl<'a> Stanza<'a> {
    fn read(source: ControlText<'a>, span: Range<usize>) -> Result<Self> {
        let mut stanza = Self::default();
        for field in source.fields(span) {
            let field = field?;
            let slot = match field.name {
                "Package" => &mut stanza.name,
                "Version" => &mut stanza.version,
                "Architecture" => &mut stanza.arch,
                "Essential" => &mut stanza.essential,
                "Priority" => &mut stanza.priority,
                "Pre-Depends" => &mut stanza.pre_depends,
                "Depends" => &mut stanza.depends,
                "Conflicts" => &mut stanza.conflicts,
                "Breaks" => &mut stanza.breaks,
                "Provides" => &mut stanza.provides,
                "Filename" => &mut stanza.path,
                "Size" => &mut stanza.size,
                "SHA256" => &mut stanza.digest,
                _ => continue,
            };
            if !slot.is_empty() {
                return Err(source.fault(field.span, format!("the field `{}` stands twice", field.name)));
            }
            *slot = field.value;
        }
        Ok(stanza)
    }

    fn package(&self, suite: &SuiteName) -> Result<IndexEntry> {
        // A name that the user could have got wrong elsewhere is here the archive's fault.
        let theirs = |fault: Fault| Fault::integrity(fault.to_string());
        let size = || Fault::integrity("not a size").expected_found("bytes", format!("{:?}", self.size));
        Ok(IndexEntry {
            name: PackageName::new(self.name).map_err(theirs)?,
            version: Version::new(self.version).map_err(theirs)?,
            arch: self.arch.parse().map_err(theirs)?,
            suite: suite.clone(),
            essential: self.essential == "yes",
            priority: Priority::of(self.priority),
            depends: joined(self.pre_depends, self.depends),
            conflicts: joined(self.conflicts, self.breaks),
            provides: self.provides.into(),
            path: TreePath::new(self.path)?,
            size: self.size.parse().map_err(|_| size())?,
            digest: Digest::from_hex(self.digest).map_err(theirs)?,
        })
    }
}

fn joined(first: &str, second: &str) -> Box<str> {
    match (first, second) {
        ("", only) | (only, "") => only.into(),
        (first, second) => format!("{first}, {second}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Class;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn index() -> String {
        format!(
            "Package: crun\nVersion: 1.8.1-1\nArchitecture: amd64\nPriority: required\nPre-Depends: aa\nDepends: libc6 (>= 2.34),\n bb\nBreaks: cc\nFilename: pool/main/c/crun/crun_1.8.1-1_amd64.deb\nSize: 7\nSHA256: {DIGEST}\n\nPackage: other\nArchitecture: armhf\n"
        )
    }

    fn read(text: &str) -> Result<Vec<IndexEntry>> {
        let suite = SuiteName::new("bookworm").unwrap();
        parse(ControlText::integrity("Packages", text), &suite, Arch::Amd64)
    }

    #[test]
    fn an_index_is_read() {
        let packages = read(&index()).unwrap();
        assert_eq!(packages.len(), 1);
        let package = &packages[0];
        assert_eq!((package.name.as_str(), package.size, package.essential), ("crun", 7, false));
        assert_eq!((&*package.depends, &*package.conflicts), ("aa, libc6 (>= 2.34),\n bb", "cc"));
        assert_eq!(package.priority, Priority::Required);
    }

    #[test]
    fn stanzas_that_cannot_be_fetched_or_checked() {
        for (from, to, what) in [
            ("Filename: pool", "Filename: ../pool", "cannot be in a tree"),
            ("Filename: pool", "Filename: /pool", "cannot be in a tree"),
            ("Filename: pool", "Filename: http://x/pool", "cannot be in a tree"),
            ("Size: 7", "Size: -7", "not a size"),
            ("Size: 7\n", "", "not a size"),
            ("SHA256", "MD5sum", "not a SHA-256"),
            ("Version: 1.8.1-1", "Version: one", "not a Debian version"),
            ("Package: crun", "Package: ../crun", "not a package name"),
            ("Size: 7", "Size: 7\nSize: 8", "stands twice"),
            ("Size: 7", "Size 7", "not a line"),
        ] {
            let fault = read(&index().replace(from, to)).unwrap_err();
            assert!(fault.to_string().contains(what), "{what}: {fault}");
            assert_eq!(fault.class(), Class::Integrity);
            assert!(fault.place().is_some());
        }
    }

    #[test]
    fn a_stanza_is_the_control_paragraph_and_the_file() {
        let control = "Package: hale-common\nVersion: 1\nArchitecture: all\nDescription: one\n two\n";
        let control = ControlText::integrity("control", control).read_one().unwrap();
        let path = TreePath::new("pool/h/hale-common_1_all.deb").unwrap();
        let stanza = stanza(&control, &path, 9, Digest::of("")).unwrap().to_string();
        let expect = format!(
            "Package: hale-common\nVersion: 1\nArchitecture: all\nFilename: {path}\nSize: 9\nSHA256: {DIGEST}\nDescription: one\n two\n"
        );
        assert_eq!(stanza, expect);
        assert_eq!(read(&stanza).unwrap()[0].path, path);
    }
}
