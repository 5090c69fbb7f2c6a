//! Release files: what a suite is, and the digests of its indices (repo-format of the Debian wiki,
//! "Debian Repository Format").

use std::collections::BTreeMap;

use crate::base::name::SuiteName;
use crate::base::{Digest, Epoch, Fault, Result};
use crate::formats::debian::control::{ControlText, Paragraph};

/// A suite's Release file. Only SHA-256 counts; weaker sums are neither read nor written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Who publishes it: `Debian`.
    pub origin: String,
    /// A word about it: `Debian`, `Debian-Security`.
    pub label: String,
    /// Its changing name: `stable`.
    pub suite: String,
    /// Its lasting name: `bookworm`.
    pub codename: SuiteName,
    /// The release's number, if it has one: `12.15`.
    pub version: Option<String>,
    /// One line for people.
    pub description: Option<String>,
    /// When it was made.
    pub date: Epoch,
    /// When to stop believing it.
    pub valid_until: Option<Epoch>,
    /// Architectures by Debian's names; not all are ours, so they stay text.
    pub architectures: Vec<String>,
    /// Components: `main`.
    pub components: Vec<String>,
    /// Whether indices can be had under their digests.
    pub acquire_by_hash: bool,
    /// The files below the suite's directory.
    pub files: BTreeMap<String, Listed>,
}

/// What a Release file says about one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
}

impl Release {
    /// Reads a Release file's text: the verified bytes of an InRelease, or a file beside its signature.
    pub fn parse(source: ControlText<'_>) -> Result<Self> {
        let paragraph = source.read_one()?;
        let at = |name: &str, fault: Fault| match paragraph.field(name) {
            Some(field) => source.locate(field.span.clone(), fault),
            None => source.locate(0..0, fault),
        };
        let text = |name: &str| paragraph.need(name).map(str::to_owned).map_err(|fault| at(name, fault));
        let words =
            |name: &str| paragraph.get(name).unwrap_or_default().split_whitespace().map(str::to_owned);
        let date = |name: &str| {
            paragraph.get(name).map(Epoch::from_rfc2822).transpose().map_err(|fault| at(name, fault))
        };
        let missing = |name: &str| at(name, Fault::integrity(format!("the field `{name}` is missing")));
        Ok(Self {
            origin: text("Origin")?,
            label: paragraph.get("Label").unwrap_or_default().to_owned(),
            suite: paragraph.get("Suite").unwrap_or_default().to_owned(),
            codename: SuiteName::new(text("Codename")?).map_err(|fault| at("Codename", fault))?,
            version: paragraph.get("Version").map(str::to_owned),
            description: paragraph.get("Description").map(str::to_owned),
            date: date("Date")?.ok_or_else(|| missing("Date"))?,
            valid_until: date("Valid-Until")?,
            architectures: words("Architectures").collect(),
            components: words("Components").collect(),
            acquire_by_hash: paragraph.get("Acquire-By-Hash") == Some("yes"),
            files: files(&paragraph).map_err(|fault| at("SHA256", fault))?,
        })
    }

    /// Returns the suite's entry for a file; one that it does not list is an integrity fault.
    pub fn file(&self, path: &str) -> Result<Listed> {
        self.files.get(path).copied().ok_or_else(|| {
            Fault::integrity(format!("the Release file of {} does not list {path}", self.codename))
        })
    }

    /// Returns the file's text.
    pub fn to_text(&self) -> Result<String> {
        let mut paragraph = Paragraph::new();
        let date = self.valid_until.map(Epoch::rfc2822);
        for (name, value) in [
            ("Origin", Some(self.origin.as_str())),
            ("Label", Some(&self.label)),
            ("Suite", Some(&self.suite)),
            ("Version", self.version.as_deref()),
            ("Codename", Some(self.codename.as_str())),
            ("Date", Some(&self.date.rfc2822())),
            ("Valid-Until", date.as_deref()),
            ("Acquire-By-Hash", self.acquire_by_hash.then_some("yes")),
            ("Architectures", Some(&self.architectures.join(" "))),
            ("Components", Some(&self.components.join(" "))),
            ("Description", self.description.as_deref()),
        ] {
            paragraph.set(name, value.unwrap_or_default())?;
        }
        let line = |(path, file): (&String, &Listed)| format!("\n{} {} {path}", file.digest.hex(), file.size);
        paragraph.set("SHA256", self.files.iter().map(line).collect::<String>())?;
        Ok(paragraph.to_string())
    }
}

/// The lines `digest size path` of the field SHA256.
fn files(paragraph: &Paragraph) -> Result<BTreeMap<String, Listed>> {
    let mut files = BTreeMap::new();
    for line in paragraph.need("SHA256")?.lines().filter(|line| !line.is_empty()) {
        let wrong = || {
            Fault::integrity("not a line of SHA256").expected_found("`digest size path`", format!("{line:?}"))
        };
        let mut words = line.split_whitespace();
        let (Some(digest), Some(size), Some(path), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let listed = Listed { digest: Digest::from_hex(digest)?, size: size.parse().map_err(|_| wrong())? };
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(wrong());
        }
        if files.insert(path.to_owned(), listed).is_some_and(|other| other != listed) {
            return Err(Fault::integrity(format!("two digests for {path}")));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn text() -> String {
        format!(
            "Origin: Debian\nLabel: Debian\nSuite: stable\nVersion: 12.15\nCodename: bookworm\n\
             Date: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sat, 18 Jul 2026 10:16:37 UTC\n\
             Acquire-By-Hash: yes\nArchitectures: all amd64\nComponents: main\nDescription: x\n\
             SHA256:\n {DIGEST} 0 main/binary-amd64/Packages\n {DIGEST} 32 main/binary-amd64/Packages.xz\n"
        )
    }

    fn parse(text: &str) -> Result<Release> {
        Release::parse(ControlText::integrity("InRelease", text))
    }

    #[test]
    fn reads_and_writes() {
        let release = parse(&text()).unwrap();
        assert_eq!(release.date.rfc3339(), "2026-07-11T10:16:37Z");
        assert_eq!(release.file("main/binary-amd64/Packages.xz").unwrap().size, 32);
        assert!(release.file("main/binary-arm64/Packages.xz").is_err());
        assert!(release.acquire_by_hash);
        assert_eq!(release.to_text().unwrap(), text());
    }

    #[test]
    fn refusals() {
        for (from, to, what) in [
            ("Date: Sat, 11 Jul 2026 10:16:37 UTC\n", "", "`Date` is missing"),
            ("Sat, 11 Jul 2026", "someday", "not a date"),
            ("Codename: bookworm", "Codename: ../x", "not a suite name"),
            ("SHA256:", "MD5Sum:", "`SHA256` is missing"),
            (" 32 main", " -1 main", "not a line of SHA256"),
            (" 32 main/binary", " 32 ../binary", "not a line of SHA256"),
            ("Packages.xz\n", "Packages\n", "two digests"),
            (DIGEST, "d41d8cd98f00b204e9800998ecf8427e", "not a SHA-256"),
            ("Origin: Debian\n", "", "`Origin` is missing"),
        ] {
            let fault = parse(&text().replace(from, to)).unwrap_err();
            assert!(fault.what().contains(what), "{what}: {fault}");
            assert!(fault.place().is_some(), "{what}");
        }
    }
}
