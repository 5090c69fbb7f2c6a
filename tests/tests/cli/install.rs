//! The way of a release as a person walks it, from the lock to a signed repository, verb by verb; then
//! Debian's own apt on a fresh Debian 12: it installs what is pinned, nothing else, and in the right order.
//!
//! Third-party programs cannot be had here, so each is stood in for by a fixture: a file of the form that
//! upstream publishes, handed over with `input add`. Debian's packages are the archive's of today.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use builder::host::checkout::Project;
use builder::lock::Lock;
use serde_json::Value;
use tests::apt::{Action, Apt};
use tests::checkout;
use tests::cli::TestCheckout;
use tests::tools::{put, run, said, succeed, tool};

/// A component that is handed over: name, version, and the files that upstream's archive holds; a program
/// alone has none.
type Fixture = (&'static str, &'static str, &'static [&'static str]);

/// A line, and all that is handed over to it.
struct Line {
    name: &'static str,
    /// Of the role packages.
    version: &'static str,
    /// What becomes packages of ours.
    packages: &'static [Fixture],
    /// What becomes images of ours.
    images: &'static [Fixture],
    /// What of Debian's own a role package depends on.
    debian: &'static [&'static str],
}

/// Everything but conmon is somebody's own.
const LINE_1_17: Line = Line {
    name: "1.17",
    version: "1.17.17+hale1",
    packages: &[
        ("cni-plugins", "0.8.7", &["bridge", "host-local", "loopback", "portmap", "tuning"]),
        ("cri-o", "1.17.4", &["crio", "pinns"]),
        ("crictl", "1.17.0", &["crictl"]),
        ("crun", "1.17", &[]),
        ("kube-proxy", "1.17.17", &[]),
        ("kubeadm", "1.17.17", &[]),
        ("kubectl", "1.17.17", &[]),
        ("kubelet", "1.17.17", &[]),
    ],
    images: &[],
    debian: &["conmon"],
};

/// The runtime below CRI-O is Debian's, and the images lie on the node as a package.
const LINE_1_20: Line = Line {
    name: "1.20",
    version: "1.20.2+hale1",
    packages: &[
        ("cri-o", "1.17.4", &["crio", "pinns"]),
        ("crictl", "1.17.0", &["crictl"]),
        ("kube-proxy", "1.20.2", &[]),
        ("kubeadm", "1.20.2", &[]),
        ("kubectl", "1.20.2", &[]),
        ("kubelet", "1.20.2", &[]),
    ],
    images: &[
        ("coredns", "1.7.0", &[]),
        ("kube-apiserver", "1.20.2", &[]),
        ("kube-controller-manager", "1.20.2", &[]),
        ("kube-scheduler", "1.20.2", &[]),
    ],
    debian: &["conmon", "containernetworking-plugins", "crun"],
};

/// A release: everything up to the signed repository, made once.
struct Release {
    line: Line,
    checkout: TestCheckout,
    lock: Lock,
    /// What `repo` said.
    said: Value,
}

/// One test, so that the release goes away with it.
#[test]
fn from_the_lock_to_apt() {
    let release = Release::new(LINE_1_17);
    everything_pinned_is_in_the_repository(&release);
    apt_would_install_exactly_what_is_pinned(&release);
    a_missing_or_another_version_is_no_installation(&release);
    gpgv_and_apt_refuse_a_flipped_byte(&release);
}

#[test]
fn from_the_lock_to_apt_where_debian_has_the_runtime() {
    let release = Release::new(LINE_1_20);
    everything_pinned_is_in_the_repository(&release);
    apt_would_install_exactly_what_is_pinned(&release);
    debians_own_are_pinned_whoever_has_them(&release);
}

/// The head of an ELF program for amd64 that asks for no library (elf(5)), and something to tell it by.
fn program(name: &str) -> Vec<u8> {
    let mut head = [b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0", &[0; 40][..]].concat();
    // e_ehsize, e_phentsize and e_shentsize; there is none of either.
    for (at, size) in [(52, 64), (54, 56), (58, 64)] {
        head[at] = size;
    }
    [&head, name.as_bytes()].concat()
}

/// What the operator hands over for a component.
fn fixture(checkout: &TestCheckout, name: &str, files: &[&str]) -> PathBuf {
    let folder = checkout.path("fixtures").join(name);
    if files.is_empty() {
        put(folder.join(name), program(name));
        return folder.join(name);
    }
    files.iter().for_each(|file| put(folder.join(file), program(file)));
    let archive = checkout.path("fixtures").join(format!("{name}.tar.gz"));
    succeed(tool("tar", "tar").arg("-czf").arg(&archive).arg("-C").arg(&folder).args(files));
    archive
}

impl Release {
    fn new(line: Line) -> Self {
        let checkout = TestCheckout::new();
        // A locked package may leave the mirror any day, so the lock is made afresh.
        let locked = checkout.succeeds(&["lock", line.name, "--json"]);
        let locked: Value = serde_json::from_str(&locked).expect("JSON");
        assert!(locked["packages"].as_u64().is_some_and(|count| count > 100), "{locked}");
        let again = checkout.succeeds(&["lock", line.name, "--update", "conmon"]);
        assert!(again.ends_with(" packages, nothing changed\n"), "{again}");
        for (name, version, files) in line.packages.iter().chain(line.images) {
            let path = fixture(&checkout, name, files);
            let path = path.to_str().expect("UTF-8");
            checkout.succeeds(&["input", "add", name, path, "--version", version, "--line", line.name]);
        }
        let project = Project::at(checkout.root());
        let lock = project.lock(&project.recipe(&line.name.parse().unwrap()).unwrap());
        let lock = lock.unwrap_or_else(|fault| panic!("{fault}"));
        checkout::carry_program(&checkout.root(), lock.epoch, &checkout.store());
        let wanted = ["master", "node", "images"].iter().flat_map(|role| lock.wanted_by(role));
        let wanted: BTreeSet<_> = wanted.map(|package| package.name.as_str()).collect();
        let only = wanted.iter().flat_map(|name| ["--only", name]);
        checkout.succeeds(&["fetch", line.name].into_iter().chain(only).collect::<Vec<_>>());
        checkout.succeeds(&["build", "all", "--line", line.name]);
        checkout.succeeds(&["key", "new", "--name", "A cluster's own"]);
        let dist = project.dist(&lock.line).unwrap_or_else(|fault| panic!("{fault}"));
        let uri = format!("file:{}", dist.join("repo").display());
        let said = checkout.succeeds(&["repo", "--line", line.name, "--uri", &uri, "--json"]);
        Self { line, checkout, lock, said: serde_json::from_str(&said).expect("JSON") }
    }

    /// Where its bundles and its repository are.
    fn dist(&self) -> PathBuf {
        Project::at(self.checkout.root()).dist(&self.lock.line).unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn repo(&self) -> PathBuf {
        self.dist().join("repo")
    }

    /// Gives an apt the preferences that hale-common brings.
    fn prefer(&self, apt: &Apt, scratch: &Path) {
        let common = self.dist().join(format!("master/hale-common_{}_all.deb", self.line.version));
        succeed(tool("dpkg-deb", "dpkg").arg("-x").arg(common).arg(scratch));
        for entry in fs::read_dir(scratch.join("etc/apt/preferences.d")).expect("preferences") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            apt.put(&format!("preferences.d/{name}"), fs::read(&path).expect("preferences"));
        }
    }

    /// An apt that knows this repository alone, on a fresh Debian 12.
    fn apt(&self, folder: &Path) -> Apt {
        let apt = Apt::new(folder, &minimal(&self.indices(), &folder.join("minimal")));
        apt.put("sources.list.d/hale.sources", fs::read(self.repo().join("hale.sources")).expect("a source"));
        apt
    }

    /// Debian's indices of packages as `lock` read them; those of sources name no file to install.
    fn indices(&self) -> String {
        let folder = self.checkout.path("store-indices");
        let entries = fs::read_dir(folder).expect("indices").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = entries.collect();
        files.sort();
        let texts = files.iter().map(|file| fs::read_to_string(file).expect("an index") + "\n");
        texts.filter(|text| text.contains("\nFilename: ")).collect()
    }

    /// The version that a package must have: Debian's as locked, or ours.
    fn versions(&self) -> BTreeMap<String, String> {
        let locked = self.lock.packages.values();
        let mut versions: BTreeMap<_, _> =
            locked.map(|package| (package.name.to_string(), package.version.to_string())).collect();
        for (name, version, _) in self.line.packages {
            versions.insert((*name).to_owned(), format!("{version}+hale1+local"));
        }
        for name in ["hale-common", "hale-master"] {
            versions.insert(name.to_owned(), self.line.version.to_owned());
        }
        if !self.line.images.is_empty() {
            versions.insert("hale-master-images".to_owned(), format!("{}+local", self.line.version));
        }
        versions.insert("hale".to_owned(), "0.1.0-1".to_owned());
        versions
    }
}

/// dpkg's status on a fresh Debian 12 with nothing but what is required, from Debian's indices.
fn minimal(indices: &str, scratch: &Path) -> String {
    put(scratch.join("repo/Packages"), indices);
    let apt = Apt::new(&scratch.join("apt"), "");
    apt.put("sources.list", format!("deb [trusted=yes] file:{} ./\n", scratch.join("repo").display()));
    let update = apt.run(&["update"]);
    assert!(update.status.success(), "{}", said(&update));
    let stanzas: BTreeMap<(&str, &str), &str> = indices
        .split("\n\n")
        .filter_map(|stanza| Some(((field(stanza, "Package")?, field(stanza, "Version")?), stanza)))
        .collect();
    let required = |stanza: &&str| {
        field(stanza, "Priority") == Some("required") || field(stanza, "Essential") == Some("yes")
    };
    let required = stanzas.values().copied().filter(required).filter_map(|stanza| field(stanza, "Package"));
    let required: BTreeSet<&str> = required.chain(["apt"]).collect();
    let installed = apt.simulate(&required.into_iter().collect::<Vec<_>>());
    let installed = installed.iter().filter(|action| action.verb == "Inst");
    let mut status = String::new();
    for Action { package, version, .. } in installed {
        let stanza = stanzas[&(package.as_str(), version.as_str())];
        status += &format!("{}\nStatus: install ok installed\n\n", stanza.trim_matches('\n'));
    }
    assert!(status.matches("Status: ").count() > 50, "a Debian of few packages:\n{status}");
    status
}

fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn everything_pinned_is_in_the_repository(release: &Release) {
    assert_eq!(release.said["missing"], serde_json::json!([]), "{}", release.said);
    let debs = release.said["packages"].as_array().expect("a list");
    for (name, version, _) in release.line.packages {
        let file = format!("/{name}_{version}+hale1+local_amd64.deb");
        let count = debs.iter().filter(|deb| deb.as_str().is_some_and(|deb| deb.ends_with(&file))).count();
        assert_eq!(count, 1, "{file} in {debs:?}");
    }
}

fn apt_would_install_exactly_what_is_pinned(release: &Release) {
    let folder = tempfile::tempdir().unwrap();
    let apt = release.apt(folder.path());
    let update = apt.run(&["update"]);
    assert!(update.status.success(), "{}", said(&update));
    assert!(!said(&update).contains("W:") && !said(&update).contains("E:"), "{}", said(&update));
    let actions = apt.simulate(&["hale-master"]);
    let versions = release.versions();
    let installed: BTreeMap<&str, &str> = actions
        .iter()
        .filter(|action| action.verb == "Inst")
        .map(|action| (action.package.as_str(), action.version.as_str()))
        .collect();
    for (package, version) in &installed {
        assert_eq!(versions.get(*package).map(String::as_str), Some(*version), "{package}");
    }
    let own = versions.keys().map(String::as_str).filter(|name| name.starts_with("hale"));
    let own = own.chain(release.line.debian.iter().copied());
    for package in release.line.packages.iter().map(|(name, ..)| *name).chain(own) {
        assert!(installed.contains_key(package), "{package} is not installed: {installed:?}");
    }
    // A package is configured after what it needs: dpkg runs its scripts in this order.
    let place = |package: &str| {
        let found = actions.iter().position(|action| action.verb == "Conf" && action.package == package);
        found.unwrap_or_else(|| panic!("{package} is not configured"))
    };
    for (name, ..) in release.line.packages {
        assert!(place(name) < place("hale-master"), "{name} comes after hale-master");
    }
    assert!(place("hale") < place("hale-common") && place("hale-common") < place("hale-master"));

    // Somebody else's newer kubelet is never taken: at worst apt refuses, and with the preferences that
    // hale-common brings, nothing changes.
    add_stranger(&apt, &folder.path().join("stranger"));
    let refused = apt.run(&["install", "--simulate", "hale-master"]);
    let kubelet = format!("kubelet (= {})", versions["kubelet"]);
    assert!(!refused.status.success() && said(&refused).contains(&kubelet), "{}", said(&refused));
    release.prefer(&apt, &folder.path().join("common"));
    let again = apt.simulate(&["hale-master"]);
    assert_eq!(BTreeSet::from_iter(&again), BTreeSet::from_iter(&actions));
}

/// Gives an apt a repository that has newer packages by the names of pinned ones.
fn add_stranger(apt: &Apt, folder: &Path) {
    let stranger = "Package: NAME\nVersion: 9:99.0\nArchitecture: amd64\nMaintainer: x <x@example.org>\n\
                    Filename: ./NAME.deb\nSize: 1\nDescription: not ours\n\n";
    let names = ["kubelet", "crun", "conmon", "containernetworking-plugins"];
    put(folder.join("Packages"), names.map(|name| stranger.replace("NAME", name)).concat());
    apt.put("sources.list.d/stranger.list", format!("deb [trusted=yes] file:{} ./\n", folder.display()));
    assert!(apt.run(&["update"]).status.success());
}

/// On a machine that has the preferences and Debian's own archive, but not our repository.
fn debians_own_are_pinned_whoever_has_them(release: &Release) {
    let folder = tempfile::tempdir().unwrap();
    let apt = Apt::new(&folder.path().join("apt"), "");
    put(folder.path().join("debian/Packages"), release.indices());
    let debian = format!("deb [trusted=yes] file:{} ./\n", folder.path().join("debian").display());
    apt.put("sources.list.d/debian.list", debian);
    add_stranger(&apt, &folder.path().join("stranger"));
    let (names, versions) = (release.line.debian, release.versions());
    let chosen = |actions: &[Action]| -> BTreeMap<String, String> {
        let own = actions.iter().filter(|action| names.contains(&action.package.as_str()));
        own.map(|action| (action.package.clone(), action.version.clone())).collect()
    };
    let newest = chosen(&apt.simulate(names));
    assert!(newest.len() == 3 && newest.values().all(|version| version == "9:99.0"), "{newest:?}");
    release.prefer(&apt, &folder.path().join("common"));
    let pinned = names.iter().map(|name| ((*name).to_owned(), versions[*name].clone()));
    assert_eq!(chosen(&apt.simulate(names)), pinned.collect());
    let other = apt.run(&["install", "--simulate", "kubelet"]);
    assert!(
        !other.status.success() && said(&other).contains("no installation candidate"),
        "{}",
        said(&other)
    );
}

fn a_missing_or_another_version_is_no_installation(release: &Release) {
    let folder = tempfile::tempdir().unwrap();
    let apt = release.apt(folder.path());
    assert!(apt.run(&["update"]).status.success());
    let other = apt.run(&["install", "--simulate", "hale-master", "kubelet-"]);
    assert!(!other.status.success(), "{}", said(&other));
    let status = folder.path().join("var/lib/dpkg/status");
    let held = "Package: crun\nStatus: hold ok installed\nVersion: 9:99.0\nArchitecture: amd64\n\
                Maintainer: x <x@example.org>\nDescription: not ours\n\n";
    put(&status, fs::read_to_string(&status).unwrap() + held);
    let held = apt.run(&["install", "--simulate", "hale-master"]);
    assert!(!held.status.success() && said(&held).contains("crun (= 1.17+hale1+local)"), "{}", said(&held));
}

fn gpgv_and_apt_refuse_a_flipped_byte(release: &Release) {
    let folder = tempfile::tempdir().unwrap();
    let shown = release.checkout.succeeds(&["key", "show", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["fingerprint"], release.said["fingerprint"]);
    // A copy, since others look at the repository too.
    let repo = folder.path().join("repo");
    succeed(tool("cp", "coreutils").arg("-a").arg(release.repo()).arg(&repo));
    let signed = repo.join("dists/hale-1.17/InRelease");
    let gpgv = || {
        let mut gpgv = tool("gpgv", "gpgv");
        run(gpgv.arg("--keyring").arg(repo.join("hale-archive-keyring.gpg")).arg(&signed))
    };
    assert!(gpgv().status.success() && said(&gpgv()).contains("Good signature from \"A cluster's own\""));
    let apt = Apt::new(&folder.path().join("apt"), "");
    let source = fs::read_to_string(repo.join("hale.sources")).unwrap();
    let own = release.repo().display().to_string();
    assert!(source.contains(&own), "{source}");
    apt.put("sources.list.d/hale.sources", source.replace(&own, &repo.display().to_string()));
    assert!(apt.run(&["update"]).status.success());
    let good = fs::read(&signed).unwrap();
    let mut bad = good.clone();
    let at = good.windows(7).position(|window| window == b"Origin:").expect("an origin") + 8;
    bad[at] ^= 1;
    fs::write(&signed, bad).unwrap();
    assert!(!gpgv().status.success());
    // One that has seen the good one would keep to that.
    let fresh = Apt::new(&folder.path().join("fresh"), "");
    fresh.put("sources.list.d/hale.sources", source.replace(&own, &repo.display().to_string()));
    let update = fresh.run(&["update"]);
    assert!(!update.status.success(), "{}", said(&update));
    assert!(!fresh.run(&["install", "--simulate", "hale-master"]).status.success());
    fs::write(&signed, good).unwrap();
    assert!(fresh.run(&["update"]).status.success());
}
