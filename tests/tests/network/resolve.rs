//! What a lock holds: apt's own opinion of what is needed, and which packages move.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use builder::base::name::{Arch, PackageName, SuiteName};
use builder::base::{Class, Digest, Epoch};
use builder::fetch::mirror::{Mirrors, SuiteReader};
use builder::fetch::{Client, FetchLimits};
use builder::formats::debian::control::ControlText;
use builder::formats::debian::index::packages;
use builder::host::checkout::Project;
use builder::lock::LockedSuite;
use builder::lock::diff::changes;
use builder::lock::resolve::{ArchiveSnapshot, UpdatePolicy, resolve};
use builder::recipe::Recipe;
use tests::apt::Apt;
use tests::checkout;
use tests::tools::{put, said};

/// What apt would install into an empty root, as `name=version`.
fn apt_simulate(top: &Path, packages: &str, wanted: &[String]) -> BTreeSet<String> {
    put(top.join("repo/Packages"), packages);
    let apt = Apt::new(&top.join("root"), "");
    apt.put("sources.list", format!("deb [trusted=yes] file:{} ./\n", top.join("repo").display()));
    let update = apt.run(&["update"]);
    assert!(update.status.success(), "{}", said(&update));
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let installs = apt.simulate(&wanted).into_iter().filter(|action| action.verb == "Inst");
    installs.map(|action| format!("{}={}", action.package, action.version)).collect()
}

/// Needs the machine's mirrors, as `cargo xtask lock` itself does.
#[test]
fn apt_would_install_what_the_lock_holds() {
    let top = tempfile::tempdir().unwrap();
    let project = Project::at(checkout::top());
    let recipe = project.recipe(&project.default_line().unwrap()).unwrap();
    let sources = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"].map(Into::into);
    #[expect(clippy::disallowed_methods, reason = "signatures of the outside world expire")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let client = Client::new(FetchLimits::default(), None).unwrap();
    let cache = top.path().join("cache");
    let reader = SuiteReader {
        client: &client,
        cache: &cache,
        now: Epoch::new(now).unwrap(),
        arch: recipe.line.arch,
        sources: recipe.sources.keys().cloned().collect(),
    };
    let mirrors = Mirrors::read(&sources).unwrap();
    let snapshot = || reader.snapshot(&mirrors, project.files().unwrap(), &recipe.line, None);
    let lock =
        resolve(&recipe, snapshot().unwrap_or_else(|fault| panic!("{fault}")), UpdatePolicy::All).unwrap();

    let mut indices = String::new();
    for entry in std::fs::read_dir(&cache).unwrap() {
        indices.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        indices.push('\n');
    }
    let mut wanted: BTreeSet<String> = recipe.wanted().unwrap().into_values().flatten().collect();
    wanted =
        wanted.iter().map(|relation| relation.split(' ').next().unwrap_or_default().to_owned()).collect();
    let essential = indices.split("\n\n").filter(|stanza| stanza.contains("\nEssential: yes"));
    wanted.extend(
        essential.filter_map(|stanza| Some(stanza.strip_prefix("Package: ")?.lines().next()?.to_owned())),
    );
    let wanted: Vec<String> = wanted.into_iter().collect();
    let theirs = apt_simulate(top.path(), &indices, &wanted);
    let ours: BTreeSet<String> =
        lock.packages.values().map(|p| format!("{}={}", p.name, p.version)).collect();
    let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
    assert!(differ.is_empty(), "ours {}, apt's {}: {differ:?}", ours.len(), theirs.len());

    // A lock moves one package and leaves the others; a lock of now has nothing to move.
    let one = &lock.packages.values().next().unwrap().name;
    let again = resolve(&recipe, snapshot().unwrap(), UpdatePolicy::One(&lock, one)).unwrap();
    assert_eq!(changes(Some(&lock), &again), []);
}

/// When a suite of a version was published.
fn at(version: u32) -> Epoch {
    Epoch::new(1_700_000_000 + u64::from(version)).unwrap()
}

/// An archive in which everything that the recipes want is there, in `version`; `newer` names what is one
/// version ahead.
fn synthetic(recipe: &Recipe, version: u32, newer: &[&str]) -> ArchiveSnapshot {
    let relations: BTreeSet<String> = recipe.wanted().unwrap().into_values().flatten().collect();
    let names: BTreeSet<&str> = relations.iter().filter_map(|relation| relation.split(' ').next()).collect();
    let mut index = String::new();
    for name in names {
        let version = version + u32::from(newer.contains(&name));
        let digest = Digest::of(format!("{name} {version}")).hex();
        index += &format!(
            "Package: {name}\nVersion: 9:{version}\nArchitecture: amd64\nFilename: pool/{name}_{version}.deb\nSize: 1\nSHA256: {digest}\n\n"
        );
    }
    let suite = SuiteName::new("bookworm").unwrap();
    let packages = packages::parse(ControlText::integrity("Packages", &index), &suite, Arch::Amd64);
    let locked = LockedSuite {
        name: suite.clone(),
        release: Digest::of(&index),
        date: at(version),
        signed_by: BTreeSet::from(["0".repeat(40)]),
    };
    ArchiveSnapshot {
        suites: BTreeMap::from([(suite, locked)]),
        packages: packages.unwrap(),
        sources: Vec::new(),
    }
}

#[test]
fn one_package_moves_and_the_others_stay() {
    let project = Project::at(checkout::top());
    let recipe = project.recipe(&project.default_line().unwrap()).unwrap();
    let first = resolve(&recipe, synthetic(&recipe, 1, &[]), UpdatePolicy::All).unwrap();
    assert_eq!(first.epoch, at(1), "the epoch is the newest suite's date");
    let conmon = PackageName::new("conmon").unwrap();
    let snapshot = || {
        let (mut snapshot, old) = (synthetic(&recipe, 1, &["conmon", "kmod"]), synthetic(&recipe, 1, &[]));
        snapshot.packages.extend(old.packages);
        snapshot
    };
    let moved =
        |lock| -> Vec<String> { changes(Some(&first), lock).into_iter().map(|change| change.name).collect() };
    let one = resolve(&recipe, snapshot(), UpdatePolicy::One(&first, &conmon)).unwrap();
    assert_eq!(moved(&one), ["conmon"]);
    let all = resolve(&recipe, snapshot(), UpdatePolicy::All).unwrap();
    assert_eq!(moved(&all), ["conmon", "kmod"]);
    let change = changes(Some(&first), &one).remove(0);
    assert_eq!((change.before.as_deref(), change.after.as_deref()), (Some("9:1"), Some("9:2")));
    assert_eq!(change.wanted_by.iter().map(|group| group.as_str()).collect::<Vec<_>>(), ["master", "node"]);
    let gone = resolve(&recipe, synthetic(&recipe, 2, &[]), UpdatePolicy::One(&first, &conmon)).unwrap();
    assert!(moved(&gone).len() > 2, "what the archive no longer has cannot stay");

    let stranger = PackageName::new("stranger").unwrap();
    let fault = resolve(&recipe, snapshot(), UpdatePolicy::One(&first, &stranger)).unwrap_err();
    assert_eq!(fault.class(), Class::User, "{fault}");
    let mut poor = snapshot();
    poor.packages.retain(|package| package.name != conmon);
    let fault = resolve(&recipe, poor, UpdatePolicy::All).unwrap_err();
    assert!(fault.class() == Class::User && fault.to_string().contains("conmon"), "{fault}");
}
