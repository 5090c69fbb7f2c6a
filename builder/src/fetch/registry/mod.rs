//! OCI images by digest from a registry (OCI distribution spec, "Pull"; the token flow that Docker's
//! registry documents). The manifest is pinned by the lock; it pins the config and the layers.

pub(super) mod image;

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::attempt::{Attempt, Download, Failure, PinnedBytes};
use super::download;
use super::http::{Client, HttpRequest, HttpResponse};
use crate::base::digest::Checksum;
use crate::base::name::Arch;
use crate::base::progress::Progress;
use crate::base::tree::Contents;
use crate::base::url::Scheme;
use crate::base::{Digest, Fault, Result, Url};
use crate::plan::{Output, StepId};
use crate::store::Store;
use image::{DOCUMENT, Descriptor, Document, INDEXES, MANIFESTS, Meaning, check_config, choose, parts};

/// An image in a registry.
#[derive(Clone, Debug)]
pub struct ImageRef {
    registry: Url,
    repository: String,
    arch: Arch,
}

impl ImageRef {
    /// An image of `registry` (scheme, host and port), for machines of `arch`. The repository's name is
    /// checked as the distribution spec says.
    pub fn new(registry: Url, repository: impl Into<String>, arch: Arch) -> Result<Self> {
        let repository = repository.into();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let part = |part: &str| {
            part.starts_with(good)
                && part.ends_with(good)
                && part.chars().all(|c| good(c) || "._-".contains(c))
        };
        if registry.scheme() == Scheme::File || repository.len() > 255 || !repository.split('/').all(part) {
            let shown: String = repository.chars().take(80).collect();
            return Err(Fault::user("not an image's repository").expected_found(
                "a-z 0-9 . _ - between slashes, in a registry",
                format!("{shown:?} in {registry}"),
            ));
        }
        Ok(Self { registry, repository, arch })
    }

    /// All blobs of the image if none is missing.
    pub(super) fn present(&self, store: &Store, pinned: Output) -> Result<Option<Vec<Output>>> {
        let Output::Blob { content, .. } = pinned else { return Ok(None) };
        let Ok(parts) = parts(store, &content, self.arch) else { return Ok(None) };
        let mut outputs = vec![pinned];
        for part in [&parts.manifest, &parts.config].into_iter().chain(&parts.layers) {
            if store.size_of(&part.digest)? != Some(part.size) {
                return Ok(None);
            }
            outputs.push(Output::Blob { content: part.digest, size: part.size });
        }
        outputs.dedup();
        Ok(Some(outputs))
    }

    /// Fetches what is missing of the image; the pinned manifest is registered last.
    pub(super) fn pull(
        &self,
        store: &Store,
        client: &Client,
        wanted: PinnedBytes,
        progress: &dyn Progress,
    ) -> Result<Download> {
        let Checksum::Sha256(pinned) = *wanted.checksum else {
            return Err(
                Fault::user("an image is pinned by SHA-256").expected_found("sha256:", wanted.checksum)
            );
        };
        let pull = Pull { image: self, store, client, progress, wants_token: Cell::new(None) };
        let size = pull.document(&pinned, wanted.size, None)?;
        if let Meaning::Index(manifests) = Document::read(&store.read(&pinned)?, None)? {
            let manifest = choose(manifests, self.arch)?;
            pull.document(&manifest.digest, Some(manifest.size), Some(&manifest.media_type))?;
        }
        let parts = parts(store, &pinned, self.arch)?;
        let mut bytes = size;
        for part in std::iter::once(&parts.config).chain(&parts.layers) {
            bytes += pull.blob(part)?;
        }
        check_config(&store.read(&parts.config.digest)?, parts.layers.len())?;
        let output = Output::Blob { content: pinned, size };
        store.record(&StepId::of_input(*wanted.checksum)?, &output)?;
        let outputs =
            self.present(store, output)?.ok_or_else(|| Fault::bug("a pulled image is not whole"))?;
        Ok(Download { outputs, bytes, from: self.registry.clone(), refused: Vec::new() })
    }
}

struct Pull<'a> {
    image: &'a ImageRef,
    store: &'a Store,
    client: &'a Client,
    progress: &'a dyn Progress,
    /// Whether the registry wants tokens, once it is known.
    wants_token: Cell<Option<bool>>,
}

impl Pull<'_> {
    fn url(&self, kind: &str, digest: &Digest) -> Result<Url> {
        self.image.registry.join(&format!("v2/{}/{kind}/{digest}", self.image.repository))
    }

    /// Fetches an index or a manifest into the store unless it is there; gives its length.
    fn document(&self, digest: &Digest, size: Option<u64>, kind: Option<&str>) -> Result<u64> {
        if let Some(size) = self.store.size_of(digest)? {
            return Ok(size);
        }
        let url = self.url("manifests", digest)?;
        let accept = [INDEXES, MANIFESTS].concat().join(", ");
        let limit = size.unwrap_or(DOCUMENT).min(DOCUMENT);
        let (served, bytes) = self
            .client
            .patiently(|| {
                let request = HttpRequest { accept: Some(&accept), ..HttpRequest::default() };
                let mut response = self.client.ask(&url, request)?;
                self.wants_token.set(Some(response.status == 401));
                if response.status == 401 {
                    let token = self.authorize(&response)?;
                    response = self.client.ask(&url, HttpRequest { token: Some(&token), ..request })?;
                }
                let served = response.header("content-type").map(str::to_owned);
                Ok((served, self.client.read_whole(&url, response, limit)?))
            })
            .map_err(Failure::fault)?;
        if Digest::of(&bytes) != *digest || size.is_some_and(|size| size != bytes.len() as u64) {
            let found = format!("{}, {} bytes", Digest::of(&bytes), bytes.len());
            return Err(Fault::integrity(format!("{url} has the wrong bytes")).expected_found(digest, found));
        }
        Document::read(&bytes, served.as_deref().map(without_parameters))?;
        Document::read(&bytes, kind)?;
        self.store.put_bytes(&bytes)?;
        Ok(bytes.len() as u64)
    }

    /// Fetches a config or a layer unless it is there; gives the number of bytes that came.
    fn blob(&self, part: &Descriptor) -> Result<u64> {
        if self.store.size_of(&part.digest)? == Some(part.size) {
            return Ok(0);
        }
        if part.size > self.client.limits.bytes {
            return Err(Fault::integrity("an image's layer is too long")
                .expected_found(self.client.limits.bytes, part.size));
        }
        let url = self.url("blobs", &part.digest)?;
        let token = match self.wants_token.get() {
            Some(false) => None,
            _ => self.client.patiently(|| self.blob_token(&url)).map_err(Failure::fault)?,
        };
        self.progress.expect(part.size);
        let (checksum, token) = (Checksum::Sha256(part.digest), token.as_deref());
        let file = PinnedBytes { checksum: &checksum, size: Some(part.size) };
        let got = download::from_places(self.store, self.client, file, &[url], token, self.progress)?;
        Ok(got.bytes)
    }

    /// A token for one blob: it lives for minutes, and the blob before may have taken longer.
    fn blob_token(&self, url: &Url) -> Attempt<Option<String>> {
        let response = self.client.ask(url, HttpRequest::default())?;
        match response.status {
            401 => self.authorize(&response).map(Some),
            _ => Ok(None),
        }
    }

    /// Gets a token for pulling, as the challenge of a 401 says. We send no secret, so all that a
    /// foreign realm could gain is a request; still it must be the registry's own or one below it.
    fn authorize(&self, response: &HttpResponse) -> Attempt<String> {
        let refused =
            |why: String| Failure::NextMirror(Fault::remote(format!("{}: {why}", self.image.registry)));
        let challenge = response.header("www-authenticate").and_then(|text| text.strip_prefix("Bearer "));
        let fields = challenge.map(challenge_fields).unwrap_or_default();
        let realm = fields.get("realm").and_then(|realm| Url::new(realm.as_str()).ok());
        let realm = realm.ok_or_else(|| refused("asks for a login that we do not know".to_owned()))?;
        if !akin(&self.image.registry, &realm) {
            return Err(refused(format!("sends us to a foreign server for a token: {realm}")));
        }
        let service =
            fields.get("service").map(|service| format!("service={}&", encode(service))).unwrap_or_default();
        let scope = encode(&format!("repository:{}:pull", self.image.repository));
        let url = Url::new(format!("{realm}?{service}scope={scope}")).map_err(Failure::NextMirror)?;
        let response = self.client.ask(&url, HttpRequest::default())?;
        let bytes = self.client.read_whole(&url, response, DOCUMENT)?;
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        let token = token.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
        Ok(format!("Bearer {}", token.ok_or_else(|| refused("gives no token".to_owned()))?))
    }
}

/// `application/json; charset=utf-8` without the parameters.
fn without_parameters(kind: &str) -> &str {
    kind.split(';').next().unwrap_or(kind).trim()
}

/// `realm="https://…",service="…"` (RFC 9110 section 11.6.1).
fn challenge_fields(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else { break };
        fields.insert(name.trim_matches([',', ' ']).to_ascii_lowercase(), value.to_owned());
        rest = after;
    }
    fields
}

/// Whether a token server belongs to a registry: the same host, or one below it; https unless the registry itself
/// is not. That two names end alike says nothing: who may have names below an ending differs.
fn akin(registry: &Url, realm: &Url) -> bool {
    let (own, host) = (registry.host(), realm.host());
    let is_name = |label: &str| label.starts_with(|c: char| c.is_ascii_alphabetic());
    let below = || host.strip_suffix(own).is_some_and(|label| label.ends_with('.'));
    let named = own.rsplit('.').next().is_some_and(is_name);
    let host = own == host || named && below();
    host && (realm.scheme() == Scheme::Https || realm.scheme() == registry.scheme())
}

/// A query's value (RFC 3986 section 2).
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_from_the_registry_s_own_host_or_below() {
        let check = |registry: &str, realm: &str, expect: bool| {
            let akin = akin(&Url::new(registry).unwrap(), &Url::new(realm).unwrap());
            assert_eq!(akin, expect, "{registry} {realm}");
        };
        check("https://example.org", "https://auth.example.org/token", true);
        check("https://registry.example.org", "https://auth.registry.example.org/token", true);
        check("https://registry.example.org", "https://auth.example.org/token", false);
        check("https://registry.co.uk", "https://evil.co.uk/token", false);
        check("https://auth.example.org", "https://example.org/token", false);
        check("https://10.0.0.1", "https://9.10.0.0.1/token", false);
        check("https://registry.example.org", "https://registry.example.org/token", true);
        check("https://registry.example.org", "http://auth.example.org/token", false);
        check("https://registry.example.org", "https://auth.example.net/token", false);
        check("https://registry.example.org", "https://evil-example.org/token", false);
        check("http://10.0.0.1:5000", "http://10.0.0.1:5001/token", true);
        check("http://10.0.0.1", "http://9.0.0.1/token", false);
        let fields = challenge_fields(r#"realm="https://a/t",service="a b", scope="x""#);
        assert_eq!((fields["realm"].as_str(), fields["service"].as_str()), ("https://a/t", "a b"));
        assert_eq!(encode("a b&c"), "a%20b%26c");
    }

    #[test]
    fn repositories_are_names() {
        let registry = Url::new("https://registry.example.org").unwrap();
        assert!(ImageRef::new(registry.clone(), "library/core-dns", Arch::Amd64).is_ok());
        for bad in ["", "/", "a//b", "../x", "A", "a?b", "a/", "-a", "a b"] {
            assert!(ImageRef::new(registry.clone(), bad, Arch::Amd64).is_err(), "{bad:?}");
        }
    }
}
