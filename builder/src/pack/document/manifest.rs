//! What a role's bundle is made of, and the two documents for everyday use: `manifest.json`, which
//! says of every file where it comes from, and `SHA256SUMS`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::digest::Checksum;
use crate::base::name::{Arch, LineName, PackageName, RoleName};
use crate::base::tree::{Kind, Tree};
use crate::base::{Digest, Epoch, Fault, Result, json};
pub use crate::plan::bill::{FileOrigin, Input};

/// The manifest's schema.
pub const SCHEMA: u32 = 1;

/// The bill of materials of a role's bundle: what all its documents are made from.
#[derive(Clone, Debug)]
pub struct BundleContents<'a> {
    /// The line.
    pub line: &'a LineName,
    /// The role.
    pub role: &'a RoleName,
    /// The machine.
    pub arch: Arch,
    /// The lock's time.
    pub epoch: Epoch,
    /// The digest of what the recipe says.
    pub recipe: Digest,
    /// The digest of the lock.
    pub lock: Digest,
    /// Packages whose files are in the bundle, those that others depend on first.
    pub packages: Vec<PackageContents<'a>>,
    /// What the packages depend on by exact version, from the lock.
    pub inputs: Vec<Input>,
}

/// A package in the bundle.
#[derive(Clone, Debug)]
pub struct PackageContents<'a> {
    /// Its name.
    pub name: &'a PackageName,
    /// Its version.
    pub version: &'a str,
    /// Its architecture.
    pub arch: Arch,
    /// Digest and length of its .deb.
    pub deb: (Digest, u64),
    /// Where its files come from.
    pub origin: FileOrigin,
    /// The digest of its source: an overlay's or a program's files, or what the lock pins.
    pub source: Checksum,
    /// What it installs.
    pub tree: &'a Tree,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    line: &'a LineName,
    role: &'a RoleName,
    arch: Arch,
    epoch: Epoch,
    recipe: Digest,
    lock: Digest,
    packages: Vec<PackageEntry<'a>>,
    files: Vec<FileEntry<'a>>,
}

#[derive(Serialize)]
struct PackageEntry<'a> {
    name: &'a PackageName,
    version: &'a str,
    arch: Arch,
    deb: Digest,
    size: u64,
    from: &'a FileOrigin,
    source: Checksum,
}

#[derive(Serialize)]
struct FileEntry<'a> {
    path: String,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    package: &'a PackageName,
    from: &'a FileOrigin,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: &'a BTreeMap<String, String>,
}

/// Writes `manifest.json`: every path of every package, sorted by path. A directory that several packages hold
/// is listed once for each; a file in two packages is a fault.
pub fn document(bill: &BundleContents) -> Result<Vec<u8>> {
    let packages = bill.packages.iter().map(|packed| PackageEntry {
        name: packed.name,
        version: packed.version,
        arch: packed.arch,
        deb: packed.deb.0,
        size: packed.deb.1,
        from: &packed.origin,
        source: packed.source,
    });
    json::pretty(&Document {
        schema: SCHEMA,
        line: bill.line,
        role: bill.role,
        arch: bill.arch,
        epoch: bill.epoch,
        recipe: bill.recipe,
        lock: bill.lock,
        packages: packages.collect(),
        files: files(bill)?,
    })
}

fn files<'a>(bill: &'a BundleContents) -> Result<Vec<FileEntry<'a>>> {
    let mut entries = BTreeMap::new();
    let mut owners: BTreeMap<&str, &PackageName> = BTreeMap::new();
    for (order, packed) in bill.packages.iter().enumerate() {
        for (path, node) in packed.tree.iter() {
            if let Some(other) = owners.insert(path.as_str(), packed.name).filter(|_| !node.is_dir()) {
                return Err(Fault::integrity(format!("{path} is in {other} and in {}", packed.name)));
            }
            let (kind, content, size, target) = match &node.kind {
                Kind::Dir => ("dir", None, None, None),
                Kind::File { content, size } => ("file", Some(*content), Some(*size), None),
                Kind::Symlink { target } => ("symlink", None, None, Some(target.as_str())),
            };
            let entry = FileEntry {
                path: format!("/{path}"),
                kind,
                mode: format!("{:04o}", node.mode),
                uid: node.uid,
                gid: node.gid,
                package: packed.name,
                from: &packed.origin,
                content,
                size,
                target,
                xattrs: &node.xattrs,
            };
            entries.insert((path, order), entry);
        }
    }
    Ok(entries.into_values().collect())
}

/// Writes the text that `sha256sum --check` reads, for all files of a tree.
pub fn checksums(tree: &Tree) -> String {
    let line = |(path, kind): (&_, &Kind)| match kind {
        Kind::File { content, .. } => format!("{}  {path}\n", content.hex()),
        Kind::Dir | Kind::Symlink { .. } => String::new(),
    };
    tree.iter().map(|(path, node)| line((path, &node.kind))).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::name::OverlayName;
    use crate::base::tree::{Memory, Node, TreePath};

    /// A bundle of two packages, to make documents of.
    pub(in crate::pack) struct Sample {
        names: [PackageName; 2],
        line: LineName,
        role: RoleName,
        pub(in crate::pack) trees: [Tree; 2],
        pub(in crate::pack) memory: Memory,
    }

    impl Sample {
        pub(in crate::pack) fn new() -> Self {
            let (mut common, mut own, mut memory) = (Tree::new(), Tree::new(), Memory::default());
            let path = |text: &str| TreePath::new(text).unwrap();
            common.insert(path("etc/crio/crio.conf"), memory.file("a = 1\n", 0o644)).unwrap();
            common.insert(path("etc/crio/link"), Node::symlink("crio.conf")).unwrap();
            own.insert(path("etc/hale/node.toml"), memory.file("b = 2\n", 0o640).owned_by(0, 10_000_000))
                .unwrap();
            Self {
                names: ["hale-common", "hale-master"].map(|name| PackageName::new(name).unwrap()),
                line: LineName::new("1.17").unwrap(),
                role: RoleName::new("master").unwrap(),
                trees: [common, own],
                memory,
            }
        }

        pub(in crate::pack) fn bill(&self) -> BundleContents<'_> {
            let packed = |index: usize, overlay: &str| PackageContents {
                name: &self.names[index],
                version: "1.17-1",
                arch: Arch::All,
                deb: (Digest::of(overlay), 7),
                origin: FileOrigin::Overlay(OverlayName::new(overlay).unwrap()),
                source: Checksum::Sha256(Digest::of("source")),
                tree: &self.trees[index],
            };
            let input = |name: &str, local: bool| Input {
                name: name.into(),
                version: "1.8.1-1+deb12u1".into(),
                checksum: Some(Checksum::Sha256(Digest::of(name))),
                location: (!local).then(|| format!("pool/{name}.deb")),
                local,
            };
            BundleContents {
                line: &self.line,
                role: &self.role,
                arch: Arch::Amd64,
                epoch: Epoch::new(1_763_201_230).unwrap(),
                recipe: Digest::of("recipe"),
                lock: Digest::of("lock"),
                packages: vec![packed(0, "common"), packed(1, "master")],
                inputs: vec![input("crun", false), input("cri-o", true)],
            }
        }
    }

    #[test]
    fn every_path_says_where_it_comes_from() {
        let sample = Sample::new();
        let bytes = document(&sample.bill()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let files = value["files"].as_array().unwrap();
        let lines: Vec<_> = files
            .iter()
            .map(|file| {
                let text = |key: &str| file[key].as_str().unwrap_or("-").to_owned();
                format!(
                    "{} {} {} {} {} {}",
                    text("path"),
                    text("kind"),
                    text("mode"),
                    file["gid"],
                    text("package"),
                    file["from"]
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                r#"/etc dir 0755 0 hale-common {"overlay":"common"}"#,
                r#"/etc dir 0755 0 hale-master {"overlay":"master"}"#,
                r#"/etc/crio dir 0755 0 hale-common {"overlay":"common"}"#,
                r#"/etc/crio/crio.conf file 0644 0 hale-common {"overlay":"common"}"#,
                r#"/etc/crio/link symlink 0777 0 hale-common {"overlay":"common"}"#,
                r#"/etc/hale dir 0755 0 hale-master {"overlay":"master"}"#,
                r#"/etc/hale/node.toml file 0640 10000000 hale-master {"overlay":"master"}"#,
            ]
        );
        assert_eq!((&files[6]["size"], &files[4]["target"]), (&6.into(), &"crio.conf".into()));
    }

    #[test]
    fn a_file_in_two_packages_is_refused() {
        let mut sample = Sample::new();
        sample.trees[1] = sample.trees[0].clone();
        let fault = document(&sample.bill()).unwrap_err();
        assert_eq!(fault.what(), "etc/crio/crio.conf is in hale-common and in hale-master");
    }

    #[test]
    fn sums_are_for_sha256sum() {
        let sample = Sample::new();
        let expect = format!("{}  etc/crio/crio.conf\n", Digest::of("a = 1\n").hex());
        assert_eq!(checksums(&sample.trees[0]), expect);
    }
}
