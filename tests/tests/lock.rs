//! Locking: mirrors that lie, and apt's own opinion of what is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use builder::base::name::{Arch, SuiteName};
use builder::base::{Class, Digest, Epoch, Result};
use builder::fetch::mirror::{Mirrors, SuiteReader, SuiteSnapshot};
use builder::fetch::{Client, FetchLimits};
use builder::formats::debian::index::release::{Listed, Release};
use builder::formats::openpgp::{Keyring, SigningKey};
use builder::recipe::archive::SuiteTrust;
use tests::apt::Apt;
use tests::server::{Reply, Server};
use tests::tools::{put, said, succeed, tool};

const DAY: u64 = 86_400;
const NOW: u64 = 1_700_000_000;
const PACKAGES: &str = "Package: demo\nVersion: 1.0-1\nArchitecture: amd64\nFilename: pool/d/demo_1.0-1_amd64.deb\nSize: 7\nSHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";

fn at(seconds: u64) -> Epoch {
    Epoch::new(seconds).unwrap()
}

fn suite() -> SuiteName {
    SuiteName::new("demo").unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let top = tempfile::tempdir().unwrap();
    put(top.path().join("x"), bytes);
    succeed(tool("xz", "xz-utils").args(["-1", "-k", "-c"]).arg(top.path().join("x")))
}

/// A mirror with one suite of one package, and everything to read it with.
struct TestMirror {
    server: Server,
    key: SigningKey,
    release: Release,
    packed: Vec<u8>,
    top: tempfile::TempDir,
}

impl TestMirror {
    fn new() -> Self {
        let key =
            SigningKey::generate([1; 32], "Archive <archive@example.org>", at(NOW - 100 * DAY)).unwrap();
        let packed = xz(PACKAGES.as_bytes());
        let listed = |bytes: &[u8]| Listed { size: bytes.len() as u64, digest: Digest::of(bytes) };
        let release = Release {
            origin: "Debian".to_owned(),
            label: String::new(),
            suite: "stable".to_owned(),
            codename: suite(),
            version: None,
            description: None,
            date: at(NOW - DAY),
            valid_until: Some(at(NOW + 6 * DAY)),
            architectures: vec!["amd64".to_owned()],
            components: vec!["main".to_owned()],
            acquire_by_hash: true,
            files: BTreeMap::from([
                ("main/binary-amd64/Packages".to_owned(), listed(PACKAGES.as_bytes())),
                ("main/binary-amd64/Packages.xz".to_owned(), listed(&packed)),
            ]),
        };
        let mirror =
            Self { server: Server::start(), key, release, packed, top: tempfile::tempdir().unwrap() };
        mirror.publish(&mirror.release);
        mirror.put("main/binary-amd64/Packages.xz", Reply::Body(mirror.packed.clone()));
        mirror.put(&mirror.by_hash(), Reply::Body(mirror.packed.clone()));
        mirror
    }

    fn by_hash(&self) -> String {
        format!("main/binary-amd64/by-hash/SHA256/{}", Digest::of(&self.packed).hex())
    }

    fn put(&self, path: &str, reply: Reply) {
        self.server.put(&format!("/dists/demo/{path}"), reply);
    }

    fn signed(&self, release: &Release) -> String {
        self.key.clearsign(&release.to_text().unwrap(), at(NOW - DAY)).unwrap()
    }

    fn publish(&self, release: &Release) {
        self.put("InRelease", Reply::Body(self.signed(release).into_bytes()));
    }

    fn trust(&self) -> SuiteTrust {
        let certificate = self.key.certificate_bytes().unwrap();
        let keyring = Keyring::pinned(&[&certificate], &BTreeSet::from([self.key.fingerprint()])).unwrap();
        SuiteTrust { components: vec!["main".to_owned()], keyring }
    }

    fn read_seen(&self, seen: Option<Epoch>) -> Result<SuiteSnapshot> {
        let sources = self.top.path().join("apt.sources");
        put(&sources, format!("Types: deb\nURIs: {}\nSuites: demo\nComponents: main\n", self.server.url("")));
        self.read_from(&sources, seen)
    }

    fn read_from(&self, sources: &Path, seen: Option<Epoch>) -> Result<SuiteSnapshot> {
        let limits = FetchLimits {
            stall: Duration::from_millis(500),
            tries: 2,
            pause: Duration::from_millis(1),
            ..FetchLimits::default()
        };
        let client = Client::new(limits, None)?;
        let cache = self.top.path().join("cache");
        let reader = SuiteReader {
            client: &client,
            cache: &cache,
            now: at(NOW),
            arch: Arch::Amd64,
            sources: BTreeSet::new(),
        };
        reader.read(&Mirrors::read(&[sources.to_owned()])?, &suite(), &self.trust(), seen)
    }

    /// Reading fails, with this class and these words, and leaves nothing behind.
    #[track_caller]
    fn refuses(&self, class: Class, words: &str) {
        self.refuses_seen(None, class, words);
    }

    #[track_caller]
    fn refuses_seen(&self, seen: Option<Epoch>, class: Class, words: &str) {
        let fault = self.read_seen(seen).expect_err(words);
        assert!(fault.to_string().contains(words), "{words}: {fault}");
        assert_eq!(fault.class(), class, "{fault}");
        assert!(!self.top.path().join("cache").exists(), "{words}: something was kept");
    }
}

#[test]
fn a_good_mirror_is_read_and_its_index_kept() {
    let mirror = TestMirror::new();
    let offered = mirror.read_seen(Some(at(NOW - DAY))).unwrap();
    assert_eq!(offered.packages[0].name.as_str(), "demo");
    assert_eq!(offered.suite.signed_by, BTreeSet::from([mirror.key.fingerprint().to_string()]));
    let asked = mirror.server.requests().len();
    assert_eq!(mirror.read_seen(None).unwrap().packages, offered.packages);
    let again: Vec<_> = mirror.server.requests().drain(asked..).map(|request| request.path).collect();
    assert_eq!(again, ["/dists/demo/InRelease"], "the second time the index comes from the cache");
    let kept = mirror.top.path().join("cache").join(Digest::of(PACKAGES).hex());
    put(&kept, "flipped");
    assert_eq!(mirror.read_seen(None).unwrap().packages, offered.packages);
    assert_eq!(std::fs::read_to_string(kept).unwrap(), PACKAGES, "a damaged index is fetched again");
}

#[test]
fn a_missing_by_hash_falls_back_to_the_plain_name() {
    let mirror = TestMirror::new();
    mirror.put(&mirror.by_hash(), Reply::Status(404, "gone"));
    assert!(mirror.read_seen(None).is_ok());
    let mirror = TestMirror::new();
    mirror.put("main/binary-amd64/Packages.xz", Reply::Status(404, "gone"));
    assert!(mirror.read_seen(None).is_ok(), "by-hash alone is enough");
    mirror.put(&mirror.by_hash(), Reply::Status(404, "gone"));
    std::fs::remove_dir_all(mirror.top.path().join("cache")).unwrap();
    mirror.refuses(Class::Remote, "is gone");
}

#[test]
fn mirrors_that_do_not_serve() {
    let mirror = TestMirror::new();
    let whole = mirror.signed(&mirror.release).into_bytes();
    for (reply, class, words) in [
        (Reply::Html, Class::Remote, "no InRelease file"),
        (Reply::Status(404, "gone"), Class::Remote, "is gone"),
        (Reply::Status(500, "later"), Class::Remote, "does not serve now"),
        (Reply::Drop, Class::Remote, "cannot reach"),
        (Reply::Stall(Duration::from_secs(2)), Class::Remote, "was cut"),
        (Reply::Cut(whole, 100), Class::Remote, "was cut"),
        (Reply::Endless, Class::Integrity, "is too long"),
        (
            Reply::Redirect("file:///etc/passwd".to_owned()),
            Class::Remote,
            "redirects to a file of this machine",
        ),
    ] {
        mirror.put("InRelease", reply);
        mirror.refuses(class, words);
    }
}

#[test]
fn releases_that_are_not_to_be_believed() {
    let mirror = TestMirror::new();
    let good = mirror.signed(&mirror.release);
    let text = mirror.release.to_text().unwrap();
    let other = SigningKey::generate([2; 32], "Other <other@example.org>", at(NOW - 100 * DAY)).unwrap();
    for (message, words) in [
        (good.replace("Suite: stable", "Suite: stablf"), "does not match the text"),
        (other.clearsign(&text, at(NOW - DAY)).unwrap(), "not signed by a pinned key"),
        (mirror.key.clearsign(&text, at(NOW + DAY)).unwrap(), "it was made later"),
        (good.clone() + "Origin: Debian\n", "text after the signature"),
        (good.replace("Hash: SHA512\n", "Hash: SHA512\nOrigin: Debian\n"), "a header that is not signed"),
        (good[..good.len() - 40].to_owned(), "without an end"),
        (good[..good.find("-----BEGIN PGP SIGNATURE").unwrap()].to_owned(), "without a signature"),
    ] {
        mirror.put("InRelease", Reply::Body(message.into_bytes()));
        mirror.refuses(Class::Integrity, words);
    }
    for message in [text.clone(), format!("Origin: Debian\n{good}")] {
        mirror.put("InRelease", Reply::Body(message.into_bytes()));
        mirror.refuses(Class::Remote, "no InRelease file");
    }
}

#[test]
fn releases_of_another_time_or_suite() {
    let mirror = TestMirror::new();
    mirror.refuses_seen(Some(at(NOW)), Class::Integrity, "an older Release file than the lock was made from");
    let other = SuiteName::new("other").unwrap();
    for (release, words) in [
        (Release { valid_until: Some(at(NOW - 1)), ..mirror.release.clone() }, "has expired"),
        (Release { date: at(NOW + DAY), ..mirror.release.clone() }, "of the future"),
        (Release { codename: other, ..mirror.release.clone() }, "of another suite"),
        (Release { files: BTreeMap::new(), ..mirror.release.clone() }, "SHA256"),
    ] {
        mirror.publish(&release);
        mirror.refuses(Class::Integrity, words);
    }
}

#[test]
fn indices_that_disagree_with_their_release() {
    let mirror = TestMirror::new();
    let mut flipped = mirror.packed.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let longer = [mirror.packed.clone(), vec![0; 9]].concat();
    for (reply, class, words) in [
        (Reply::Body(flipped.clone()), Class::Integrity, "not what its Release file says"),
        (Reply::Body(mirror.packed[..40].to_vec()), Class::Integrity, "not what its Release file says"),
        (Reply::Body(longer), Class::Integrity, "is too long"),
        (Reply::Endless, Class::Integrity, "is too long"),
        (Reply::Cut(mirror.packed.clone(), 40), Class::Remote, "was cut"),
    ] {
        mirror.put(&mirror.by_hash(), reply.clone());
        mirror.put("main/binary-amd64/Packages.xz", reply);
        mirror.refuses(class, words);
    }
    // What it unpacks to must fit too: a bomb stops at the listed size.
    let mut release = mirror.release.clone();
    release
        .files
        .insert("main/binary-amd64/Packages".to_owned(), Listed { size: 10, digest: Digest::of("") });
    mirror.put(&mirror.by_hash(), Reply::Body(mirror.packed.clone()));
    mirror.publish(&release);
    mirror.refuses(Class::Integrity, "not what its Release file says");
}

#[test]
fn a_second_mirror_is_asked_and_judged_by_itself() {
    let (bad, good) = (TestMirror::new(), TestMirror::new());
    let sources = good.top.path().join("two.list");
    put(&sources, format!("deb {} demo main\ndeb {} demo main\n", bad.server.url(""), good.server.url("")));
    bad.put("InRelease", Reply::Html);
    assert!(good.read_from(&sources, None).is_ok());
    bad.put("InRelease", Reply::Body(good.signed(&good.release).replace("stable", "stablf").into_bytes()));
    assert_eq!(good.read_from(&sources, None).unwrap_err().class(), Class::Integrity);
    put(&sources, "deb http://127.0.0.1:1 another main\n");
    assert_eq!(good.read_from(&sources, None).unwrap_err().class(), Class::User);
}

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
    use builder::host::checkout::Project;
    use builder::lock::diff::changes;
    use builder::lock::resolve::{UpdatePolicy, resolve};

    let top = tempfile::tempdir().unwrap();
    let project = Project::at(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    let recipe = project.recipe(&project.default_line().unwrap()).unwrap();
    let sources = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"].map(Into::into);
    #[expect(clippy::disallowed_methods, reason = "signatures of the outside world expire")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let client = Client::new(FetchLimits::default(), None).unwrap();
    let cache = top.path().join("cache");
    let reader = SuiteReader {
        client: &client,
        cache: &cache,
        now: at(now),
        arch: recipe.line.arch,
        sources: recipe.sources.keys().cloned().collect(),
    };
    let mirrors = Mirrors::read(&sources).unwrap();
    let snapshot = || reader.snapshot(&mirrors, &project.files().unwrap(), &recipe.line, None);
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

/// A world in which everything that the recipes want is there, in `version`; `newer` names what is one
/// version ahead.
fn synthetic(
    recipe: &builder::recipe::Recipe,
    version: u32,
    newer: &[&str],
) -> builder::lock::resolve::ArchiveSnapshot {
    use builder::formats::debian::control::ControlText;
    use builder::lock::LockedSuite;

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
    let packages = builder::formats::debian::index::packages::parse(
        ControlText::integrity("Packages", &index),
        &suite,
        Arch::Amd64,
    );
    let locked = LockedSuite {
        name: suite.clone(),
        release: Digest::of(&index),
        date: at(NOW + u64::from(version)),
        signed_by: BTreeSet::from(["0".repeat(40)]),
    };
    builder::lock::resolve::ArchiveSnapshot {
        suites: BTreeMap::from([(suite, locked)]),
        packages: packages.unwrap(),
        sources: Vec::new(),
    }
}

#[test]
fn one_package_moves_and_the_others_stay() {
    use builder::base::name::PackageName;
    use builder::host::checkout::Project;
    use builder::lock::diff::changes;
    use builder::lock::resolve::{UpdatePolicy, resolve};

    let project = Project::at(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    let recipe = project.recipe(&project.default_line().unwrap()).unwrap();
    let first = resolve(&recipe, synthetic(&recipe, 1, &[]), UpdatePolicy::All).unwrap();
    assert_eq!(first.epoch, at(NOW + 1), "the epoch is the newest suite's date");
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
