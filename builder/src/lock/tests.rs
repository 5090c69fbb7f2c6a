use super::*;
use crate::recipe::shipped::{self, recipe};

fn lock(recipe: &Recipe) -> Lock {
    let suite = LockedSuite {
        name: SuiteName::new("bookworm").unwrap(),
        release: Digest::of("release"),
        date: Epoch::new(1_763_200_000).unwrap(),
        signed_by: BTreeSet::from(["0".repeat(40)]),
    };
    let package = |name: &str, version: &str| LockedPackage {
        name: PackageName::new(name).unwrap(),
        version: Version::new(version).unwrap(),
        arch: Arch::Amd64,
        suite: suite.name.clone(),
        path: TreePath::new(format!("pool/main/x/{name}_{version}_amd64.deb")).unwrap(),
        size: 10,
        sha256: Digest::of(name),
        wanted_by: BTreeSet::from([GroupName::new("master").unwrap()]),
    };
    let packages = [package("conmon", "2.1.6+ds1-1"), package("etcd-server", "3.4.23-4")];
    Lock {
        line: recipe.line.name.clone(),
        arch: Arch::Amd64,
        recipe: recipe.lock_digest().unwrap(),
        epoch: Epoch::new(1_763_200_000).unwrap(),
        suites: BTreeMap::from([(suite.name.clone(), suite)]),
        inputs: Lock::inputs_of(recipe).unwrap(),
        packages: packages
            .into_iter()
            .map(|package| ((package.name.clone(), package.arch), package))
            .collect(),
        sources: BTreeMap::new(),
    }
}

fn text(text: &str) -> SourceText<'_> {
    SourceText::new("recipes/lines/1.17.lock", text)
}

#[test]
fn a_lock_is_read_as_it_was_written() {
    let recipe = recipe();
    let lock = lock(&recipe);
    let written = lock.to_text().unwrap();
    assert_eq!(Lock::parse(text(&written)).unwrap_or_else(|e| panic!("{e}")), lock);
    lock.check_fresh(&recipe, text(&written)).unwrap();
    let version =
        |name: &str| lock.version_of(&recipe, &ComponentName::new(name).unwrap()).unwrap().to_string();
    assert_eq!((version("conmon"), version("crun")), ("2.1.6+ds1-1".to_owned(), "1.17".to_owned()));
    assert_eq!(lock.wanted_by("master").count(), 2);
}

#[test]
fn an_edited_lock_is_refused_with_its_line_and_the_cure() {
    let written = lock(&recipe()).to_text().unwrap();
    for (from, to, what) in [
        ("schema = 1", "schema = 2", "another schema"),
        ("size = 10", "size = 010", ""),
        ("size = 10", "size = 0", "no place a package can be"),
        ("size = 10", "size = 10 ", "edited by hand"),
        ("arch = \"amd64\"\nsuite", "arch = \"arm64\"\nsuite", "another architecture"),
        ("suite = \"bookworm\"", "suite = \"trixie\"", "no suite of the lock"),
        ("pool/main", "/pool/main", "a path that cannot be"),
        ("pool/main", "../main", "a path that cannot be"),
        ("[[package]]\nname = \"conmon\"", "[[package]]\nname = \"zonmon\"", "out of order"),
        ("for = [\"master\"]", "fro = [\"master\"]", "unknown key `fro`"),
        ("component = \"kubelet\"", "component = \"kubectl\"", "twice, or out of order"),
    ] {
        assert!(written.contains(from), "{from}");
        let broken = written.replacen(from, to, 1);
        let fault = Lock::parse(text(&broken)).expect_err(to);
        assert!(fault.to_string().contains(what), "{to}: {fault}");
        assert!(fault.place().is_some_and(|place| place.line() > 1), "{to}: {fault}");
    }
    let broken = written.replacen("size = 10", "size = 10 ", 1);
    assert_eq!(Lock::parse(text(&broken)).unwrap_err().help_text(), Some("cargo xtask lock 1.17"));
}

/// Every digit counts, that of an address, a size or a digest as well.
#[test]
fn a_lock_with_one_other_digit_is_refused() {
    let written = lock(&recipe()).to_text().unwrap();
    let digits: Vec<usize> = written.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
    assert!(digits.len() > 300, "{}", digits.len());
    for at in digits {
        let mut broken = written.clone();
        let other = if &broken[at..=at] == "9" { "8" } else { "9" };
        broken.replace_range(at..=at, other);
        let fault = Lock::parse(text(&broken)).expect_err("one digit");
        let mends = fault.help_text().is_some_and(|help| help.contains("cargo xtask lock"));
        assert!(fault.place().is_some() && mends, "{at}: {fault}");
    }
    let fault = Lock::parse(text(&written.replacen("size = 10", "size = 11", 1))).unwrap_err();
    assert_eq!((fault.class(), fault.place().unwrap().line()), (crate::base::Class::Integrity, 2), "{fault}");
}

/// What decides the lock makes it stale; what does not leaves it fresh.
#[test]
fn a_lock_is_stale_when_what_decides_it_changed() {
    let (files, line) = (shipped::files(), shipped::line());
    let before = Recipe::parse(&files, &line).unwrap();
    let lock = lock(&before);
    let written = lock.to_text().unwrap();
    let check = |file: &str, from: &str, to: &str, stale: bool| {
        let mut files = files.clone();
        let changed = files.get_mut(file).unwrap();
        assert!(changed.contains(from), "{file}: {from}");
        *changed = changed.replacen(from, to, 1);
        let after = Recipe::parse(&files, &line).unwrap_or_else(|e| panic!("{e}"));
        let found = lock.check_fresh(&after, text(&written));
        assert_eq!(found.is_err(), stale, "{file}: {from} -> {to}");
        if let Err(fault) = found {
            assert_eq!(fault.help_text(), Some("cargo xtask lock 1.17"));
            assert_eq!(fault.place().unwrap().line(), 6);
        }
    };
    check("recipes/site.toml", "pids-limit = 128", "pids-limit = 256", false);
    check("recipes/lines/1.17.toml", "revision = 1", "revision = 2", false);
    check("recipes/lines/1.17.toml", "about = \"", "about = \"The ", false);
    check("recipes/lines/1.17.toml", "# A rule", "# Some rule", false);
    check("recipes/components/crun.toml", "mode = 0o755", "mode = 0o555", false);
    check(
        "recipes/lines/1.17.toml",
        "[pins.cri-o]\nversion = \"1.17.4\"",
        "[pins.cri-o]\nversion = \"1.17.5\"",
        true,
    );
    check("recipes/lines/1.17.toml", "checksum.amd64 = \"sha256:2", "checksum.amd64 = \"sha256:3", true);
    check("recipes/lines/1.17.toml", "checksum.arm64 = \"sha256:c", "checksum.arm64 = \"sha256:d", false);
    check("recipes/lines/1.17.toml", "\"bookworm-updates\"", "\"bookworm-backports\"", true);
    check("recipes/groups/common.toml", "\"dbus\",", "", true);
    check("recipes/components/kubelet.toml", "\"ebtables\",", "", true);
    check("recipes/roles/node.toml", "\"crictl\",", "", false);
    check("recipes/components/crun.toml", "releases/download", "releases/files", true);
}

#[test]
fn what_was_handed_over_takes_its_place() {
    let recipe = recipe();
    let digest = Digest::of("crio");
    let name = ComponentName::new("cri-o").unwrap();
    let from = LockedOrigin::Supplied { file: "cri-o.deb".to_owned(), digest, size: 4 };
    let input = LockedInput { component: name.clone(), version: Version::new("1.17.5").unwrap(), from };
    let local = Local { inputs: BTreeMap::from([(name.clone(), input)]) };
    let written = local.to_text().unwrap();
    assert_eq!(Local::parse(SourceText::new("1.17.local.lock", &written)).unwrap(), local);
    let lock = lock(&recipe).with_local(&local);
    assert_eq!(lock.version_of(&recipe, &name).unwrap().as_str(), "1.17.5");
    let provided =
        written.lines().filter(|line| !["file", "digest", "size"].iter().any(|key| line.starts_with(key)));
    let provided = provided.collect::<Vec<_>>().join("\n");
    assert!(Local::parse(SourceText::new("1.17.local.lock", &provided)).is_err());
}

/// A lock with a source package that a component is compiled from.
fn with_source() -> Lock {
    let mut lock = lock(&recipe());
    let (name, suite) = (PackageName::new("figlet").unwrap(), SuiteName::new("bookworm").unwrap());
    let file = |name: &str, size: u64| LockedFile {
        path: TreePath::new(format!("pool/main/f/figlet/{name}")).unwrap(),
        size,
        sha256: Digest::of(name),
    };
    let file = vec![file("figlet_2.2.5-3.dsc", 1800), file("figlet_2.2.5.orig.tar.gz", 202_000)];
    let version = Version::new("2.2.5-3").unwrap();
    lock.sources.insert(name.clone(), LockedSource { name: name.clone(), version, suite, file });
    let input = lock.inputs.get_mut("crictl").unwrap();
    input.from = LockedOrigin::SourcePackage { source: name };
    lock
}

#[test]
fn a_source_package_stands_in_the_lock() {
    let lock = with_source();
    let written = lock.to_text().unwrap();
    assert_eq!(Lock::parse(text(&written)).unwrap_or_else(|e| panic!("{e}")), lock);
    for (from, to, what) in [
        ("source = \"figlet\"", "source = \"figlet\"\nurl = \"x\"", "comes from nowhere"),
        ("2.2.5-3.dsc", "2.2.5-3.asc", "no source package"),
        (
            "path = \"pool/main/f/figlet/figlet_2.2.5.orig",
            "path = \"main/f/figlet_2.2.5.orig",
            "no place a package can be",
        ),
        ("2.2.5-3\"\nsuite = \"bookworm\"", "2.2.5-3\"\nsuite = \"trixie\"", "no suite of the lock"),
        ("size = 202000", "size = 202001", "its digest disagrees"),
    ] {
        assert!(written.contains(from), "{from} in {written}");
        let fault = Lock::parse(text(&written.replacen(from, to, 1))).expect_err(to);
        assert!(fault.to_string().contains(what), "{to}: {fault}");
    }
}
