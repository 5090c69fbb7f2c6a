//! Sources indices: the source packages of a suite, and the files that each consists of (dsc(5)).

use std::collections::{BTreeMap, BTreeSet};

use crate::base::name::{PackageName, SuiteName};
use crate::base::tree::TreePath;
use crate::base::{Digest, Fault, Result};
use crate::formats::debian::control::{ControlText, Paragraph};
use crate::formats::debian::version::Version;

/// A source package as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePackage {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The suite whose index it stands in.
    pub suite: SuiteName,
    /// Its files: the description (`.dsc`) and the archives that it names.
    pub files: Vec<SourceFile>,
}

/// One file of a source package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path below the archive's root.
    pub path: TreePath,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
}

/// Reads the wanted packages of an index of `suite`, all versions that it has, in the order of the file.
pub fn parse(
    source: ControlText<'_>,
    suite: &SuiteName,
    wanted: &BTreeSet<PackageName>,
) -> Result<Vec<SourcePackage>> {
    let mut packages = Vec::new();
    for span in source.paragraphs() {
        let mut fields = source.fields(span.clone());
        let named = fields.find_map(|field| field.ok().filter(|field| field.name == "Package"));
        let Some(name) = named.filter(|field| wanted.contains(field.value)) else { continue };
        let text = ControlText { text: &source.text[span.clone()], ..source };
        let package = text.read_one().and_then(|paragraph| package(&paragraph, suite));
        packages.push(package.map_err(|fault| source.locate(span, fault.context(name.value)))?);
    }
    Ok(packages)
}

fn package(paragraph: &Paragraph, suite: &SuiteName) -> Result<SourcePackage> {
    // A name that the user could have got wrong elsewhere is here the archive's fault.
    let theirs = |fault: Fault| Fault::integrity(fault.to_string());
    let folder = paragraph.need("Directory")?;
    let mut files = BTreeMap::new();
    for line in paragraph.need("Checksums-Sha256")?.lines().filter(|line| !line.is_empty()) {
        let wrong = || {
            Fault::integrity("not a line of Checksums-Sha256")
                .expected_found("`digest size name`", format!("{line:?}"))
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let [digest, size, name] = words[..] else { return Err(wrong()) };
        if name.contains('/') {
            return Err(wrong());
        }
        let file = SourceFile {
            path: TreePath::new(format!("{folder}/{name}"))?,
            size: size.parse().map_err(|_| wrong())?,
            digest: Digest::from_hex(digest).map_err(theirs)?,
        };
        if files.insert(name.to_owned(), file).is_some() {
            return Err(Fault::integrity(format!("the file {name} stands twice")));
        }
    }
    let descriptions = files.keys().filter(|name| name.ends_with(".dsc")).count();
    if descriptions != 1 {
        return Err(Fault::integrity("not a source package").expected_found("one .dsc", descriptions));
    }
    Ok(SourcePackage {
        name: PackageName::new(paragraph.need("Package")?).map_err(theirs)?,
        version: Version::new(paragraph.need("Version")?).map_err(theirs)?,
        suite: suite.clone(),
        files: files.into_values().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Class;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn index() -> String {
        format!(
            "Package: other\nVersion: nonsense\n\nPackage: hello\nBinary: hello\nVersion: 2.10-3\nDirectory: pool/main/h/hello\n\
             Checksums-Sha256:\n {DIGEST} 1183 hello_2.10-3.dsc\n {DIGEST} 725946 hello_2.10.orig.tar.gz\n\nPackage: zz\n"
        )
    }

    fn read(text: &str) -> Result<Vec<SourcePackage>> {
        let suite = SuiteName::new("bookworm").unwrap();
        let wanted = BTreeSet::from([PackageName::new("hello").unwrap()]);
        parse(ControlText::integrity("Sources", text), &suite, &wanted)
    }

    #[test]
    fn what_is_wanted_is_read() {
        let packages = read(&index()).unwrap();
        assert_eq!(packages.len(), 1);
        let package = &packages[0];
        assert_eq!((package.name.as_str(), package.version.as_str()), ("hello", "2.10-3"));
        let files: Vec<_> = package.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
        let expect = [
            ("pool/main/h/hello/hello_2.10-3.dsc", 1183),
            ("pool/main/h/hello/hello_2.10.orig.tar.gz", 725_946),
        ];
        assert_eq!(files, expect);
    }

    #[test]
    fn stanzas_that_cannot_be_fetched_or_checked() {
        for (from, to, what) in [
            ("Directory: pool", "Directory: ../pool", "cannot be in a tree"),
            ("Directory: pool", "Directory: /pool", "cannot be in a tree"),
            (" 1183 hello", " x hello", "not a line of Checksums-Sha256"),
            (" 1183 hello", " 1183 x/hello", "not a line of Checksums-Sha256"),
            (" 1183 hello", " hello", "not a line of Checksums-Sha256"),
            ("Checksums-Sha256", "Files", "missing"),
            (".orig.tar.gz", ".dsc", "one .dsc"),
            ("2.10.orig.tar.gz", "2.10-3.dsc", "stands twice"),
            ("Version: 2", "Version: two", "not a Debian version"),
            (DIGEST, "d41d8cd98f00b204e9800998ecf8427e", "not a SHA-256"),
        ] {
            let fault = read(&index().replace(from, to)).unwrap_err();
            assert!(fault.to_string().contains(what), "{what}: {fault}");
            assert_eq!(fault.class(), Class::Integrity);
            assert!(fault.place().is_some());
        }
    }
}
