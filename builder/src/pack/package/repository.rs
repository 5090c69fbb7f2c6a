//! A complete, signed apt repository (Debian wiki, "Debian Repository Format"; apt-secure(8)).
//!
//! ```text
//! hale.sources                  deb822 source with the public key inside: copy it to a node
//! hale-archive-keyring.asc      the public key for people, .gpg for programs
//! pool/main/h/hale-master/hale-master_1.17-1_all.deb
//! dists/<suite>/InRelease       signed; the same as Release with Release.gpg
//! dists/<suite>/main/binary-<arch>/Packages{,.gz,.xz}
//! dists/<suite>/main/binary-<arch>/by-hash/SHA256/<digest>    the same files by their digests
//! ```
//!
//! A function of its arguments, signature included: Ed25519 signatures have no randomness, and their
//! time is the lock's epoch. It is no step of a plan, so that no key comes near the store.

use std::collections::{BTreeMap, BTreeSet};

use super::deb::file_name;
use crate::base::name::{Arch, PackageName, SuiteName};
use crate::base::tree::{Kind, Memory, Node, Tree, TreePath};
use crate::base::{Digest, Epoch, Fault, Result};
use crate::formats::debian::control::Paragraph;
use crate::formats::debian::index::release::{Listed, Release};
use crate::formats::debian::version::Version;
use crate::formats::openpgp::SigningKey;
use crate::pack::stream::{gzip, xz};

/// Ten years: the repository belongs to a cluster that may never see another network, and what guards
/// it is the key, not freshness.
const VALID_DAYS: u32 = 3650;

const COMPONENT: &str = "main";

/// A package to offer.
#[derive(Clone, Debug)]
pub struct RepositoryPackage {
    /// Its control file.
    pub control: Paragraph,
    /// The digest of the .deb.
    pub content: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What the repository says of itself.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The folder under `dists`, and what a source names.
    pub name: SuiteName,
    /// One line for people.
    pub description: String,
    /// The time of the Release file and of its signature.
    pub epoch: Epoch,
    /// The machines that it serves.
    pub arches: BTreeSet<Arch>,
    /// Where nodes will find it, for `hale.sources`.
    pub uri: String,
}

/// Makes the repository: its tree, and the contents of all of it but the packages.
pub fn repository(
    suite: &Suite,
    offers: impl IntoIterator<Item = RepositoryPackage>,
    key: &SigningKey,
) -> Result<(Tree, Memory)> {
    let mut writer = Writer { tree: Tree::new(), memory: Memory::default() };
    let pool = writer.pool(suite, offers)?;
    let mut files = BTreeMap::new();
    for arch in &suite.arches {
        let index = index(&pool, *arch)?;
        let (gz, xz) = (gzip::compress(index.as_bytes())?, xz::compress(index.as_bytes())?);
        for (suffix, bytes) in [("", index.into_bytes()), (".gz", gz), (".xz", xz)] {
            let folder = format!("{COMPONENT}/binary-{arch}");
            let listed = writer.indexed(&format!("dists/{}/{folder}", suite.name), suffix, bytes)?;
            files.insert(format!("{folder}/Packages{suffix}"), listed);
        }
    }
    let release = release(suite, files)?.to_text()?;
    let signature = key.sign_detached(release.as_bytes(), suite.epoch)?;
    let signed = key.clearsign(&release, suite.epoch)?;
    for (name, text) in [("Release", release), ("Release.gpg", signature), ("InRelease", signed)] {
        writer.put(&format!("dists/{}/{name}", suite.name), text)?;
    }
    writer.put("hale.sources", source(suite, key)?)?;
    writer.put("hale-archive-keyring.asc", key.certificate_armor()?)?;
    writer.put("hale-archive-keyring.gpg", key.certificate_bytes()?)?;
    Ok((writer.tree, writer.memory))
}

/// Packages by identity, with their paths in the pool.
type Pool = BTreeMap<(PackageName, Version, Arch), (String, RepositoryPackage)>;

struct Writer {
    tree: Tree,
    memory: Memory,
}

impl Writer {
    fn put(&mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Result<Listed> {
        let node = self.memory.file(bytes, 0o644);
        let Kind::File { content, size } = node.kind else { return Err(Fault::bug("a document is no file")) };
        self.tree.replace(TreePath::new(path)?, node)?;
        Ok(Listed { size, digest: content })
    }

    /// An index under its name and under its digest.
    fn indexed(&mut self, folder: &str, suffix: &str, bytes: Vec<u8>) -> Result<Listed> {
        let listed = self.put(&format!("{folder}/Packages{suffix}"), bytes.clone())?;
        self.put(&format!("{folder}/by-hash/SHA256/{}", listed.digest.hex()), bytes)
    }

    /// Places the packages. The same package twice is one; two with one identity are refused.
    fn pool(&mut self, suite: &Suite, offers: impl IntoIterator<Item = RepositoryPackage>) -> Result<Pool> {
        let mut pool = Pool::new();
        for offer in offers {
            let file = file_name(&offer.control)?;
            let package = PackageName::new(offer.control.need("Package")?)?;
            let version = Version::new(offer.control.need("Version")?)?;
            let arch: Arch = offer.control.need("Architecture")?.parse()?;
            if arch != Arch::All && !suite.arches.contains(&arch) {
                let served: Vec<_> = suite.arches.iter().map(Arch::to_string).collect();
                return Err(Fault::user(format!("{file} is for no machine of this repository"))
                    .expected_found(served.join(" or "), arch));
            }
            let path = format!("pool/{COMPONENT}/{}/{package}/{file}", &package.as_str()[..1]);
            let (content, size) = (offer.content, offer.size);
            match pool.insert((package, version, arch), (path.clone(), offer)) {
                Some((_, other)) if other.content == content => {}
                Some((_, other)) => {
                    return Err(Fault::integrity(format!("two packages claim to be {file}"))
                        .expected_found(other.content, content)
                        .help("cargo xtask build all"));
                }
                None => self.tree.insert(TreePath::new(path)?, Node::file(content, size, 0o644))?,
            }
        }
        Ok(pool)
    }
}

/// The text of an architecture's Packages: each package's control fields, then where and what its file is.
fn index(pool: &Pool, arch: Arch) -> Result<String> {
    let mut paragraphs = Vec::new();
    for ((_, _, own), (path, offer)) in pool {
        if *own != arch && *own != Arch::All {
            continue;
        }
        let mut paragraph = offer.control.clone();
        paragraph.set("Filename", path.as_str())?;
        paragraph.set("Size", offer.size.to_string())?;
        paragraph.set("SHA256", offer.content.hex())?;
        paragraphs.push(paragraph.to_string());
    }
    Ok(paragraphs.join("\n"))
}

fn release(suite: &Suite, files: BTreeMap<String, Listed>) -> Result<Release> {
    Ok(Release {
        origin: "Hale".to_owned(),
        label: "Hale".to_owned(),
        suite: suite.name.to_string(),
        codename: suite.name.clone(),
        version: None,
        description: Some(suite.description.clone()),
        date: suite.epoch,
        valid_until: Some(suite.epoch.plus_days(VALID_DAYS)?),
        architectures: suite.arches.iter().map(Arch::to_string).collect(),
        components: vec![COMPONENT.to_owned()],
        acquire_by_hash: true,
        files,
    })
}

/// The source for nodes. The key stands in it, so it trusts this repository and the key nothing else
/// (sources.list(5), `Signed-By`).
fn source(suite: &Suite, key: &SigningKey) -> Result<String> {
    let mut paragraph = Paragraph::new();
    let arches: Vec<_> = suite.arches.iter().map(Arch::to_string).collect();
    let key = key.certificate_armor()?;
    for (name, value) in [
        ("Types", "deb"),
        ("URIs", &suite.uri),
        ("Suites", suite.name.as_str()),
        ("Components", COMPONENT),
        ("Architectures", &arches.join(" ")),
        ("Signed-By", &format!("\n{}", key.trim_end())),
    ] {
        paragraph.set(name, value)?;
    }
    Ok(paragraph.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Class;
    use crate::base::tree::Contents;

    fn epoch() -> Epoch {
        Epoch::new(1_763_201_230).unwrap()
    }

    fn key() -> SigningKey {
        SigningKey::generate([7; 32], "Test", Epoch::new(1_577_836_800).unwrap()).unwrap()
    }

    fn suite() -> Suite {
        Suite {
            name: SuiteName::new("hale-1.17").unwrap(),
            description: "Packages of line 1.17".into(),
            epoch: epoch(),
            arches: BTreeSet::from([Arch::Amd64]),
            uri: "file:/srv/hale".into(),
        }
    }

    fn offer(name: &str, version: &str, arch: &str, content: &str) -> RepositoryPackage {
        let mut control = Paragraph::new();
        for (field, value) in [
            ("Package", name),
            ("Version", version),
            ("Architecture", arch),
            ("Maintainer", "Hale <hale@localhost>"),
            ("Filename", "../../etc/passwd"),
            ("Description", "a package"),
        ] {
            control.set(field, value).unwrap();
        }
        RepositoryPackage { control, content: Digest::of(content), size: content.len() as u64 }
    }

    fn offers() -> Vec<RepositoryPackage> {
        vec![
            offer("hale-master", "1:1.17-1", "all", "a"),
            offer("crun", "1.10-1", "amd64", "b"),
            offer("crun", "1.8-1", "amd64", "c"),
        ]
    }

    fn text(tree: &Tree, memory: &Memory, path: &str) -> String {
        let Some(Kind::File { content, .. }) = tree.get(path).map(|node| &node.kind) else {
            panic!("{path}")
        };
        String::from_utf8(memory.read(content).unwrap()).unwrap()
    }

    #[test]
    fn the_index_is_sorted_by_debians_order_and_says_where_the_files_are() {
        let (tree, memory) = repository(&suite(), offers(), &key()).unwrap();
        let index = text(&tree, &memory, "dists/hale-1.17/main/binary-amd64/Packages");
        let lines = |field: &str| -> Vec<String> {
            index.lines().filter_map(|line| line.strip_prefix(field)).map(str::to_owned).collect()
        };
        assert_eq!(lines("Version: "), ["1.8-1", "1.10-1", "1:1.17-1"]);
        assert_eq!(
            lines("Filename: "),
            [
                "pool/main/c/crun/crun_1.8-1_amd64.deb",
                "pool/main/c/crun/crun_1.10-1_amd64.deb",
                "pool/main/h/hale-master/hale-master_1.17-1_all.deb",
            ]
        );
        assert_eq!(lines("SHA256: ")[2], Digest::of("a").hex());
        assert!(tree.get("pool/main/c/crun/crun_1.8-1_amd64.deb").is_some());
    }

    #[test]
    fn the_release_file_lists_every_index_also_by_its_digest() {
        let (tree, memory) = repository(&suite(), offers(), &key()).unwrap();
        let release = text(&tree, &memory, "dists/hale-1.17/Release");
        for line in [
            "Date: Sat, 15 Nov 2025 10:07:10 UTC",
            "Valid-Until: Tue, 13 Nov 2035 10:07:10 UTC",
            "Acquire-By-Hash: yes",
        ] {
            assert!(release.lines().any(|other| other == line), "{line} in\n{release}");
        }
        let release =
            Release::parse(crate::formats::debian::control::ControlText::integrity("Release", &release))
                .unwrap();
        assert_eq!(release.files.len(), 3);
        for (path, listed) in release.files {
            let folder = path.rsplit_once('/').unwrap().0;
            for path in [path.clone(), format!("{folder}/by-hash/SHA256/{}", listed.digest.hex())] {
                let node = tree.get(&format!("dists/hale-1.17/{path}")).unwrap();
                assert_eq!(node.kind, Kind::File { content: listed.digest, size: listed.size }, "{path}");
            }
        }
        assert!(text(&tree, &memory, "dists/hale-1.17/InRelease").contains("-----BEGIN PGP SIGNATURE-----"));
        assert!(
            text(&tree, &memory, "hale.sources").contains("\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK")
        );
    }

    #[test]
    fn packages_that_clash_are_refused() {
        let same = [offers(), offers()].concat();
        let once = repository(&suite(), offers(), &key()).unwrap().0;
        assert_eq!(repository(&suite(), same, &key()).unwrap().0, once);
        let cases = [
            (vec![offer("crun", "1.8", "amd64", "a"), offer("crun", "1.8", "amd64", "b")], Class::Integrity),
            (
                vec![offer("crun", "1.8", "amd64", "a"), offer("crun", "0:1.08", "amd64", "b")],
                Class::Integrity,
            ),
            (
                vec![offer("crun", "1.8", "amd64", "a"), offer("crun", "1:1.8", "amd64", "b")],
                Class::Integrity,
            ),
            (vec![offer("crun", "1.8", "arm64", "a")], Class::User),
        ];
        for (offers, class) in cases {
            let fault = repository(&suite(), offers, &key()).unwrap_err();
            assert_eq!(fault.class(), class, "{fault}");
        }
    }

    #[test]
    fn golden() {
        let mut shuffled = offers();
        shuffled.reverse();
        for offers in [offers(), shuffled] {
            assert_eq!(
                repository(&suite(), offers, &key()).unwrap().0.digest().unwrap().hex(),
                "d65902820bdf2bde3745127502b84c4b1c21b6933cded4cbeb620d17b1b2fb37",
                "the repository's bytes changed: if that is meant, put the new digest here and say why in the commit"
            );
        }
    }
}
