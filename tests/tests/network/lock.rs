//! Reading suites, as `lock` does: mirrors that lie, and mirrors that are late.

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
use tests::server::{Reply, Server};
use tests::tools::{put, succeed, tool};

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
