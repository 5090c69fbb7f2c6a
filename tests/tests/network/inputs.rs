//! Inputs that the operator hands over, and what a lock asks to be fetched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use builder::base::name::{ComponentName, LineName};
use builder::base::progress::Silent;
use builder::base::text::SourceText;
use builder::base::{Class, Digest, Url};
use builder::fetch::locked;
use builder::fetch::provide;
use builder::fetch::{Client, FetchLimits, Locations, fetch};
use builder::formats::debian::version::Version;
use builder::host::checkout::Project;
use builder::lock::{Lock, LockedOrigin};
use builder::store::Store;
use serde_json::Value;
use tempfile::TempDir;
use tests::checkout;
use tests::cli::TestCheckout;
use tests::stores::alone;
use tests::tools::said;

/// A checkout's recipes in a folder of their own, and a store.
struct InputsTest {
    folder: TempDir,
    project: Project,
    line: LineName,
}

impl InputsTest {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let top = checkout::top();
        for name in ["recipes", "overlays"] {
            for entry in walkdir::WalkDir::new(top.join(name)).into_iter().map(|entry| entry.unwrap()) {
                let to = folder.path().join(entry.path().strip_prefix(top).unwrap());
                match entry.file_type().is_dir() {
                    true => fs::create_dir(to).unwrap(),
                    false if entry.path().to_string_lossy().ends_with(".local.lock") => {}
                    false => drop(fs::copy(entry.path(), to).unwrap()),
                }
            }
        }
        let project = Project::at(folder.path());
        Self { line: project.default_line().unwrap(), project, folder }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn add(&self, component: &str, path: &Path) -> builder::base::Result<builder::lock::LockedInput> {
        let store = Store::open(&self.store()).unwrap();
        let (component, version) = (ComponentName::new(component).unwrap(), Version::new("1.17.4").unwrap());
        provide::add(&self.project, &store, &self.line, &component, &version, path)
    }
}

#[test]
fn what_is_handed_over_is_kept_until_it_is_taken_back() {
    let test = InputsTest::new();
    let cri_o = ComponentName::new("cri-o").unwrap();
    test.add("cri-o", &test.file("crio.tar.gz", "crio and pinns")).unwrap();
    test.add("kubelet", &test.file("kubelet", "my own kubelet")).unwrap();
    let local = test.project.local(&test.line).unwrap();
    let LockedOrigin::Supplied { file, digest, size } = &local.inputs["cri-o"].from else {
        panic!("not added")
    };
    assert_eq!((file.as_str(), *digest, *size), ("crio.tar.gz", Digest::of("crio and pinns"), 14));
    alone(&test.store()).gc(false).unwrap();
    assert!(Store::open(&test.store()).unwrap().contains(&Digest::of("my own kubelet")));

    let store = Store::open(&test.store()).unwrap();
    provide::remove(&test.project, &store, &test.line, &cri_o).unwrap();
    let again = provide::remove(&test.project, &store, &test.line, &cri_o).unwrap_err();
    assert_eq!(again.class(), Class::User);
    provide::remove(&test.project, &store, &test.line, &ComponentName::new("kubelet").unwrap()).unwrap();
    drop(store);
    assert!(!test.project.local_lock_path(&test.line).exists());
    assert_eq!(alone(&test.store()).gc(false).unwrap().removed, 2);
}

#[test]
fn what_cannot_be_taken_in_changes_nothing() {
    let test = InputsTest::new();
    let good = test.file("good", "good");
    let check = |component: &str, path: &Path, part: &str| {
        let fault = test.add(component, path).unwrap_err();
        assert_eq!(fault.class(), Class::User);
        assert!(fault.to_string().contains(part), "{fault}");
    };
    check("crio", &good, "cri-o");
    check("cri-o", &test.file("empty", ""), "something in it");
    check("cri-o", test.folder.path(), "something in it");
    check("cri-o", Path::new("/nonexistent/file"), "cannot take in");
    assert!(!test.project.local_lock_path(&test.line).exists());
    assert_eq!(fs::read_dir(test.store().join("blobs/sha256")).unwrap().count(), 0);
}

const LOCK: &str = include_str!("../../../recipes/lines/1.17.lock");

#[test]
fn a_lock_s_packages_are_asked_for_at_mirrors_then_snapshots() {
    let lock = Lock::parse(SourceText::new("1.17.lock", LOCK)).unwrap();
    let mirror = Url::new("http://127.0.0.1:9/debian/").unwrap();
    let wanted = locked::wanted(&lock, &|suite| {
        Ok(vec![mirror.clone(), locked::mirror_at("http://127.0.0.1:9/snapshot/{time}", suite)?])
    })
    .unwrap();
    assert_eq!(wanted.len(), lock.packages.len() + lock.inputs.len());
    let package = lock.packages.values().next().unwrap();
    let one = wanted.iter().find(|one| one.name == format!("{} {}", package.name, package.version)).unwrap();
    let Locations::Urls(urls) = &one.source else { panic!("not a file") };
    assert_eq!(urls[0].as_str(), format!("http://127.0.0.1:9/debian/{}", package.path));
    let (day, rest) =
        urls[1].as_str().strip_prefix("http://127.0.0.1:9/snapshot/").unwrap().split_once('T').unwrap();
    assert!(day.len() == 8 && rest.split_once("Z/").is_some_and(|(time, _)| time.len() == 6), "{}", urls[1]);
    assert!(one.help.contains(&format!("--update {}", package.name)) && one.help.contains("--snapshot"));
    assert_eq!(
        locked::names(&lock).unwrap().len(),
        wanted.iter().filter(|one| one.checksum.is_some()).count()
    );
}

#[test]
fn a_package_that_left_the_mirror_says_what_mends_it() {
    let lock = Lock::parse(SourceText::new("1.17.lock", LOCK)).unwrap();
    let server = tests::server::Server::start();
    let mirror = Url::new(server.url("/debian")).unwrap();
    let wanted = locked::wanted(&lock, &|_| Ok(vec![mirror.clone()])).unwrap();
    let one = wanted.iter().find(|one| one.name.starts_with("conmon ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let client = Client::new(FetchLimits::default(), None).unwrap();
    let summary = fetch(&store, &client, std::slice::from_ref(one), &Silent).unwrap();
    let fault = &summary.missing[0].1;
    assert_eq!((fault.class(), fault.help_text()), (Class::Remote, Some(&*one.help)));
}

/// Who hands over at the same time as others loses nothing.
#[test]
fn inputs_that_are_added_at_once_are_all_kept() {
    let checkout = TestCheckout::new();
    fs::write(checkout.path("program"), "#!/bin/sh\n").unwrap();
    let names = ["kubelet", "kubeadm", "kubectl", "kube-proxy", "crictl", "cri-o"];
    for round in 0..3 {
        let add = |name: &&str| {
            let mut command = checkout.command(&["input", "add", name, "program", "--version", "1.17.17"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let all: Vec<_> = names.iter().map(add).collect();
        for one in all {
            let output = one.wait_with_output().unwrap();
            assert!(output.status.success(), "round {round}: {}", said(&output));
        }
        let listed: Value = serde_json::from_str(&checkout.succeeds(&["input", "list", "--json"])).unwrap();
        assert_eq!(listed.as_array().map(Vec::len), Some(names.len()), "round {round}: {listed}");
        for name in names {
            checkout.succeeds(&["input", "remove", name]);
        }
    }
}
