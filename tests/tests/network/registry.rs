//! Pulling images from a registry that asks for a token, redirects, lies and stops half-way.

use std::collections::BTreeMap;
use std::time::Duration;

use builder::base::digest::Checksum;
use builder::base::name::Arch;
use builder::base::progress::Silent;
use builder::base::tree::Contents;
use builder::base::{Class, Digest, Fault, Url};
use builder::fetch::{Client, FetchLimits, FetchRequest, FetchSummary, ImageRef, Locations, fetch, parts};
use builder::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::server::{Answer, Request, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A registry's contents: documents and blobs by their path below `/v2/team/thing/`.
#[derive(Clone, Default)]
struct Registry {
    served: BTreeMap<String, (String, Vec<u8>)>,
}

impl Registry {
    fn blob(&mut self, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.served
            .insert(format!("blobs/{digest}"), ("application/octet-stream".to_owned(), bytes.to_vec()));
        json!({ "mediaType": "application/octet-stream", "digest": digest.to_string(), "size": bytes.len() })
    }

    fn document(&mut self, kind: &str, value: &Value) -> (Digest, Value) {
        let bytes = value.to_string().into_bytes();
        let (digest, size) = (Digest::of(&bytes), bytes.len());
        self.served.insert(format!("manifests/{digest}"), (kind.to_owned(), bytes));
        (digest, json!({ "mediaType": kind, "digest": digest.to_string(), "size": size }))
    }

    /// An image of two layers with a config, below an index of two platforms; `change` may spoil the
    /// manifest. Gives the index's digest.
    fn with_image(change: impl FnOnce(&mut Value)) -> (Self, Digest) {
        let mut registry = Self::default();
        let layers = [b"lower layer".to_vec(), vec![7; 300_000]].map(|layer| registry.blob(&layer));
        let diff_ids = [Digest::of("1").to_string(), Digest::of("2").to_string()];
        let config = json!({ "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = registry.blob(config.to_string().as_bytes());
        let mut manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        change(&mut manifest);
        let (_, mut listed) = registry.document(MANIFEST, &manifest);
        listed["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        let mut other = registry.blob(b"another platform's manifest");
        other["platform"] = json!({ "os": "linux", "architecture": "arm64" });
        let index = json!({ "schemaVersion": 2, "manifests": [other, listed] });
        let (digest, _) = registry.document(INDEX, &index);
        (registry, digest)
    }

    fn answer(&self, request: &Request) -> Answer {
        let name = request.path.strip_prefix("/v2/team/thing/").unwrap_or_default();
        match self.served.get(name) {
            Some((kind, bytes)) => Answer::file(request, bytes).header("Content-Type", &**kind),
            None => Answer::new(404, "{}"),
        }
    }
}

struct PullTest {
    folder: TempDir,
}

impl PullTest {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> Store {
        Store::open(&self.folder.path().join("store")).unwrap()
    }

    fn pull(&self, server: &Server, digest: Digest) -> FetchSummary {
        let limits = FetchLimits { pause: Duration::from_millis(2), tries: 3, ..FetchLimits::default() };
        let registry = Url::new(server.url("")).unwrap();
        let wanted = FetchRequest {
            name: "thing".to_owned(),
            source: Locations::Image(ImageRef::new(registry, "team/thing", Arch::Amd64).unwrap()),
            size: None,
            checksum: Some(Checksum::Sha256(digest)),
            help: String::new(),
        };
        fetch(&self.store(), &Client::new(limits, None).unwrap(), &[wanted], &Silent).unwrap()
    }

    fn fails(&self, server: &Server, digest: Digest, class: Class) -> Fault {
        let summary = self.pull(server, digest);
        assert_eq!((summary.missing.len(), summary.outputs.len()), (1, 0));
        let fault = summary.missing[0].1.clone();
        assert_eq!(fault.class(), class, "{fault}");
        fault
    }
}

#[test]
fn an_image_comes_whole_and_once() {
    let (registry, digest) = Registry::with_image(|_| {});
    let served = registry.clone();
    let server = Server::answering(move |request| served.answer(request));
    let test = PullTest::new();
    let summary = test.pull(&server, digest);
    assert!(summary.missing.is_empty(), "{:?}", summary.missing);
    // The index, the manifest, the config and two layers; the other platform is left alone.
    assert_eq!((summary.outputs.len(), server.requests().len()), (5, 2 + 3));
    let parts = parts(&test.store(), &digest, Arch::Amd64).unwrap();
    assert_eq!(
        (parts.layers.len(), parts.layers[1].size, &*parts.manifest.media_type),
        (2, 300_000, MANIFEST)
    );
    assert_eq!(test.store().read(&parts.layers[0].digest).unwrap(), b"lower layer");
    let before = server.requests().len();
    assert_eq!(test.pull(&server, digest).present, ["thing"]);
    assert_eq!(server.requests().len(), before);
    // A layer that is lost is fetched again, and it alone.
    std::fs::remove_file(test.store().path_of(&parts.layers[0].digest)).unwrap();
    assert_eq!(test.pull(&server, digest).fetched.len(), 1);
    let asked: Vec<String> = server.requests()[before..].iter().map(|request| request.path.clone()).collect();
    assert!(asked.iter().all(|path| path.ends_with(&parts.layers[0].digest.to_string())), "{asked:?}");
}

#[test]
fn a_token_is_fetched_and_kept_from_strangers() {
    let (registry, digest) = Registry::with_image(|_| {});
    // Layers are stored elsewhere, as the great registries do it.
    let storage = registry.clone();
    let storage = Server::answering(move |request| match request.headers.contains_key("authorization") {
        true => Answer::new(400, "a token that is none of my business"),
        false => storage.answer(request),
    });
    let elsewhere = storage.url("");
    let server = Server::answering(move |request| {
        let own = format!("http://{}", request.headers["host"]);
        if request.path.starts_with("/token?") {
            assert_eq!(request.path, "/token?service=own%20registry&scope=repository:team/thing:pull");
            return Answer::new(200, r#"{"token":"abc","expires_in":60}"#);
        }
        if request.headers.get("authorization").map(String::as_str) != Some("Bearer abc") {
            let challenge = format!(r#"Bearer realm="{own}/token",service="own registry",scope="ignored""#);
            return Answer::new(401, "{}").header("WWW-Authenticate", challenge);
        }
        if request.path.contains("/blobs/") {
            return Answer::new(307, "").header("Location", format!("{elsewhere}{}", request.path));
        }
        registry.answer(request)
    });
    let summary = PullTest::new().pull(&server, digest);
    assert!(summary.missing.is_empty(), "{:?}", summary.missing);
    assert!(!storage.requests().is_empty());
}

#[test]
fn a_foreign_token_server_is_not_asked() {
    let stranger = Server::answering(|_| Answer::new(200, r#"{"token":"abc"}"#));
    let realm = stranger.url("/token").replace("127.0.0.1", "localhost");
    let server = Server::answering(move |_| {
        Answer::new(401, "{}").header("WWW-Authenticate", format!(r#"Bearer realm="{realm}""#))
    });
    let fault = PullTest::new().fails(&server, Digest::of("x"), Class::Remote);
    assert!(fault.to_string().contains("foreign server"), "{fault}");
    assert!(stranger.requests().is_empty());
    for challenge in ["Basic realm=\"x\"", "Bearer", "Bearer realm=\"file:///etc/passwd\""] {
        let server = Server::answering(move |_| Answer::new(401, "").header("WWW-Authenticate", challenge));
        PullTest::new().fails(&server, Digest::of("x"), Class::Remote);
    }
}

/// Serves a spoilt image; nothing may be registered for it.
fn check(
    spoil: impl FnOnce(&mut Registry, &mut Digest),
    change: impl FnOnce(&mut Value),
    class: Class,
    part: &str,
) {
    let (mut registry, mut digest) = Registry::with_image(change);
    spoil(&mut registry, &mut digest);
    let server = Server::answering(move |request| registry.answer(request));
    let fault = PullTest::new().fails(&server, digest, class);
    assert!(fault.to_string().contains(part), "{fault}");
}

/// Replaces what is served under a part of a path.
fn replace(registry: &mut Registry, part: &str, change: impl Fn(&mut (String, Vec<u8>))) {
    registry.served.iter_mut().filter(|(path, _)| path.contains(part)).for_each(|(_, served)| change(served));
}

#[test]
fn documents_and_blobs_that_are_not_what_was_pinned_are_refused() {
    let same = |_: &mut Value| {};
    let page = |served: &mut (String, Vec<u8>)| served.1 = b"<html>".to_vec();
    check(|r, _| replace(r, "manifests/", page), same, Class::Integrity, "wrong bytes");
    check(|r, _| replace(r, "blobs/", page), same, Class::Integrity, "wrong length");
    check(|r, _| replace(r, "blobs/", |served| served.1[0] ^= 1), same, Class::Integrity, "wrong bytes");
    check(|r, _| r.served.retain(|path, _| !path.contains("blobs/")), same, Class::Remote, "is gone");
    check(|_, digest| *digest = Digest::of("another"), same, Class::Remote, "is gone");
    // What is served as one thing must be that thing.
    let kind = |served: &mut (String, Vec<u8>)| served.0 = MANIFEST.to_owned();
    check(|r, _| replace(r, "manifests/", kind), same, Class::Integrity, "what it calls itself");
    let both = |manifest: &mut Value| manifest["manifests"] = json!([]);
    check(|_, _| {}, both, Class::Integrity, "neither an index nor a manifest");
    let fewer = |manifest: &mut Value| drop(manifest["layers"].as_array_mut().unwrap().pop());
    check(|_, _| {}, fewer, Class::Integrity, "disagree");
    let longer = |manifest: &mut Value| manifest["layers"][0]["size"] = json!(12);
    check(|_, _| {}, longer, Class::Integrity, "wrong length");
    let endless = |manifest: &mut Value| manifest["layers"][0]["size"] = json!(1u64 << 60);
    check(|_, _| {}, endless, Class::Integrity, "too long");
    let escape = |manifest: &mut Value| manifest["layers"][0]["digest"] = json!("sha256:../../etc/passwd");
    check(|_, _| {}, escape, Class::Integrity, "cannot be read");
}

#[test]
fn a_document_without_end_ends() {
    let server = Server::answering(|_| Answer::new(200, vec![b' '; 65536]).endless());
    PullTest::new().fails(&server, Digest::of("x"), Class::Integrity);
}
