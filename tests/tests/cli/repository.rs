//! The apt repository as nodes meet it: apt takes it, gpgv vouches for it, and one flipped bit is enough
//! for either to refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;

use builder::base::name::{Arch, GroupName, LineName, PackageName, RoleName, SuiteName};
use builder::base::tree::{Memory, Tree, TreePath};
use builder::base::{Class, Digest, Epoch};
use builder::dist::repository::{Bundles, gather, publish};
use builder::formats::debian::control::{ControlText, Paragraph};
use builder::formats::openpgp::SigningKey;
use builder::lock::{Lock, LockedPackage};
use builder::pack::package::deb::{self, DebSpec};
use builder::pack::package::repository::Suite;
use builder::store::Store;
use tempfile::TempDir;
use tests::apt::Apt;
use tests::cli::TestCheckout;
use tests::fixtures::bundle;
use tests::tools::{prefixed, put, run, said, succeed, tool};

const EPOCH: u64 = 1_763_201_230;

/// A .deb with one file, its name, and its bytes.
fn deb(package: &str, version: &str, arch: &str, depends: &str) -> (String, Vec<u8>) {
    let mut control = Paragraph::new();
    for (name, value) in [
        ("Package", package),
        ("Version", version),
        ("Architecture", arch),
        ("Maintainer", "Hale <hale@localhost>"),
        ("Depends", depends),
        ("Section", "admin"),
        ("Priority", "optional"),
        ("Description", "a package of the tests\nin two lines"),
    ] {
        control.set(name, value).unwrap();
    }
    let (mut tree, mut memory) = (Tree::new(), Memory::default());
    let path = TreePath::new(format!("usr/share/{package}/file")).unwrap();
    tree.insert(path, memory.file(package.as_bytes(), 0o644)).unwrap();
    let (conffiles, scripts) = (BTreeSet::new(), BTreeMap::new());
    let deb =
        DebSpec { control: &control, conffiles: &conffiles, scripts: &scripts, triggers: &[], tree: &tree };
    let mut bytes = Vec::new();
    let mut scratch = std::io::Cursor::new(Vec::new());
    deb::write(&deb, &memory, Epoch::new(EPOCH).unwrap(), &mut scratch, &mut bytes).unwrap();
    (deb::file_name(&control).unwrap(), bytes)
}

fn key() -> SigningKey {
    SigningKey::generate([7; 32], "Test", Epoch::new(1_577_836_800).unwrap()).unwrap()
}

fn lock() -> Lock {
    Lock {
        line: LineName::new("1.17").unwrap(),
        arch: Arch::Amd64,
        recipe: Digest::of("recipe"),
        epoch: Epoch::new(EPOCH).unwrap(),
        suites: BTreeMap::new(),
        inputs: BTreeMap::new(),
        packages: BTreeMap::new(),
        sources: BTreeMap::new(),
    }
}

/// Adds a package of Debian's that the master wants to the lock.
fn want(lock: &mut Lock, name: &str, version: &str, file: &str, bytes: &[u8]) {
    let package = LockedPackage {
        name: PackageName::new(name).unwrap(),
        version: version.parse().unwrap(),
        arch: Arch::Amd64,
        suite: SuiteName::new("bookworm").unwrap(),
        path: TreePath::new(format!("pool/{file}")).unwrap(),
        size: bytes.len() as u64,
        sha256: Digest::of(bytes),
        wanted_by: BTreeSet::from([GroupName::new("master").unwrap()]),
    };
    lock.packages.insert((package.name.clone(), package.arch), package);
}

/// A repository of three packages, and an apt that knows no other.
struct Site {
    dir: TempDir,
    apt: Apt,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let mut lock = lock();
        let dist = dir.path().join("dist");
        let mut debs = Vec::new();
        for (file, bytes) in [
            deb("hale-common", "1.17-1", "all", ""),
            deb("hale-master", "1.17-1", "all", "hale-common (= 1.17-1), crun (= 1:1.8.1-1)"),
        ] {
            put(dist.join("master").join(&file), bytes);
            debs.push(dist.join("master").join(file));
        }
        let (file, bytes) = deb("crun", "1:1.8.1-1", "amd64", "");
        store.put_bytes(&bytes).unwrap();
        want(&mut lock, "crun", "1:1.8.1-1", &file, &bytes);
        want(&mut lock, "conmon", "2.1.6-1", "conmon.deb", b"never fetched");
        let roles = ["master", "node"].map(|role| RoleName::new(role).unwrap()).into();
        let bundles = Bundles { roles: vec![bundle(&store, &debs)], components: None };
        let gathered = gather(&store, &bundles, &roles, &lock).unwrap();
        assert_eq!(Vec::from_iter(gathered.missing.clone()), ["conmon 2.1.6-1"]);
        let suite = Suite {
            name: SuiteName::new("hale-1.17").unwrap(),
            description: "Nodes of line 1.17".into(),
            epoch: lock.epoch,
            arches: BTreeSet::from([Arch::Amd64]),
            uri: format!("file:{}", dist.join("repo").display()),
        };
        publish(&store, &suite, gathered, &key(), &dist.join("repo")).unwrap();
        let apt = Apt::new(&dir.path().join("apt"), "");
        let site = Self { dir, apt };
        site.apt.put("sources.list.d/hale.sources", site.read("hale.sources"));
        site
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn repo(&self) -> PathBuf {
        self.path("dist/repo")
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.repo().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn gpgv(&self, files: &[&str]) -> Output {
        let mut gpgv = tool("gpgv", "gpgv");
        gpgv.arg("--keyring").arg(self.repo().join("hale-archive-keyring.gpg"));
        run(gpgv.args(files.iter().map(|file| self.repo().join("dists/hale-1.17").join(file))))
    }

    /// Flips the lowest bit of one byte.
    fn flip(&self, file: &Path, at: usize) {
        let path = self.repo().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    /// The files of the repository below a folder.
    fn below(&self, folder: &str) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(self.repo().join(folder)).sort_by_file_name();
        let files =
            entries.into_iter().map(|entry| entry.unwrap()).filter(|entry| entry.file_type().is_file());
        files.map(|entry| entry.path().strip_prefix(self.repo()).unwrap().to_owned()).collect()
    }
}

#[test]
fn apt_takes_the_repository_and_names_the_pinned_versions() {
    let site = Site::new();
    let update = site.apt.run(&["update"]);
    assert!(update.status.success(), "{}", said(&update));
    assert!(!said(&update).contains("W:") && !said(&update).contains("E:"), "{}", said(&update));
    let install = site.apt.run(&["install", "--simulate", "hale-master"]);
    let text = said(&install);
    for line in ["Inst hale-common (1.17-1 ", "Inst crun (1:1.8.1-1 ", "Inst hale-master (1.17-1 "] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let download = site.apt.run(&["install", "--download-only", "--yes", "hale-master"]);
    assert!(download.status.success(), "{}", said(&download));
}

#[test]
fn gpgv_says_good_until_a_bit_is_flipped() {
    let site = Site::new();
    let both: [&[&str]; 2] = [&["Release.gpg", "Release"], &["InRelease"]];
    for files in both {
        let good = site.gpgv(files);
        assert!(good.status.success() && said(&good).contains("Good signature"), "{}", said(&good));
    }
    let text = String::from_utf8(site.read("dists/hale-1.17/InRelease")).unwrap();
    let at = text.find("Origin: Hale").unwrap() + "Origin: ".len();
    site.flip(Path::new("dists/hale-1.17/InRelease"), at);
    site.flip(Path::new("dists/hale-1.17/Release"), "Origin: ".len());
    for files in both {
        let bad = site.gpgv(files);
        assert!(!bad.status.success() && said(&bad).contains("BAD signature"), "{}", said(&bad));
    }
}

#[test]
fn apt_refuses_a_flipped_bit_in_the_signed_release() {
    let site = Site::new();
    let length = site.read("dists/hale-1.17/InRelease").len();
    for at in [60, length / 3, length / 2, length - 80] {
        site.flip(Path::new("dists/hale-1.17/InRelease"), at);
        let update = site.apt.run(&["update"]);
        assert!(!update.status.success(), "byte {at}: {}", said(&update));
        let install = site.apt.run(&["install", "--simulate", "hale-master"]);
        assert!(!install.status.success(), "byte {at}: {}", said(&install));
        site.flip(Path::new("dists/hale-1.17/InRelease"), at);
    }
    let update = site.apt.run(&["update"]);
    assert!(update.status.success(), "the bits are back: {}", said(&update));
}

#[test]
fn apt_refuses_a_flipped_bit_in_the_index() {
    let site = Site::new();
    // apt chooses among the compressed forms, by name and by digest: each is spoilt in one bit.
    for file in site.below("dists/hale-1.17/main") {
        site.flip(&file, site.read(file.to_str().unwrap()).len() / 2);
    }
    let update = site.apt.run(&["update"]);
    assert!(!update.status.success(), "{}", said(&update));
    assert!(said(&update).contains("Hash Sum mismatch"), "{}", said(&update));
    assert!(!site.apt.run(&["install", "--simulate", "hale-master"]).status.success());
}

#[test]
fn apt_refuses_a_flipped_bit_in_a_package() {
    let site = Site::new();
    assert!(site.apt.run(&["update"]).status.success());
    let file =
        site.below("pool").into_iter().find(|path| path.to_str().unwrap().contains("hale-master")).unwrap();
    site.flip(&file, site.read(file.to_str().unwrap()).len() - 20);
    let install = site.apt.run(&["install", "--download-only", "--yes", "hale-master"]);
    assert!(!install.status.success() && said(&install).contains("Hash Sum mismatch"), "{}", said(&install));
}

#[test]
fn apt_ftparchive_finds_the_same_packages() {
    let site = Site::new();
    let theirs =
        succeed(tool("apt-ftparchive", "apt-utils").args(["packages", "pool"]).current_dir(site.repo()));
    let ours = site.read("dists/hale-1.17/main/binary-amd64/Packages");
    let facts = |text: Vec<u8>| -> BTreeSet<Vec<String>> {
        let text = String::from_utf8(text).unwrap();
        let paragraphs = ControlText::integrity("Packages", &text).read().unwrap();
        let fields =
            ["Package", "Version", "Architecture", "Depends", "Filename", "Size", "SHA256", "Description"];
        paragraphs
            .iter()
            .map(|paragraph| fields.map(|name| paragraph.get(name).unwrap_or_default().to_owned()).to_vec())
            .collect()
    };
    let (ours, theirs) = (facts(ours), facts(theirs));
    assert_eq!(ours.len(), 3);
    assert_eq!(ours, theirs);
}

#[test]
fn the_indices_compressed_forms_are_one_text() {
    let site = Site::new();
    let file = |suffix: &str| site.repo().join(format!("dists/hale-1.17/main/binary-amd64/Packages{suffix}"));
    let plain = std::fs::read(file("")).unwrap();
    assert_eq!(succeed(tool("gzip", "gzip").args(["-dc"]).arg(file(".gz"))), plain);
    assert_eq!(succeed(tool("xz", "xz-utils").args(["-dc"]).arg(file(".xz"))), plain);
}

#[test]
fn a_fetched_package_that_is_another_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let roles = BTreeSet::from([RoleName::new("master").unwrap()]);
    let mut lock = lock();
    let mut bundles = Bundles::default();
    let nothing = gather(&store, &bundles, &roles, &lock).unwrap_err();
    assert_eq!((nothing.class(), nothing.help_text()), (Class::User, Some("cargo xtask build all")));
    let (file, bytes) = deb("hale-master", "1.17-1", "all", "");
    put(dir.path().join(&file), bytes);
    bundles.roles.push(bundle(&store, &[dir.path().join(file)]));
    let (file, bytes) = deb("crun", "1.8.1-1", "amd64", "");
    store.put_bytes(&bytes).unwrap();
    want(&mut lock, "crun", "1.8.1-2", &file, &bytes);
    let lie = gather(&store, &bundles, &roles, &lock).unwrap_err();
    assert_eq!(lie.class(), Class::Integrity, "{lie}");
    assert_eq!(lie.mismatch(), Some(("crun 1.8.1-2 amd64", "crun 1.8.1-1 amd64")));
}

#[test]
fn both_keyrings_are_one_key() {
    let site = Site::new();
    let armored = site.path("armored.gpg");
    succeed(
        tool("gpg", "gnupg")
            .arg(prefixed("--homedir=", site.dir.path()))
            .args(["--batch", "--dearmor", "--output"])
            .arg(&armored)
            .arg(site.repo().join("hale-archive-keyring.asc")),
    );
    assert_eq!(std::fs::read(armored).unwrap(), site.read("hale-archive-keyring.gpg"));
}

/// How many packages the repository gets.
fn packages_of(checkout: &TestCheckout) -> usize {
    let said: serde_json::Value = serde_json::from_str(&checkout.succeeds(&["repo", "--json"])).unwrap();
    said["packages"].as_array().unwrap().len()
}

/// What is signed is what the plan makes, and not what somebody laid beside it.
#[test]
fn a_stray_package_is_not_signed() {
    let checkout = TestCheckout::with_program();
    checkout.succeeds(&["key", "new"]);
    put(checkout.path("program"), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0\0\x3e\0a program");
    checkout.succeeds(&["input", "add", "kubelet", "program", "--version", "1.17.17"]);
    checkout.succeeds(&["build", "all"]);
    let own = packages_of(&checkout);
    let release = checkout.root().join("dist/repo/dists/hale-1.17/InRelease");
    let signed = std::fs::read(&release).unwrap();
    let control =
        "Package: kubelet\nVersion: 99\nArchitecture: amd64\nMaintainer: T <t@example.org>\nDescription: t\n";
    put(checkout.path("stray/DEBIAN/control"), control);
    let any = |folder: &str| {
        let mut debs =
            std::fs::read_dir(checkout.root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        debs.find(|path| path.extension().is_some_and(|end| end == "deb")).unwrap()
    };
    for folder in ["dist/master", "dist/components"] {
        // A whole package by a name of its own, and other bytes in the place of one.
        let (deb, stray) = (any(folder), checkout.root().join(folder).join("kubelet_99_amd64.deb"));
        let bytes = std::fs::read(&deb).unwrap();
        succeed(
            tool("dpkg-deb", "dpkg")
                .args(["--root-owner-group", "--build"])
                .arg(checkout.path("stray"))
                .arg(&stray),
        );
        for spoilt in [&stray, &deb] {
            let refused = checkout.refuses(&["repo"], 2);
            let name = spoilt.file_name().unwrap().to_str().unwrap();
            assert!(refused.contains(name) && refused.contains("cargo xtask build"), "{refused}");
            assert!(std::fs::read(&release).unwrap() == signed, "{name} was signed");
            let _ = std::fs::remove_file(&stray);
            std::fs::write(&deb, b"another").unwrap();
        }
        std::fs::write(&deb, bytes).unwrap();
    }
    // What was not built, or built of something else, is no part of it.
    assert_eq!(packages_of(&checkout), own);
    checkout.edit("overlays/common/etc/crictl.yaml", "timeout: ", "timeout: 1");
    let refused = checkout.refuses(&["repo"], 2);
    assert!(
        refused.contains("no bundle of a role") && refused.contains("cargo xtask build all"),
        "{refused}"
    );
}
